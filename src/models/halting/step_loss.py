"""Training the answers of single steps, whatever the halting policy makes of them."""

import math
from typing import Any, NamedTuple, Self

import torch
from torch import Tensor

from dact.models.functional import ruled_out_to_finite
from dact.models.halting.policy import Halted, HaltingPolicy, Step
from dact.models.layers import at_least_float32


class StepLossState(NamedTuple):
    """After n steps."""

    policy: Any
    """State of the policy."""
    total: Tensor
    """(B, A) log (softmax(y_1) + ... + softmax(y_n))."""


class StepLoss:
    """A policy in training, with a share λ of the answer loss on an answer of single steps.

    Its log-probabilities are (1 - λ) log a + λ log mean_n softmax(y_n). Here a is the policy's
    answer, and the mean is that of a halting unit which knows nothing and halts at any step alike.
    Without it (λ = 0, as in the papers) an early answer learns only as far as halting lets it
    through: a unit that begins by going on leaves early answers untrained, and then has to go on.

    The gradient of the mean's cross-entropy reaches step n with the weight
    softmax(y_n) / Σ_m softmax(y_m) at the right answer. So a step learns most from questions that
    it can answer, and is not made to guess those that need more steps, as by the mean of the
    steps' cross-entropies.

    Args:
        policy: in training; everybody takes all N steps, whomever it would let halt.
        share: λ in 0..1.
    """

    may_halt = False
    """See `HaltingPolicy`."""

    def __init__(self, policy: HaltingPolicy, share: float) -> None:
        self.policy = policy
        self.share = share
        self.max_steps = policy.max_steps

    def with_steps(self, max_steps: int) -> Self:
        """See `HaltingPolicy`."""
        return type(self)(self.policy.with_steps(max_steps), self.share)

    def start(self, step: Step) -> StepLossState:
        """See `HaltingPolicy`."""
        nothing = torch.full_like(at_least_float32(step.logits), -torch.inf)
        return StepLossState(self.policy.start(step), nothing)

    def update(self, state: StepLossState, step: Step, n: int) -> StepLossState:
        """See `HaltingPolicy`."""
        single = ruled_out_to_finite(at_least_float32(step.logits).log_softmax(-1))
        total = torch.logaddexp(state.total, single)
        return StepLossState(self.policy.update(state.policy, step, n), total)

    def running(self, state: StepLossState) -> Tensor:
        """See `HaltingPolicy`."""
        return self.policy.running(state.policy)

    def progress(self, state: StepLossState) -> tuple[Tensor, Tensor]:
        """See `HaltingPolicy`."""
        return self.policy.progress(state.policy)

    def finish(self, state: StepLossState) -> Halted:
        """See `HaltingPolicy`."""
        halted = self.policy.finish(state.policy)
        single = state.total - math.log(self.max_steps)
        log_probs = (1 - self.share) * ruled_out_to_finite(halted.log_probs) + self.share * single
        return halted._replace(log_probs=log_probs)
