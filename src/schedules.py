"""Schedules of the learning rate."""


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
