"""The one exception for mistakes a user can make and mend."""


class UserError(ValueError):
    """A bad option, file or combination of them.

    The message is one line that says what is wrong, where, and what to do. The commands print it
    without a traceback; any other exception is a fault of ours and keeps its traceback.
    """
