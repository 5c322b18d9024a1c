"""PonderNet: halting as a latent variable with a geometric prior."""

import copy
from typing import NamedTuple, Self

import torch
from torch import Tensor, nn

from dact.models.functional import divergence_term, ruled_out_to_finite, truncated_geometric
from dact.models.halting.policy import (
    Halted,
    Step,
    checked_logits,
    halting_value,
    no_steps_for,
    zeros_for,
)
from dact.models.layers import Gate, at_least_float32


class PonderNetState(NamedTuple):
    """PonderNet after n steps."""

    log_probs: Tensor
    """(B, A) in training Σ_{i≤n} P_i log softmax(y_i), in evaluation log softmax(y_n) or, once the
    example has halted, that of its last step."""
    still_open: Tensor
    """(B,) Π_{i≤n} (1 - λ_i), the probability of halting later."""
    threshold: Tensor
    """(B,) in 0..1, the probability of having halted at which evaluation halts."""
    cost: Tensor
    """(B,) terms of the divergence so far."""
    steps: Tensor
    """(B,) int64, the step at which evaluation halts the example, or n while it goes on."""
    running: Tensor
    """(B,) bool, whether evaluation goes on."""


class PonderNet(nn.Module):
    """PonderNet (Banino et al. 2021, arXiv 2107.05407).

    P_n = λ_n Π_{i<n} (1 - λ_i) is the probability to halt at step n, the rest of the mass is on N.
    The loss is Σ_n P_n CE(y_n) + β KL(P ‖ truncated geometric(λ_p)), in the terms of `Halted` as
    for every policy: log-probabilities whose negative is the first part, and the divergence as
    ponder cost, with β in the place of τ.

    Evaluation halts at the first n with P_1 + ... + P_n ≥ u and answers softmax(y_n): u = 1/2 is
    the deterministic mode, and u drawn uniformly for each example samples n from P. The divergence
    of an example that halts before N is that between the distributions over halting at 1..n or
    later, which is all that is known of it and at most the whole one.

    Args:
        halting: the unit λ: (B, G) -> (B,) in 0..1.
        max_steps: N.
        prior: λ_p in (0, 1).
        sampled: whether evaluation samples the step; the draws follow PyTorch's seed and the
            batches, so that of all policies this alone may answer differently in another batch.
    """

    def __init__(
        self, halting: Gate, max_steps: int, *, prior: float = 0.2, sampled: bool = False
    ) -> None:
        super().__init__()
        self.halting = halting
        self.max_steps = max_steps
        self.rate = prior
        self.prior = truncated_geometric(prior, max_steps)
        self.sampled = sampled

    @property
    def may_halt(self) -> bool:
        """See `HaltingPolicy`: in evaluation."""
        return not self.training

    def with_steps(self, max_steps: int) -> Self:
        """See `HaltingPolicy`; the prior is that of so many steps."""
        other = copy.copy(self)
        other.max_steps, other.prior = max_steps, truncated_geometric(self.rate, max_steps)
        return other

    def start(self, step: Step) -> PonderNetState:
        """See `HaltingPolicy`."""
        zeros = zeros_for(step)
        return PonderNetState(
            log_probs=torch.zeros_like(at_least_float32(step.logits)),
            still_open=torch.ones_like(zeros),
            threshold=torch.rand_like(zeros) if self._samples else zeros + 0.5,
            cost=zeros,
            steps=no_steps_for(step),
            running=torch.ones_like(zeros, dtype=torch.bool),
        )

    @property
    def _samples(self) -> bool:
        return self.sampled and not self.training

    def update(self, state: PonderNetState, step: Step, n: int) -> PonderNetState:
        """See `HaltingPolicy`."""
        counted = torch.ones_like(state.running) if self.training else state.running
        log_probs = checked_logits(step, state.log_probs.shape, counted, n).log_softmax(-1)
        last = n == self.max_steps
        if last:  # takes all that is left
            halting, still_open = state.still_open, zeros_for(step)
        else:
            rate = halting_value(self.halting, step)
            halting, still_open = rate * state.still_open, (1 - rate) * state.still_open
        halts = 1 - still_open >= state.threshold
        running = torch.zeros_like(halts) if last else state.running & ~halts
        cost = state.cost + divergence_term(halting, self.prior[n - 1])
        steps = state.steps + state.running
        if self.training:
            # An answer that a step rules out costs what the loss takes for it: -inf · 0 is NaN.
            log_probs = ruled_out_to_finite(log_probs)
            expected = state.log_probs + halting.unsqueeze(-1) * log_probs
            return PonderNetState(expected, still_open, state.threshold, cost, steps, running)
        if not last:  # who halts here has the rest of the mass on one outcome: later
            later = divergence_term(still_open, sum(self.prior[n:]))
            cost = cost + torch.where(running, 0, later)
        return PonderNetState(
            log_probs=torch.where(state.running.unsqueeze(-1), log_probs, state.log_probs),
            still_open=torch.where(state.running, still_open, state.still_open),
            threshold=state.threshold,
            cost=torch.where(state.running, cost, state.cost),
            steps=steps,
            running=running,
        )

    def running(self, state: PonderNetState) -> Tensor:
        """See `HaltingPolicy`."""
        return state.running

    def progress(self, state: PonderNetState) -> tuple[Tensor, Tensor]:
        """See `HaltingPolicy`; in training the second is a partial sum and no answer."""
        return state.still_open, state.log_probs

    def finish(self, state: PonderNetState) -> Halted:
        """See `HaltingPolicy`."""
        return Halted(state.log_probs, state.cost.clamp(min=0), state.steps)
