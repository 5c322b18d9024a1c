"""Which trainings `scripts/reproduce.py` makes, and what each of them starts from."""

from collections.abc import Iterator, Sequence
from itertools import zip_longest
from typing import NamedTuple


class Values(NamedTuple):
    """Values of an option that are tried."""

    repeated: tuple[str, ...]
    """With every seed."""
    once: tuple[str, ...] = ()
    """With seed 0 alone."""

    def of(self, seed: int) -> tuple[str, ...]:
        """Those of a seed."""
        return self.repeated + (self.once if seed == 0 else ())


class Size(NamedTuple):
    """How much is trained."""

    steps: int
    """N of the adaptive networks."""
    fewer: int
    """A smaller N, for the claim that N does not matter."""
    more: int
    """A larger one."""
    mac_steps: tuple[int, ...]
    """N of the plain MACs."""
    gated: tuple[int, ...]
    """N of the gated ones, with seed 0."""
    mac_epochs: int
    """Of a MAC that others start from."""
    adaptive_epochs: int
    """Of what starts from a MAC; plain MACs to compare with get both together."""
    seeds: int
    other_seeds: int
    """Of networks with another N."""
    dact: Values
    """Ponder costs τ."""
    act: Values
    priors: Values
    """λ_p of PonderNet."""
    budgets: tuple[str, ...]
    """Mean steps to train a DACT to, with seed 0."""
    paper_rule: bool
    """Whether the data have another rule than the paper, which is then tried beside it."""
    common: tuple[str, ...]
    """Overrides of all runs."""


#: The ponder cost and the prior of the claims that are about one DACT, one ACT, one PonderNet.
USUAL, USUAL_PRIOR = "5e-3", "0.2"
#: Overrides that make a short schedule the paper's: the unit begins undecided, the answer learns.
PAPER_RULE = ("data.network.halting_bias=0", "data.network.step_loss=0")
QUIET = ("logger=csv", "trainer.enable_progress_bar=false", "keep_checkpoints=1")
_DACT_COSTS = ("0", "1e-3", USUAL, "1e-2", "5e-2")
_ACT_COSTS = ("5e-5", "1e-4", "5e-4", "1e-3", USUAL, "1e-2")
_PRIORS = ("0.1", USUAL_PRIOR, "0.3", "0.5")

SIZES = {
    # On clevr_mini and two cores: epochs as its recipe has them.
    "small": Size(
        steps=4,
        fewer=3,
        more=5,
        mac_steps=(1, 2, 3, 4),
        gated=(4,),
        mac_epochs=16,
        adaptive_epochs=8,
        seeds=3,
        other_seeds=1,
        dact=Values(("1e-3", USUAL, "5e-2"), once=("0", "1e-2")),
        act=Values(("1e-3", USUAL, "1e-2"), once=("1e-4",)),
        priors=Values((USUAL_PRIOR, "0.3", "0.5"), once=("0.1",)),
        budgets=("2.0", "2.5", "3.0"),
        paper_rule=True,
        common=(*QUIET, "trainer=cpu", "threads=1"),
    ),
    # As in the paper, on CLEVR: weeks of one GPU.
    "full": Size(
        steps=12,
        fewer=9,
        more=16,
        mac_steps=(2, 3, 5, 9, 12),
        gated=(2, 3, 5, 9, 12),
        mac_epochs=10,
        adaptive_epochs=30,
        seeds=3,
        other_seeds=3,
        dact=Values(_DACT_COSTS),
        act=Values((), once=_ACT_COSTS),
        priors=Values((), once=_PRIORS),
        budgets=("3.0", "5.0", "8.0"),
        paper_rule=False,
        common=(*QUIET, "data=clevr", "trainer=gpu"),
    ),
    # To see that it works; learns nothing.
    "trial": Size(
        steps=2,
        fewer=1,
        more=3,
        mac_steps=(1, 2),
        gated=(2,),
        mac_epochs=1,
        adaptive_epochs=1,
        seeds=2,
        other_seeds=1,
        dact=Values((USUAL,), once=("1e-3",)),
        act=Values((USUAL,), once=("1e-3",)),
        priors=Values((USUAL_PRIOR,)),
        budgets=("1.5",),
        paper_rule=True,
        common=(*QUIET, "trainer=cpu", "threads=1", "data.fraction=0.02"),
    ),
}


class Training(NamedTuple):
    """One training."""

    name: str
    """Of its folder: letters, digits, '.', '_' and '-'."""
    group: str
    """start, mac, mac_on (trained on), mac_gate, dact, paper_rule (a DACT), act, pondernet, budget
    or steps (another N)."""
    seed: int
    typed: tuple[str, ...]
    """Overrides of run.py, without those of all runs."""
    starts_from: str | None = None
    """Name of the training whose weights it starts from; None: from scratch."""


def plan(size: Size) -> list[Training]:
    """All trainings: those that others start from first, then one of each group in turn.

    So what is not waited for is not waited for long, and every group has results early.
    """
    groups = [
        list(_macs(size)),
        list(_adaptive(size, "dact", "dact", "ponder", size.dact)),
        list(_adaptive(size, "act", "act", "ponder", size.act)),
        list(_adaptive(size, "pondernet", "pondernet", "model.prior", size.priors)),
        list(_same_start(size)),
        list(_single(size)),
        list(_other_steps(size)),
    ]
    wanted = [one for turn in zip_longest(*groups) for one in turn if one is not None]
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


def _macs(size: Size) -> Iterator[Training]:
    for seed in range(size.seeds):
        for steps in reversed(size.mac_steps):
            yield _mac(size, "mac", seed, steps)


def _adaptive(
    size: Size, group: str, model: str, option: str, values: Values
) -> Iterator[Training]:
    for seed in range(size.seeds):
        for value in values.of(seed):
            typed = f"{option}={value}"
            yield _from_mac(size, group, f"{group}-{value}", model, seed, size.steps, typed)


def _same_start(size: Size) -> Iterator[Training]:
    """The MAC that the adaptive networks start from trained on, and DACT by the paper's rule."""
    for seed in range(size.seeds):
        yield _from_mac(size, "mac_on", f"on-{size.steps}", "mac", seed, size.steps)
        if size.paper_rule:
            typed = (f"ponder={USUAL}", *PAPER_RULE)
            yield _from_mac(size, "paper_rule", f"paper-{USUAL}", "dact", seed, size.steps, *typed)


def _single(size: Size) -> Iterator[Training]:
    for target in size.budgets:
        typed = ("ponder=budget", f"ponder.target_steps={target}")
        yield _from_mac(size, "budget", f"budget-{target}", "dact", 0, size.steps, *typed)
    for steps in size.gated:
        yield _from_mac(size, "mac_gate", f"gate-{steps}", "mac_gate", 0, steps)


def _other_steps(size: Size) -> Iterator[Training]:
    for steps in (size.fewer, size.more):
        for seed in range(size.other_seeds):
            name, typed = f"dact-{USUAL}-of{steps}", f"ponder={USUAL}"
            yield _from_mac(size, "steps", name, "dact", seed, steps, typed)
            if steps not in size.mac_steps:
                yield _mac(size, "steps", seed, steps)


def command(training: Training, size: Size, more: Sequence[str]) -> list[str]:
    """Overrides of run.py for a training, but for folders.

    Args:
        training: of the plan.
        size: its size.
        more: the user's, after all others.
    """
    return [*size.common, *training.typed, *more]
