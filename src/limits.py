"""The time that a training may take, `trainer.max_time`."""

import time
from typing import Any

from pytorch_lightning.callbacks import Timer
from pytorch_lightning.utilities.exceptions import MisconfigurationException

from dact.errors import UserError


class TimeIsUpError(Exception):
    """The time was used up by the MAC that a run trains first; what it has done is saved."""


class Clock:
    """Counts the time from the first training step of this start of the program.

    A MAC that is trained first uses the same time. Earlier starts do not count: a run that is
    resumed has the whole time again.

    Args:
        max_time: `DD:HH:MM:SS`, or a mapping such as `{hours: 2}`; None: no limit.

    Raises:
        UserError: it is no time.
    """

    def __init__(self, max_time: Any) -> None:
        self.max_time = max_time
        self._seconds = _seconds(max_time)
        self._began: float | None = None

    def start(self) -> None:
        """Count from now on, unless it counts already."""
        if self._began is None:
            self._began = time.monotonic()

    @property
    def is_over(self) -> bool:
        """Whether the time is used up."""
        if self._seconds is None or self._began is None:
            return False
        return time.monotonic() - self._began >= self._seconds


def _seconds(max_time: Any) -> float | None:
    if max_time is None:
        return None
    try:
        seconds = Timer(max_time).time_remaining()
    except (MisconfigurationException, TypeError, AttributeError, ValueError, OverflowError):
        seconds = None
    if seconds is None or seconds <= 0:
        raise UserError(
            f"trainer.max_time={max_time} is no time: write days, hours, minutes and seconds as "
            "in trainer.max_time=00:02:30:00"
        )
    return seconds
