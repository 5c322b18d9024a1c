"""One recurrence, interchangeable halting policies.

A policy decides when a recurrent model has thought enough and how the answers of its steps become
one. It knows nothing of questions or images: anything that gives, at every step, answer logits and
a vector to decide on (`Step`) can be driven by it, through the loop in `dact.models.loop`.

B examples, A answers, N maximum steps, n current step (from 1), G size of the halting unit's input.
"""

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor, nn

from dact.models.functional import (
    act_penalty,
    dact_accumulate,
    dact_penalty,
    exact_bound,
    paper_bound,
)
from dact.models.layers import Gate, at_least_float32

#: Smallest answer probability that the loss sees; below it there is no gradient.
MIN_PROBABILITY = 1e-8

BOUNDS: dict[str, Callable[[Tensor, Tensor, int], Tensor]] = {
    "exact": exact_bound,
    "paper": paper_bound,
}


class Step(NamedTuple):
    """What one step of a recurrent model hands to the policy."""

    logits: Tensor
    """(B, A) answer logits y_n."""
    halting_input: Tensor
    """(B, G) what the halting unit sees."""
    trace: Any = None
    """Whatever the model wants to be recorded of this step (a NamedTuple of tensors)."""


class Halted(NamedTuple):
    """The answer of a whole recurrence."""

    log_probs: Tensor
    """(B, A) natural-log probabilities, at most 0."""
    ponder_cost: Tensor
    """(B,) ρ, before its weight τ; at least 0."""
    steps: Tensor
    """(B,) int64 in 1..N, the step at which each example halted."""


class HaltingPolicy(Protocol):
    """The four decisions of a policy; `state` is its own NamedTuple, examples first."""

    max_steps: int

    def start(self, step: Step) -> Any:
        """State before the first step; `step` only tells shapes, dtype and device."""

    def update(self, state: Any, step: Step, n: int) -> Any:
        """State after step n."""

    def running(self, state: Any) -> Tensor:
        """(B,) bool, True for examples that need another step."""

    def progress(self, state: Any) -> tuple[Tensor, Tensor]:
        """(B,) weight in 0..1 that is still open, and the (B, A) log-probabilities so far."""

    def finish(self, state: Any) -> Halted:
        """The answer; every example has halted or taken N steps."""


def _zeros(step: Step) -> Tensor:
    return at_least_float32(step.logits).new_zeros(len(step.logits))


def _full_steps(step: Step, value: int) -> Tensor:
    return torch.full((len(step.logits),), value, dtype=torch.int64, device=step.logits.device)


class FixedState(NamedTuple):
    """Answer logits of the latest step, and how far it is."""

    logits: Tensor
    steps: Tensor


class FixedSteps(nn.Module):
    """Plain MAC: N steps for everyone, the answer is softmax(y_N), pondering costs nothing."""

    def __init__(self, max_steps: int) -> None:
        super().__init__()
        self.max_steps = max_steps

    def start(self, step: Step) -> FixedState:
        """See `HaltingPolicy`."""
        return FixedState(at_least_float32(step.logits), _full_steps(step, 0))

    def update(self, state: FixedState, step: Step, n: int) -> FixedState:
        """See `HaltingPolicy`."""
        return FixedState(at_least_float32(step.logits), state.steps + 1)

    def running(self, state: FixedState) -> Tensor:
        """See `HaltingPolicy`."""
        return state.steps < self.max_steps

    def progress(self, state: FixedState) -> tuple[Tensor, Tensor]:
        """See `HaltingPolicy`."""
        return self.running(state).to(state.logits.dtype), state.logits.log_softmax(-1)

    def finish(self, state: FixedState) -> Halted:
        """See `HaltingPolicy`."""
        cost = state.logits.new_zeros(len(state.logits))
        return Halted(state.logits.log_softmax(-1), cost, state.steps)


class DACTState(NamedTuple):
    """DACT after n steps."""

    answer: Tensor
    """(B, A) a_n, a distribution."""
    still_open: Tensor
    """(B,) p_n."""
    cumulative: Tensor
    """(B,) P_n = p_1 + ... + p_n."""
    cost: Tensor
    """(B,) penalty so far."""
    steps: Tensor
    """(B,) int64, the step at which the example halted, or n while it runs."""
    running: Tensor
    """(B,) bool."""


