"""Schedules of the learning rate."""

import warnings
from typing import Any

from torch.optim.lr_scheduler import LambdaLR


class StepLambdaLR(LambdaLR):
    """A `LambdaLR` for every step, also for a first one that a gradient scaler has left out.

    PyTorch warns of that, as if the optimizer had been forgotten.
    """

    def step(self, *arguments: Any) -> None:
        """See PyTorch."""
        if self.last_epoch > 0:
            super().step(*arguments)
            return
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", r"Detected call of `lr_scheduler\.step\(\)` before")
            super().step(*arguments)


def trapezoid(step: int, total: float, *, warmup: float, decay: float) -> float:
    """Factor in 0..1 of the rate at a step: up in a line, flat, and down in a line to 0.

    Args:
        step: optimizer steps done, in 0..total.
        total: all of them.
        warmup: share of all with a rising rate, at their begin.
        decay: share of all with a falling rate, at their end.

    >>> [round(trapezoid(step, 10, warmup=0.2, decay=0.5), 2) for step in (0, 1, 5, 6, 9, 10)]
    [0.5, 1.0, 1.0, 0.8, 0.2, 0.0]
    """
    rising = (step + 1) / max(warmup * total, 1)
    falling = (total - step) / max(decay * total, 1)
    return max(0.0, min(1.0, rising, falling))
