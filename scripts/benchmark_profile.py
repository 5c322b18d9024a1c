"""What a call computes, and where its time goes."""

from collections import Counter
from collections.abc import Callable

from torch.profiler import ProfilerActivity, profile
from torch.utils.flop_counter import FlopCounterMode

#: Kinds of work by parts of the names of PyTorch's operations; anything else is "rest".
KINDS = {
    "convolutions": ("convolution",),
    "products": ("addmm", "::mm", "bmm", "addmv"),
    "ELU": ("::elu",),
}


def gflop(run: Callable[[], None]) -> float:
    """Floating-point operations of one call's matrix products and convolutions, in 1e9."""
    with FlopCounterMode(display=False) as counter:
        run()
    return counter.get_total_flops() / 1e9


def shares(run: Callable[[], None]) -> dict[str, float]:
    """Shares in 0..1 of a call's processor time that each kind of work takes; sum to 1."""
    with profile(activities=[ProfilerActivity.CPU]) as profiler:
        run()
    times: Counter[str] = Counter()
    for event in profiler.key_averages():
        kinds = (kind for kind, names in KINDS.items() if any(name in event.key for name in names))
        times[next(kinds, "rest")] += event.self_cpu_time_total
    return {kind: times[kind] / times.total() for kind in (*KINDS, "rest")}
