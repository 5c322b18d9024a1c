"""The mathematics of the networks as pure functions of tensors.

Sources: DACT, Eyzaguirre & Soto, CVPR 2020 (arXiv 2004.12770) and the authors' released code; ACT,
Graves 2016 (arXiv 1603.08983); PonderNet, Banino et al. 2021 (arXiv 2107.05407). B examples, A
answers, N maximum steps, n current step.
"""

import math

import torch
from torch import Tensor

#: What a loss takes for the log-probability of an answer that is ruled out (its logit is -inf):
#: finite, and so low that in float32 the probability is 0.
RULED_OUT = -104.0


def ruled_out_to_finite(log_probs: Tensor) -> Tensor:
    """Log-probabilities with `RULED_OUT` in the place of -inf, where the gradient is then 0.

    >>> ruled_out_to_finite(torch.tensor([-0.5, -torch.inf])).tolist()
    [-0.5, -104.0]
    """
    return log_probs.masked_fill(log_probs.isneginf(), RULED_OUT)


def length_mask(lengths: Tensor, size: int) -> Tensor:
    """True where a padded sequence is real: (B,) int64 lengths -> (B, size) bool.

    >>> length_mask(torch.tensor([1, 3]), 3).tolist()
    [[True, False, False], [True, True, True]]
    """
    return torch.arange(size, device=lengths.device) < lengths.unsqueeze(-1)


def masked_softmax(logits: Tensor, mask: Tensor) -> Tensor:
    """Softmax over the last axis with exactly zero weight wherever `mask` is False.

    Args:
        logits: (..., n), any value where the mask is False.
        mask: (..., n) bool with at least one True in every row.

    Returns:
        (..., n) in 0..1, rows sum to 1.

    >>> masked_softmax(torch.tensor([0.0, 0.0, 9.0]), torch.tensor([True, True, False])).tolist()
    [0.5, 0.5, 0.0]
    """
    return logits.masked_fill(~mask, -torch.inf).softmax(-1)


def dact_accumulate(answer: Tensor, still_open: Tensor, probs: Tensor) -> Tensor:
    """Running answer of DACT: a_n = p_{n-1} softmax(y_n) + (1 - p_{n-1}) a_{n-1}.

    DACT, section 3.1 (there the intermediate output y_n is already normalised).

    Args:
        answer: (B, A) a_{n-1}, anything before the first step since p_0 = 1.
        still_open: (B,) p_{n-1} in 0..1, the weight that later steps may still take.
        probs: (B, A) softmax(y_n).
    """
    weight = still_open.unsqueeze(-1)
    return weight * probs + (1 - weight) * answer


def _top_and_runner_up(answer: Tensor) -> tuple[Tensor, Tensor]:
    if answer.shape[-1] < 2:
        raise ValueError(
            f"answers of shape {tuple(answer.shape)}: a halting bound compares two answers, so "
            "give at least two logits (yes or no are two answers)"
        )
    top = answer.topk(2, dim=-1).values
    return top[..., 0], top[..., 1]


def paper_bound(answer: Tensor, still_open: Tensor, remaining: int) -> Tensor:
    """The paper's sufficient condition that the top class can no longer be overtaken.

    `a* (1 - p_n)^d - a_ru - p_n d > 0` (DACT, section 3.2), `a*` and `a_ru` the largest two.

    Args:
        answer: (B, A) a_n, a distribution over at least two answers.
        still_open: (B,) p_n in 0..1.
        remaining: d = N - n >= 0 steps that are left.

    Returns:
        (B,) bool, True where the example may halt.
    """
    top, runner_up = _top_and_runner_up(answer)
    return top * (1 - still_open) ** remaining - runner_up - still_open * remaining > 0


def exact_bound(answer: Tensor, still_open: Tensor, remaining: int) -> Tensor:
    """The tight condition that the top class can no longer be overtaken.

    The d remaining steps can give other answers a total weight of at most P = 1 - (1 - p_n)^d, and
    the top class is safe exactly if `(1 - P)(a* - a_ru) > P`. With L = d log(1 - p_n) this reads
    `exp(L)(a* - a_ru) + expm1(L) > 0`, which keeps its guarantees under rounding: the textbook form
    subtracts numbers near 1. It is implied by `paper_bound`, so it never halts later.

    Arguments and result as in `paper_bound`.

    >>> answer = torch.tensor([[0.7, 0.3]])
    >>> exact_bound(answer, torch.tensor([0.2]), 1).tolist()
    [True]
    >>> paper_bound(answer, torch.tensor([0.2]), 1).tolist()
    [True]
    >>> exact_bound(answer, torch.tensor([0.3]), 1).tolist()
    [False]
    """
    top, runner_up = _top_and_runner_up(answer)
    if remaining == 0:
        return top > runner_up
    log_kept = remaining * torch.log1p(-still_open)
    return log_kept.exp() * (top - runner_up) + torch.expm1(log_kept) > 0


