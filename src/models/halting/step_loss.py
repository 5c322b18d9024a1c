"""Training every step's own answer, whatever the halting policy makes of them."""

from typing import Any, NamedTuple, Self

import torch
from torch import Tensor

from dact.models.halting.policy import Halted, HaltingPolicy, Step
from dact.models.layers import at_least_float32


class StepLossState(NamedTuple):
    """After n steps."""

    policy: Any
    """State of the policy."""
    total: Tensor
    """(B, A) log softmax(y_1) + ... + log softmax(y_n)."""


class StepLoss:
    """A policy in training, with a share λ of the answer loss on the answers of single steps.

    Its log-probabilities are (1 - λ) log a + λ mean_n log softmax(y_n), where a is the policy's
    answer, so their cross-entropy is (1 - λ) that of a plus λ the mean of the steps'. Without it
    (λ = 0, as in the papers) an early answer learns only as far as halting lets it through: a
    halting unit that begins by going on leaves early answers untrained, and then has to go on.

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
        zeros = torch.zeros_like(at_least_float32(step.logits))
        return StepLossState(self.policy.start(step), zeros)

    def update(self, state: StepLossState, step: Step, n: int) -> StepLossState:
        """See `HaltingPolicy`."""
        single = at_least_float32(step.logits).log_softmax(-1)
        return StepLossState(self.policy.update(state.policy, step, n), state.total + single)

    def running(self, state: StepLossState) -> Tensor:
        """See `HaltingPolicy`."""
        return self.policy.running(state.policy)

    def progress(self, state: StepLossState) -> tuple[Tensor, Tensor]:
        """See `HaltingPolicy`."""
        return self.policy.progress(state.policy)

    def finish(self, state: StepLossState) -> Halted:
        """See `HaltingPolicy`."""
        halted = self.policy.finish(state.policy)
        single = state.total / self.max_steps
        log_probs = (1 - self.share) * halted.log_probs + self.share * single
        return halted._replace(log_probs=log_probs)
