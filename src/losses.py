"""What training minimises: answer loss plus weighted ponder cost."""

from torch import Tensor
from torch.nn.functional import nll_loss

from dact.batch import NO_ANSWER


def answer_loss(log_probs: Tensor, answers: Tensor) -> Tensor:
    """Mean negative log-probability of the right answers.

    Args:
        log_probs: (B, A) natural-log probabilities.
        answers: (B,) int64; questions with `NO_ANSWER` do not count.

    Returns:
        Scalar; 0 if no question of the batch counts.
    """
    counted = (answers != NO_ANSWER).sum().clamp(min=1)
    return nll_loss(log_probs, answers, ignore_index=NO_ANSWER, reduction="sum") / counted


def total_loss(answer: Tensor, ponder_cost: Tensor, weight: float) -> Tensor:
    """Answer loss + τ · mean ρ (DACT, section 3.3).

    Args:
        answer: scalar, from `answer_loss`.
        ponder_cost: (B,) ρ.
        weight: τ ≥ 0.
    """
    return answer + weight * ponder_cost.mean()
