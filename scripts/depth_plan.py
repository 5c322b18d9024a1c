"""Which trainings `scripts/measure_depth.py` makes on clevr_depth, and what each starts from."""

from collections.abc import Iterator
from typing import NamedTuple

from reproduce_plan import QUIET, Training

#: The ponder cost of DACT and ACT, but where it is what is tried.
COST = "5e-3"


class Size(NamedTuple):
    """How much is trained."""

    steps: int
    """N of the adaptive networks and the most of the plain ones; those have 1 to N."""
    mac_epochs: int
    adaptive_epochs: int
    seeds: int
    """Of plain MACs of every N, and of ACT and PonderNet."""
    dact_seeds: int
    """Of DACT and of the MACs that it starts from."""
    common: tuple[str, ...]
    """Overrides of all runs."""


_COMMON = (*QUIET, "data=clevr_depth", "trainer=cpu", "threads=1")
SIZES = {
    # As the recipe of the data has it.
    "small": Size(6, 12, 5, 3, 5, _COMMON),
    # To see that it works; learns nothing.
    "trial": Size(3, 1, 1, 1, 1, (*_COMMON, "data.fraction=0.02")),
}
#: What may decide whether steps follow depth, tried one at a time, from the MAC of seed 0.
LEVERS = {
    "bias 1.5": ("model.gate.bias=1.5",),
    "a loss on single steps": ("model.step_loss=0.8",),
    "bias 1.5 and a loss on single steps": ("model.gate.bias=1.5", "model.step_loss=0.8"),
    "τ = 1e-3": ("ponder=1e-3",),
    "τ = 5e-2": ("ponder=5e-2",),
    "gate sees control, memory and question": ("model.gate.inputs=[control,memory,question]",),
    "gate sees the question alone": ("model.gate.inputs=[question]",),
    "twice as long": (),
    "a budget of 2.5 steps": ("ponder=budget", "ponder.target_steps=2.5"),
}


def plan(size: Size) -> list[Training]:
    """All trainings: the MACs that others start from, the others that start, the smaller MACs."""
    first = [_mac(size, seed, size.steps) for seed in range(size.dact_seeds)]
    rest = [
        _mac(size, seed, steps)
        for seed in range(size.seeds)
        for steps in range(size.steps - 1, 0, -1)
    ]
    return [*first, *_dacts(size), *_others(size), *_levers(size), *rest]


def _mac(size: Size, seed: int, steps: int) -> Training:
    typed = ("model=mac", f"seed={seed}", _epochs(size.mac_epochs), f"model.max_steps={steps}")
    return Training(f"mac-{steps}-s{seed}", "mac", seed, typed)


def _epochs(number: int) -> str:
    return f"trainer.max_epochs={number}"


def _started(
    size: Size, group: str, name: str, model: str, seed: int, *typed: str, times: int = 1
) -> Training:
    """A training that starts from the MAC of N steps and the same seed."""
    own = (f"model={model}", f"seed={seed}", _epochs(times * size.adaptive_epochs), *typed)
    steps = f"model.max_steps={size.steps}"
    return Training(f"{name}-s{seed}", group, seed, (*own, steps), f"mac-{size.steps}-s{seed}")


def _dacts(size: Size) -> Iterator[Training]:
    for seed in range(size.dact_seeds):
        yield _started(size, "dact", "dact", "dact", seed, f"ponder={COST}")


def _others(size: Size) -> Iterator[Training]:
    for seed in range(size.seeds):
        yield _started(size, "mac_on", "on", "mac", seed)
        yield _started(size, "act", "act", "act", seed, f"ponder={COST}")
        yield _started(size, "pondernet", "pondernet", "pondernet", seed)


def _levers(size: Size) -> Iterator[Training]:
    for number, (lever, typed) in enumerate(LEVERS.items()):
        cost = () if any(one.startswith("ponder=") for one in typed) else (f"ponder={COST}",)
        times = 2 if lever == "twice as long" else 1
        yield _started(size, "lever", f"lever-{number}", "dact", 0, *cost, *typed, times=times)


def lever_of(training: Training) -> str:
    """What a training of the group "lever" tries."""
    return list(LEVERS)[int(training.name.split("-")[1])]