class DACT(nn.Module):
    """Differentiable adaptive computation time (Eyzaguirre & Soto 2020).

    h_n = 1 - g_n ; p_n = h_n p_{n-1} ; a_n = p_{n-1} softmax(y_n) + (1 - p_{n-1}) a_{n-1}, p_0 = 1.
    Training never halts, so the gradient is exact. Evaluation halts an example as soon as no
    continuation can change its top answer; its answer is then frozen.

    The ponder cost is min_penalty + Σ_n of the step penalty, over n = 1..N in training and over
    n = 1..steps-1 in evaluation, as in the released code.

    Args:
        halting: the unit g: (B, G) -> (B,) in 0..1.
        max_steps: N.
        penalty: unit, linear or exp, see `dact_penalty`.
        phase: of the penalty, in steps; None for its default, linear 5 and exp 7.
        min_penalty: added to every example's cost; None for 1.
        bound: when an example may halt in evaluation, exact or paper; None never halts early.
    """

    def __init__(
        self,
        halting: Gate,
        max_steps: int,
        *,
        penalty: str = "unit",
        phase: float | None = None,
        min_penalty: float | None = None,
        bound: str | None = "exact",
    ) -> None:
        super().__init__()
        self.halting = halting
        self.max_steps = max_steps
        self.penalty = penalty
        self.phase = default_phase(penalty) if phase is None else phase
        self.min_penalty = 1.0 if min_penalty is None else min_penalty
        self.bound = bound

    def start(self, step: Step) -> DACTState:
        """See `HaltingPolicy`."""
        zeros = _zeros(step)
        return DACTState(
            answer=torch.zeros_like(at_least_float32(step.logits)),
            still_open=torch.ones_like(zeros),
            cumulative=zeros,
            cost=zeros + self.min_penalty,
            steps=_full_steps(step, 0),
            running=torch.ones_like(zeros, dtype=torch.bool),
        )

    def update(self, state: DACTState, step: Step, n: int) -> DACTState:
        """See `HaltingPolicy`."""
        probs = at_least_float32(step.logits).softmax(-1)
        answer = dact_accumulate(state.answer, state.still_open, probs)
        still_open = (1 - self.halting(step.halting_input)) * state.still_open
        cumulative = state.cumulative + still_open
        added = dact_penalty(still_open, cumulative, self.penalty, self.phase)
        if self.training:
            steps = torch.full_like(state.steps, n)
            return DACTState(
                answer, still_open, cumulative, state.cost + added, steps, state.running
            )
        halts = torch.full_like(state.running, n == self.max_steps)
        if self.bound is not None:
            halts = halts | BOUNDS[self.bound](answer, still_open, self.max_steps - n)
        running = state.running & ~halts
        return DACTState(
            answer=torch.where(state.running.unsqueeze(-1), answer, state.answer),
            still_open=torch.where(state.running, still_open, state.still_open),
            cumulative=torch.where(state.running, cumulative, state.cumulative),
            cost=torch.where(running, state.cost + added, state.cost),
            steps=state.steps + state.running,
            running=running,
        )

    def running(self, state: DACTState) -> Tensor:
        """See `HaltingPolicy`."""
        return state.running

    def progress(self, state: DACTState) -> tuple[Tensor, Tensor]:
        """See `HaltingPolicy`."""
        return state.still_open, state.answer.clamp(min=MIN_PROBABILITY).log()

    def finish(self, state: DACTState) -> Halted:
        """See `HaltingPolicy`."""
        log_probs = state.answer.clamp(min=MIN_PROBABILITY).log()
        return Halted(log_probs, state.cost, state.steps)


class ACTState(NamedTuple):
    """ACT after n steps."""

    logits: Tensor
    """(B, A) Σ π_i y_i."""
    spent: Tensor
    """(B,) H_n while running, 1 once halted."""
    cost: Tensor
    """(B,) penalty so far."""
    steps: Tensor
    """(B,) int64, the step at which the example halted, or n while it runs."""
    running: Tensor
    """(B,) bool."""


class ACT(nn.Module):
    """Adaptive computation time (Graves 2016), with the released code's penalties.

    H_n = Σ_{i≤n} g_i ; halts at N*, the first n with H_n ≥ 1 - ε, or N. Step weights π_n = g_n
    before N*, and the remainder R = 1 - H_{N*-1} at N*. Answer logits Σ π_n y_n. The ponder cost is
    min_penalty + one step penalty for each step before N* + R. Halts in training and evaluation.

    Args:
        halting: the unit g: (B, G) -> (B,) in 0..1.
        max_steps: N.
        epsilon: ε, lets an example halt after one step.
        penalty: unit, linear or exp, see `act_penalty`.
        phase: of the penalty, in steps; None for its default, linear 5 and exp 7.
        min_penalty: added to every example's cost; None for 0.
    """

    def __init__(
        self,
        halting: Gate,
        max_steps: int,
        *,
        epsilon: float = 0.01,
        penalty: str = "unit",
        phase: float | None = None,
        min_penalty: float | None = None,
    ) -> None:
        super().__init__()
        self.halting = halting
        self.max_steps = max_steps
        self.epsilon = epsilon
        self.penalty = penalty
        self.phase = default_phase(penalty) if phase is None else phase
        self.min_penalty = 0.0 if min_penalty is None else min_penalty

    def start(self, step: Step) -> ACTState:
        """See `HaltingPolicy`."""
        zeros = _zeros(step)
        return ACTState(
            logits=torch.zeros_like(at_least_float32(step.logits)),
            spent=zeros,
            cost=zeros + self.min_penalty,
            steps=_full_steps(step, 0),
            running=torch.ones_like(zeros, dtype=torch.bool),
        )

    def update(self, state: ACTState, step: Step, n: int) -> ACTState:
        """See `HaltingPolicy`."""
        halting = self.halting(step.halting_input)
        spent = state.spent + halting
        last = spent >= 1 - self.epsilon
        if n == self.max_steps:
            last = torch.ones_like(last)
        remainder = 1 - state.spent
        weight = torch.where(last, remainder, halting)
        weight = torch.where(state.running, weight, torch.zeros_like(weight))
        added = remainder.where(last, act_penalty(n, self.penalty, self.phase))
        return ACTState(
            logits=state.logits + weight.unsqueeze(-1) * at_least_float32(step.logits),
            spent=state.spent + weight,
            cost=torch.where(state.running, state.cost + added, state.cost),
            steps=state.steps + state.running,
            running=state.running & ~last,
        )

    def running(self, state: ACTState) -> Tensor:
        """See `HaltingPolicy`."""
        return state.running

    def progress(self, state: ACTState) -> tuple[Tensor, Tensor]:
        """See `HaltingPolicy`."""
        return (1 - state.spent).clamp(0, 1), state.logits.log_softmax(-1)

    def finish(self, state: ACTState) -> Halted:
        """See `HaltingPolicy`."""
        return Halted(state.logits.log_softmax(-1), state.cost, state.steps)


def default_phase(penalty: str) -> float:
    """Steps after which a penalty sets in when nobody says: 5 for linear, 7 for exp."""
    return 7.0 if penalty == "exp" else 5.0
