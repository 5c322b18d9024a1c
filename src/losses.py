"""What training minimises: answer loss plus weighted ponder cost."""

from torch import Tensor
from torch.nn.functional import nll_loss

from dact.batch import NO_ANSWER
from dact.models.functional import ruled_out_to_finite


def answer_loss(log_probs: Tensor, answers: Tensor) -> Tensor:
    """Mean negative log-probability of the right answers.

    Args:
        log_probs: (B, A) natural-log probabilities, at most 0. A right answer that is ruled out
            (-inf) costs 104, -log of what float32 holds no longer, and has no gradient.
        answers: (B,) int64 in 0..A-1; those that are `NO_ANSWER` (-1) do not count.

    Returns:
        Scalar, at least 0; 0 if no answer of the batch counts.

    >>> import torch
    >>> log_probs = torch.tensor([[0.5, 0.5], [0.9, 0.1]]).log()
    >>> round(answer_loss(log_probs, torch.tensor([0, -1])).item(), 4)
    0.6931
    """
    counted = (answers != NO_ANSWER).sum().clamp(min=1)
    log_probs = ruled_out_to_finite(log_probs)
    return nll_loss(log_probs, answers, ignore_index=NO_ANSWER, reduction="sum") / counted


def total_loss(answer: Tensor, ponder_cost: Tensor, weight: float) -> Tensor:
    """Answer loss + τ · mean ρ (DACT, section 3.3).

    Args:
        answer: scalar, from `answer_loss`.
        ponder_cost: (B,) ρ, at least 0.
        weight: τ; a negative one rewards thinking.

    Returns:
        Scalar.

    >>> import torch
    >>> total_loss(torch.tensor(0.5), torch.tensor([1.0, 3.0]), 0.25).item()
    1.0
    """
    return answer + weight * ponder_cost.mean()