def probability_bound(answer: Tensor, still_open: Tensor, remaining: int, eps: float) -> Tensor:
    """Stop where `exact_bound` does, or once going on is unlikely: p_n = Π_{i≤n} (1 - g_i) ≤ ε.

    In the second case the answer is off by at most 2dε in sum: a narrow top class may be overtaken.

    Args:
        answer: (B, A) a_n, a distribution over at least two answers.
        still_open: (B,) p_n in 0..1.
        remaining: d = N - n >= 0 steps that are left.
        eps: ε in 0..1.

    Returns:
        (B,) bool, True where the example may halt.

    >>> answer = torch.tensor([[0.6, 0.4], [0.6, 0.4]])
    >>> probability_bound(answer, torch.tensor([0.1, 0.3]), 3, 0.2).tolist()
    [True, False]
    """
    return (still_open <= eps) | exact_bound(answer, still_open, remaining)


def budget_bound(
    answer: Tensor, still_open: Tensor, remaining: int, least_remaining: int
) -> Tensor:
    """Stop where `exact_bound` does, or when there are no more steps to spend.

    Args:
        answer: (B, A) a_n, a distribution over at least two answers.
        still_open: (B,) p_n in 0..1.
        remaining: d = N - n >= 0 steps that are left.
        least_remaining: N less the steps that may be taken.

    Returns:
        (B,) bool, True where the example may halt.

    >>> budget_bound(torch.tensor([[0.6, 0.4]]), torch.tensor([0.9]), 2, 2).tolist()
    [True]
    """
    if remaining <= least_remaining:
        return torch.ones_like(still_open, dtype=torch.bool)
    return exact_bound(answer, still_open, remaining)


def dact_penalty(still_open: Tensor, cumulative: Tensor, penalty: str, phase: float) -> Tensor:
    """What one step adds to DACT's ponder cost.

    Args:
        still_open: (B,) p_n.
        cumulative: (B,) P_n = p_1 + ... + p_n.
        penalty: unit: p_n; linear: max(P_n - phase, 0) + p_n; exp: exp(P_n - phase) + 1.
        phase: where the linear and the exponential penalty set in, in steps.
    """
    if penalty == "unit":
        return still_open
    if penalty == "linear":
        return (cumulative - phase).clamp(min=0) + still_open
    if penalty == "exp":
        return (cumulative - phase).exp() + 1
    raise ValueError(f"penalty is unit, linear or exp, not {penalty!r}")


def act_penalty(step: int, penalty: str, phase: float) -> float:
    """What one step before the last adds to ACT's ponder cost.

    Args:
        step: n, counted from 1.
        penalty: unit: 1 (Graves 2016); linear: max(n - phase, 0) + 1; exp: exp(n - phase) + 1.
        phase: where the linear and the exponential penalty set in, in steps.
    """
    if penalty == "unit":
        return 1.0
    if penalty == "linear":
        return max(step - phase, 0.0) + 1.0
    if penalty == "exp":
        return math.exp(step - phase) + 1.0
    raise ValueError(f"penalty is unit, linear or exp, not {penalty!r}")


def truncated_geometric(rate: float, size: int) -> list[float]:
    """PonderNet's prior: the geometric distribution, renormalised over 1..size.

    Banino et al. 2021, section 2.2: P(n) ∝ λ_p (1 - λ_p)^{n-1}.

    Args:
        rate: λ_p in (0, 1).
        size: N, the number of steps.

    >>> truncated_geometric(0.5, 2)
    [0.6666666666666666, 0.3333333333333333]
    """
    weights = [rate * (1 - rate) ** n for n in range(size)]
    return [weight / sum(weights) for weight in weights]


def divergence_term(probability: Tensor, prior: float) -> Tensor:
    """P log(P / Q), one outcome's part of KL(P ‖ Q); 0 where P = 0.

    Args:
        probability: (B,) P in 0..1.
        prior: Q in 0..1.

    >>> divergence_term(torch.tensor([0.5, 0.25]), 0.5).tolist()
    [0.0, -0.1732867956161499]
    """
    tiny = torch.finfo(probability.dtype).tiny
    return probability * (probability.clamp(min=tiny).log() - math.log(max(prior, tiny)))
