"""Output that costs nobody a run: on a terminal without UTF-8, and after its reader has gone."""

import errno
import io
import os
import sys
from typing import TextIO

#: What writing says once nobody reads any more: a closed pipe, or a terminal that is gone.
_UNREAD = (errno.EPIPE, errno.EIO)


class UnfailingStream(io.TextIOWrapper):
    """A text stream over a file descriptor whose output may be lost, but never fails.

    Characters that its encoding lacks are replaced. When nobody reads it any more, as after
    `| head -1`, the program goes on and its output goes nowhere, also that of the programs that it
    starts.

    Args:
        number: the descriptor, which stays open.
        encoding: of the stream.
        line_buffering: whether each line is written at once.
        write_through: whether everything is written at once, as with `python -u`.
    """

    def __init__(
        self, number: int, encoding: str, line_buffering: bool, write_through: bool = False
    ) -> None:
        size = 0 if write_through else -1
        buffer = open(number, "wb", size, closefd=False)  # noqa: SIM115 (open as long as the program)
        super().__init__(
            buffer, encoding, "replace", line_buffering=line_buffering, write_through=write_through
        )

    def write(self, text: str) -> int:
        """Write `text`, or lose it."""
        try:
            return super().write(text)
        except OSError as error:
            self._give_up(error)
            return len(text)

    def flush(self) -> None:
        """Write out what is buffered, or lose it."""
        try:
            super().flush()
        except OSError as error:
            self._give_up(error)

    def _give_up(self, error: OSError) -> None:
        if error.errno not in _UNREAD:
            raise error
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, self.fileno())  # where what is buffered still goes
        os.close(nowhere)
        super().flush()


def unfailing(stream: TextIO | None) -> TextIO | None:
    """The stream to use instead of one of the program's own two; others stay as they are."""
    if stream is None or stream not in (sys.__stdout__, sys.__stderr__):
        return stream
    if not isinstance(stream, io.TextIOWrapper) or isinstance(stream, UnfailingStream):
        return stream
    stream.flush()
    return UnfailingStream(
        stream.fileno(), stream.encoding, stream.line_buffering, stream.write_through
    )


def set_up_output() -> None:
    """Make standard output and standard error unfailing."""
    sys.stdout, sys.stderr = unfailing(sys.stdout), unfailing(sys.stderr)
