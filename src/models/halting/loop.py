"""The recurrence, once: model step → policy update, until nobody needs another step."""

from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor

from dact.models.halting.policy import Halted, HaltingPolicy, Step
from dact.models.rows import check_examples_first, join_rows, surely_examples_first, take_rows
from dact.options import EXITS

#: Examples leave the batch once this share of it has halted: making a smaller batch costs a copy.
WORTH_LEAVING = 1 / 8


class RecurrentModel(Protocol):
    """Anything that can be driven by a halting policy.

    States and inputs are tensors with the examples first, or containers of them (see `run_steps`).
    """

    def initial_state(self, inputs: Any) -> Any:
        """State before the first step, of B examples."""

    def step(self, state: Any, inputs: Any, n: int) -> tuple[Any, Step]:
        """Take step n = 1..N with the examples that still run: the next state, and its `Step`."""


class LoopTrace(NamedTuple):
    """What happened at each of the T ≤ N steps that the batch took.

    Once an example has halted, its `still_open` and `log_probs` are repeated; `steps` go on, since
    with a trace nobody leaves the batch.
    """

    still_open: Tensor
    """(B, T) in 0..1, weight that later steps could still take, see `HaltingPolicy.progress`."""
    log_probs: Tensor
    """(B, T, A) the running answer, see `HaltingPolicy.progress`; a PonderNet in training has none.
    For the answers of single steps put their logits into `Step.trace`."""
    steps: tuple[Any, ...]
    """T records, `Step.trace` of each step."""


def run_steps(
    model: RecurrentModel,
    policy: HaltingPolicy,
    inputs: Any,
    *,
    trace: bool = False,
    early_exit: str = "example",
    examples_first: bool = False,
) -> tuple[Halted, LoopTrace | None]:
    """Run `model` on `inputs` until `policy` lets every example halt, N steps at most.

    Args:
        model: gives a state and steps.
        policy: decides; whether it is in training mode is its own business.
        inputs: handed to the model, or the rows of those that still run.
        trace: whether to record every step, for which the batch stays together.
        early_exit: what halting saves, never the answer. example: those that halted leave the
            batch, if it is clear what is theirs; batch: it runs until the last has halted; never:
            all take N steps, with shapes that never change and without waiting for the device.
        examples_first: declares that every tensor in state and inputs has the examples first, but
            for those in `Shared`; needed for early_exit=example if either holds several tensors.

    Raises:
        ValueError: wrong shapes, all answers of an example ruled out, or an early exit in a trace.
    """
    _check_exit(early_exit, policy)
    state, halting = model.initial_state(inputs), None
    batch, records = _Batch(), []
    for n in range(1, policy.max_steps + 1):
        state, step = model.step(state, inputs, n)
        halting = policy.update(policy.start(step) if halting is None else halting, step, n)
        if trace:
            records.append((*policy.progress(halting), step.trace))
        if early_exit == "never" or n == policy.max_steps or not policy.may_halt:
            continue
        running = policy.running(halting)
        left = int(running.sum())
        if left == 0:
            break
        worth = early_exit == "example" and left <= (1 - WORTH_LEAVING) * len(running)
        if worth and not trace and _can_leave(state, inputs, len(running), examples_first):
            gone, staying = (mask.nonzero().squeeze(1) for mask in (~running, running))
            batch.leave(gone, staying, policy.finish(take_rows(halting, gone)))
            state, inputs, halting = take_rows((state, inputs, halting), staying)
    return batch.joined(policy.finish(halting)), _stack(records) if trace else None


def _check_exit(early_exit: str, policy: HaltingPolicy) -> None:
    assert early_exit in EXITS, f"early_exit is {', '.join(EXITS)}, not {early_exit!r}"
    if torch.jit.is_tracing() and early_exit != "never" and policy.may_halt:
        raise ValueError(
            f"early_exit={early_exit} cannot be traced: a trace keeps the exits of its example and "
            "takes them for all others; trace with early_exit=never"
        )


def _can_leave(state: Any, inputs: Any, count: int, examples_first: bool) -> bool:
    """Whether the rows of examples can be taken from what the model works with.

    Of several tensors, any may be a table of all examples that happens to be as long as the batch:
    unless it is declared that there is none, the batch then stays together.

    Raises:
        ValueError: it is declared, and a tensor has another length; the message names it.
    """
    if examples_first:
        check_examples_first(state, count, "state")
        check_examples_first(inputs, count, "inputs")
        return True
    return surely_examples_first(state, count) and surely_examples_first(inputs, count)


class _Batch:
    """Where the examples of a batch that gets smaller are in the whole one."""

    def __init__(self) -> None:
        self._rows: Tensor | None = None  # of those that still run; None: all
        self._done: list[tuple[Tensor, Halted]] = []

    def leave(self, gone: Tensor, staying: Tensor, halted: Halted) -> None:
        """Rows of the present batch leave with their answers."""
        if self._rows is None:
            self._rows = torch.arange(len(gone) + len(staying), device=gone.device)
        self._done.append((self._rows[gone], halted))
        self._rows = self._rows[staying]

    def joined(self, last: Halted) -> Halted:
        """The answers of all, in the order of the whole batch."""
        return last if self._rows is None else join_rows([*self._done, (self._rows, last)])


def _stack(records: list[tuple[Tensor, Tensor, Any]]) -> LoopTrace:
    still_open, log_probs, steps = zip(*records, strict=True)
    return LoopTrace(torch.stack(still_open, 1), torch.stack(log_probs, 1), steps)
