"""The recurrence, once: model step → policy update, until nobody needs another step."""

from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor

from dact.models.halting import Halted, HaltingPolicy, Step


class RecurrentModel(Protocol):
    """Anything that can be driven by a halting policy."""

    def initial_state(self, inputs: Any) -> Any:
        """State before the first step."""

    def step(self, state: Any, inputs: Any, n: int) -> tuple[Any, Step]:
        """Take step n, counted from 1."""


class LoopTrace(NamedTuple):
    """What happened at each of the T ≤ N steps that the batch took.

    An example's entries after its own `steps` are what the frozen policy repeats.
    """

    still_open: Tensor
    """(B, T) in 0..1, weight that later steps could still take (DACT's p_n)."""
    log_probs: Tensor
    """(B, T, A) the running answer."""
    steps: tuple[Any, ...]
    """T records, `Step.trace` of each step."""


def run_steps(
    model: RecurrentModel, policy: HaltingPolicy, inputs: Any, *, trace: bool = False
) -> tuple[Halted, LoopTrace | None]:
    """Run `model` on `inputs` until `policy` lets every example halt, N steps at most.

    Args:
        model: gives a state and steps.
        policy: decides; whether it is in training mode is its own business.
        inputs: handed to the model unchanged.
        trace: whether to record every step.

    Returns:
        The answer, and the record if asked for.
    """
    state = model.initial_state(inputs)
    halting = None
    records = []
    for n in range(1, policy.max_steps + 1):
        state, step = model.step(state, inputs, n)
        halting = policy.update(policy.start(step) if halting is None else halting, step, n)
        if trace:
            records.append((*policy.progress(halting), step.trace))
        if not policy.running(halting).any():
            break
    return policy.finish(halting), _stack(records) if trace else None


def _stack(records: list[tuple[Tensor, Tensor, Any]]) -> LoopTrace:
    still_open, log_probs, steps = zip(*records, strict=True)
    return LoopTrace(torch.stack(still_open, 1), torch.stack(log_probs, 1), steps)
