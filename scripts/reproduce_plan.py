"""Which trainings `scripts/reproduce.py` makes, and what each of them starts from."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple


class Size(NamedTuple):
    """How much is trained."""

    steps: int
    """N of the adaptive networks."""
    fewer: int
    """A smaller N, for the claim that N does not matter."""
    more: int
    """A larger one."""
    mac_steps: tuple[int, ...]
    """N of the plain and of the gated MACs."""
    mac_epochs: int
    """Of a MAC that others start from."""
    adaptive_epochs: int
    """Of what starts from a MAC; plain MACs to compare with get both together."""
    seeds: int
    """Of MAC and DACT; the others have one."""
    dact: tuple[str, ...]
    """Ponder costs τ."""
    act: tuple[str, ...]
    priors: tuple[float, ...]
    """λ_p of PonderNet."""
    budgets: tuple[float, ...]
    """Mean steps to train a DACT to."""
    common: tuple[str, ...]
    """Overrides of all runs."""


DACT_COSTS = ("0", "1e-3", "5e-3", "1e-2", "5e-2")
ACT_COSTS = ("5e-5", "1e-4", "5e-4", "1e-3", "5e-3", "1e-2")
#: The ponder cost of the claims that are about one DACT.
USUAL = "5e-3"
_QUIET = ("logger=csv", "trainer.enable_progress_bar=false", "keep_checkpoints=1")

SIZES = {
    # On clevr_mini and two cores.
    "small": Size(
        steps=5,
        fewer=3,
        more=8,
        mac_steps=(1, 2, 3, 4, 5),
        mac_epochs=4,
        adaptive_epochs=3,
        seeds=3,
        dact=DACT_COSTS,
        act=ACT_COSTS,
        priors=(0.1, 0.2, 0.3, 0.5),
        budgets=(2.0, 3.0, 4.0),
        common=(*_QUIET, "trainer=cpu", "threads=1"),
    ),
    # As in the paper, on CLEVR: weeks of one GPU.
    "full": Size(
        steps=12,
        fewer=9,
        more=16,
        mac_steps=(2, 3, 5, 9, 12),
        mac_epochs=10,
        adaptive_epochs=30,
        seeds=3,
        dact=DACT_COSTS,
        act=ACT_COSTS,
        priors=(0.1, 0.2, 0.3, 0.5),
        budgets=(3.0, 5.0, 8.0),
        common=(*_QUIET, "data=clevr", "trainer=gpu"),
    ),
    # To see that it works; learns nothing.
    "trial": Size(
        steps=2,
        fewer=1,
        more=3,
        mac_steps=(1, 2),
        mac_epochs=1,
        adaptive_epochs=1,
        seeds=2,
        dact=("1e-3", USUAL),
        act=("1e-3", USUAL),
        priors=(0.2,),
        budgets=(1.5,),
        common=(*_QUIET, "trainer=cpu", "threads=1", "data.fraction=0.02"),
    ),
}


class Training(NamedTuple):
    """One training."""

    name: str
    """Of its folder: letters, digits, '.', '_' and '-'."""
    group: str
    """start, mac, mac_gate, dact, act, pondernet, budget or steps (another N)."""
    seed: int
    typed: tuple[str, ...]
    """Overrides of run.py, without those of all runs."""
    starts_from: str | None = None
    """Name of the training whose weights it starts from; None: from scratch."""


def plan(size: Size) -> list[Training]:
    """All trainings, those that others start from first."""
    wanted = [
        *_fixed(size),
        *_adaptive(size),
        *_gated(size),
        *_single(size),
        *_other_steps(size),
    ]
    needed = dict.fromkeys(one.starts_from for one in wanted if one.starts_from)
    return [*(_start(size, name) for name in needed), *wanted]


def _start_name(steps: int, seed: int) -> str:
    return f"start-{steps}-s{seed}"


def _start(size: Size, name: str) -> Training:
    _, steps, seed = name.split("-")
    typed = _typed("mac", int(seed[1:]), size.mac_epochs, f"model.max_steps={steps}")
    return Training(name, "start", int(seed[1:]), typed)


def _typed(model: str, seed: int, epochs: int, *more: str) -> tuple[str, ...]:
    return (f"model={model}", f"seed={seed}", f"trainer.max_epochs={epochs}", *more)


def _from_mac(
    size: Size, group: str, name: str, model: str, seed: int, steps: int, *more: str
) -> Training:
    """A training that starts from the MAC of as many steps and the same seed."""
    typed = _typed(model, seed, size.adaptive_epochs, f"model.max_steps={steps}", *more)
    return Training(f"{name}-s{seed}", group, seed, typed, _start_name(steps, seed))


def _mac(size: Size, group: str, seed: int, steps: int) -> Training:
    epochs = size.mac_epochs + size.adaptive_epochs
    typed = _typed("mac", seed, epochs, f"model.max_steps={steps}")
    return Training(f"mac-{steps}-s{seed}", group, seed, typed)


def _fixed(size: Size) -> Iterator[Training]:
    for seed in range(size.seeds):
        for steps in size.mac_steps:
            yield _mac(size, "mac", seed, steps)


def _dact(size: Size, group: str, seed: int, steps: int, cost: str) -> Training:
    name = f"dact-{cost}" if steps == size.steps else f"dact-{cost}-of{steps}"
    return _from_mac(size, group, name, "dact", seed, steps, f"ponder={cost}")


def _adaptive(size: Size) -> Iterator[Training]:
    for seed in range(size.seeds):
        for cost in size.dact:
            yield _dact(size, "dact", seed, size.steps, cost)


def _gated(size: Size) -> Iterator[Training]:
    for steps in size.mac_steps:
        yield _from_mac(size, "mac_gate", f"gate-{steps}", "mac_gate", 0, steps)


def _single(size: Size) -> Iterator[Training]:
    for cost in size.act:
        yield _from_mac(size, "act", f"act-{cost}", "act", 0, size.steps, f"ponder={cost}")
    for prior in size.priors:
        typed = f"model.prior={prior}"
        yield _from_mac(size, "pondernet", f"pondernet-{prior}", "pondernet", 0, size.steps, typed)
    for target in size.budgets:
        typed = ("ponder=budget", f"ponder.target_steps={target}")
        yield _from_mac(size, "budget", f"budget-{target}", "dact", 0, size.steps, *typed)


def _other_steps(size: Size) -> Iterator[Training]:
    for steps in (size.fewer, size.more):
        for seed in range(size.seeds):
            yield _dact(size, "steps", seed, steps, USUAL)
            if steps not in size.mac_steps:
                yield _mac(size, "steps", seed, steps)


#: Options of run.py that the plan decides.
OWNED = (
    "mode",
    "experiment",
    "seed",
    "model",
    "model.max_steps",
    "model.prior",
    "ponder",
    "ponder.cost",
    "ponder.target_steps",
    "trainer.max_epochs",
    "warm_start",
    "ckpt_path",
    "data.cache_dir",
    "hydra.run.dir",
)


def command(training: Training, size: Size, more: Sequence[str]) -> list[str]:
    """Overrides of run.py for a training, but for folders.

    Args:
        training: of the plan.
        size: its size.
        more: the user's, after all others.
    """
    return [*size.common, *training.typed, *more]
