"""Hand-computed numbers and theorems for the pure functions."""

import math
from fractions import Fraction

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dact.models.functional import (
    act_penalty,
    dact_accumulate,
    dact_penalty,
    exact_bound,
    length_mask,
    masked_softmax,
    paper_bound,
)

DTYPES = [torch.float32, torch.float64]
both_dtypes = pytest.mark.parametrize("dtype", DTYPES, ids=["float32", "float64"])
few = settings(max_examples=60, deadline=None, derandomize=True, database=None)

logits = st.lists(st.floats(-12, 12), min_size=2, max_size=7)
rows = st.lists(st.lists(st.floats(-12, 12), min_size=5, max_size=5), min_size=1, max_size=6)
gates = st.lists(st.floats(0, 1), min_size=6, max_size=6)
weights = st.one_of(
    st.floats(0, 1),
    st.floats(-30, 0).map(math.exp),
    st.floats(-20, 0).map(lambda x: -math.expm1(x)),
)
remaining_steps = st.integers(0, 15)


# --- masks and softmax ------------------------------------------------------------------------


def test_length_mask_by_hand():
    mask = length_mask(torch.tensor([2, 0, 3]), 3)
    assert mask.tolist() == [[True, True, False], [False] * 3, [True] * 3]
    assert mask.dtype == torch.bool


def test_masked_softmax_by_hand():
    mask = torch.tensor([[True, True, False], [True, False, True]])
    values = torch.tensor([[0.0, math.log(3), 50.0], [math.log(4), math.nan, 0.0]])
    got = masked_softmax(values, mask)
    torch.testing.assert_close(got, torch.tensor([[0.25, 0.75, 0.0], [0.8, 0.0, 0.2]]))


@both_dtypes
@few
@given(rows, st.data())
def test_masked_softmax_is_a_distribution_over_the_mask(dtype, values, data):
    values = torch.tensor(values, dtype=dtype)
    lengths = data.draw(st.lists(st.integers(1, 5), min_size=len(values), max_size=len(values)))
    mask = length_mask(torch.tensor(lengths), 5)
    got = masked_softmax(values, mask)
    torch.testing.assert_close(got.sum(-1), torch.ones(len(values), dtype=dtype))
    assert (got >= 0).all()
    assert got[~mask].eq(0).all()
    for row, length in enumerate(lengths):
        torch.testing.assert_close(got[row, :length], values[row, :length].softmax(-1))


def test_masked_logits_get_no_gradient():
    values = torch.tensor([[1.0, 2.0, math.inf]], requires_grad=True)
    masked_softmax(values, torch.tensor([[True, True, False]]))[0, 0].backward()
    assert values.grad[0, 2] == 0
    assert values.grad.isfinite().all()


# --- DACT's answer ----------------------------------------------------------------------------


def test_dact_accumulate_by_hand():
    """Gates .5 and .25 in two steps: a_2 = .5 y_2 + .5 y_1, then a_3 = .125 y_3 + .875 a_2."""
    y = torch.tensor([[[1.0, 0.0]], [[0.0, 1.0]], [[0.5, 0.5]]])
    answer = dact_accumulate(torch.full((1, 2), 9.0), torch.tensor([1.0]), y[0])
    assert answer.tolist() == [[1.0, 0.0]]
    answer = dact_accumulate(answer, torch.tensor([0.5]), y[1])
    assert answer.tolist() == [[0.5, 0.5]]
    answer = dact_accumulate(torch.tensor([[1.0, 0.0]]), torch.tensor([0.125]), y[2])
    assert answer.tolist() == [[0.9375, 0.0625]]


@both_dtypes
@few
@given(rows, gates)
def test_the_running_answer_stays_a_distribution(dtype, values, gates):
    answer = torch.zeros(1, 5, dtype=dtype)
    still_open = torch.ones(1, dtype=dtype)
    for row, gate in zip(values, gates, strict=False):
        probs = torch.tensor([row], dtype=dtype).softmax(-1)
        answer = dact_accumulate(answer, still_open, probs)
        still_open = (1 - torch.tensor([gate], dtype=dtype)) * still_open
        torch.testing.assert_close(answer.sum(-1), torch.ones(1, dtype=dtype))
        assert (answer >= 0).all()


# --- when DACT may halt -----------------------------------------------------------------------


def case(values, still_open, dtype):
    answer = torch.tensor([values], dtype=dtype).softmax(-1)
    return answer, torch.tensor([still_open], dtype=dtype)


def worst_case(answer, still_open, remaining):
    """a_N[top] - a_N[runner-up], exactly, if all later weight goes to the runner-up.

    Later weights are at most p_n each, and only equal to it if no later gate opens; every later
    answer is the runner-up alone. This is DACT's recursion in rational numbers.
    """
    runner_up, top = (Fraction(value) for value in answer[0].sort().values[-2:].tolist())
    p = Fraction(still_open.item())
    for _ in range(remaining):
        top, runner_up = (1 - p) * top, p + (1 - p) * runner_up
    return top - runner_up


def test_bounds_by_hand():
    """With one step left: exact .8 (1 + .4) = 1.12 > 1; paper .7·.8 - .3 - .2 = .06 > 0."""
    answer, p = torch.tensor([[0.7, 0.3]]), torch.tensor([0.2])
    assert exact_bound(answer, p, 1)
    assert paper_bound(answer, p, 1)
    # Two left: .64·1.4 = .896 and .7·.64 - .3 - .4 = -.252.
    assert not exact_bound(answer, p, 2)
    assert not paper_bound(answer, p, 2)
    # .86²·1.4 = 1.035 and .7·.7396 - .3 - .28 = -.062: here only the exact bound halts.
    assert exact_bound(answer, torch.tensor([0.14]), 2)
    assert not paper_bound(answer, torch.tensor([0.14]), 2)


@pytest.mark.parametrize("bound", [exact_bound, paper_bound])
def test_bounds_at_the_edges(bound):
    answers = torch.tensor([[0.2, 0.8], [0.5, 0.5]])
    ones, zeros = torch.ones(2), torch.zeros(2)
    assert bound(answers, zeros, 5).tolist() == [True, False]
    assert bound(answers, ones, 5).tolist() == [False, False]
    assert bound(answers, ones, 0).tolist() == [True, False]
    assert bound(torch.tensor([[0.0, 1.0, 0.0]]), torch.tensor([0.4]), 1).item()


@both_dtypes
@few
@given(logits, weights, remaining_steps)
def test_the_exact_bound_never_halts_later_than_the_papers(dtype, values, still_open, remaining):
    answer, p = case(values, still_open, dtype)
    if paper_bound(answer, p, remaining):
        assert exact_bound(answer, p, remaining)


@both_dtypes
def test_the_exact_bound_never_halts_later_on_many_answers(dtype):
    generator = torch.Generator().manual_seed(0)
    size = 20_000
    answer = (6 * torch.randn(size, 4, generator=generator, dtype=dtype)).softmax(-1)
    p = (-12 * torch.rand(size, generator=generator, dtype=dtype)).exp()
    earlier = 0
    for remaining in range(12):
        paper, exact = paper_bound(answer, p, remaining), exact_bound(answer, p, remaining)
        assert not (paper & ~exact).any()
        earlier += int((exact & ~paper).sum())
    assert earlier > size / 10


def on_the_edge(remaining, dtype, size=400):
    """Answers whose p_n is the one at which the exact bound turns, or next to it."""
    generator = torch.Generator().manual_seed(remaining)
    answer = (3 * torch.randn(size, 4, generator=generator, dtype=torch.float64)).softmax(-1)
    runner_up, top = answer.sort().values[:, -2:].unbind(-1)
    p = -torch.expm1(-torch.log1p(top - runner_up) / remaining)
    off = torch.tensor([1 - 1e-3, 1 - 1e-5, 1.0, 1 + 1e-5, 1 + 1e-3], dtype=torch.float64)
    return answer.to(dtype), (p * off.repeat(size // len(off))).to(dtype)


def assert_safe_and_tight(answer, p, remaining):
    """Where it halts nothing changes the answer; where it does not, the worst case does.

    Up to rounding, which is relative to the weight that is still open.
    """
    margin = worst_case(answer, p, remaining)
    slack = 8 * torch.finfo(answer.dtype).eps * (1 - (1 - p.item()) ** remaining)
    if exact_bound(answer, p, remaining):
        assert margin > -slack
    else:
        assert margin <= slack


@both_dtypes
@few
@given(logits, weights, remaining_steps)
def test_the_exact_bound_is_safe_and_tight(dtype, values, still_open, remaining):
    answer, p = case(values, still_open, dtype)
    assert_safe_and_tight(answer, p, remaining)


@both_dtypes
@pytest.mark.parametrize("remaining", [1, 2, 5, 11])
def test_the_exact_bound_is_safe_and_tight_on_the_edge(dtype, remaining):
    halted = 0
    for answer, p in zip(*on_the_edge(remaining, dtype), strict=True):
        assert_safe_and_tight(answer.unsqueeze(0), p.unsqueeze(0), remaining)
        halted += exact_bound(answer.unsqueeze(0), p.unsqueeze(0), remaining).item()
    assert 100 < halted < 300


@both_dtypes
@few
@given(logits, weights, st.lists(st.tuples(st.integers(0, 6), st.floats(0, 1)), max_size=11))
def test_no_continuation_changes_a_halted_answer(dtype, values, still_open, later):
    """Later answers are one-hot, any class, and later gates anything."""
    answer, p = case(values, still_open, dtype)
    if not exact_bound(answer, p, len(later)):
        return
    top = answer.argmax(-1)
    for chosen, gate in later:
        probs = torch.zeros_like(answer)
        probs[0, chosen % answer.shape[1]] = 1
        answer = dact_accumulate(answer, p, probs)
        p = (1 - torch.tensor([gate], dtype=dtype)) * p
    slack = 100 * torch.finfo(dtype).eps
    assert answer[0, top] >= answer.max() - slack


@both_dtypes
def test_tiny_open_weights_are_not_forgotten(dtype):
    """1 - p rounds to 1, so the textbook form (1 - p)^d (1 + a* - a_ru) > 1 halts wrongly."""
    eps = torch.finfo(dtype).eps
    p = torch.tensor([eps / 4], dtype=dtype)
    close = torch.tensor([[0.5 + eps, 0.5 - eps]], dtype=dtype)
    assert (1 - p) ** 11 * (1 + close[0, 0] - close[0, 1]) > 1
    assert worst_case(close, p, 11) < 0
    assert not exact_bound(close, p, 11)
    apart = torch.tensor([[0.5 + 2 * eps, 0.5 - 2 * eps]], dtype=dtype)
    assert worst_case(apart, p, 11) > 0
    assert exact_bound(apart, p, 11)


# --- penalties --------------------------------------------------------------------------------


def test_dact_penalties_by_hand():
    p, total = torch.tensor([0.5, 0.25]), torch.tensor([4.0, 6.5])
    assert dact_penalty(p, total, "unit", 5).tolist() == [0.5, 0.25]
    assert dact_penalty(p, total, "linear", 5).tolist() == [0.5, 1.75]
    wanted = [math.exp(-3) + 1, math.exp(-0.5) + 1]
    assert dact_penalty(p, total, "exp", 7).tolist() == pytest.approx(wanted)


def test_act_penalties_by_hand():
    assert [act_penalty(n, "unit", 5) for n in (1, 9)] == [1, 1]
    assert [act_penalty(n, "linear", 5) for n in (1, 5, 6, 8)] == [1, 1, 2, 4]
    wanted = [math.exp(-6) + 1, 2, math.exp(2) + 1]
    assert [act_penalty(n, "exp", 7) for n in (1, 7, 9)] == pytest.approx(wanted)


def test_unknown_penalties_are_refused():
    with pytest.raises(ValueError, match="quadratic"):
        dact_penalty(torch.ones(1), torch.ones(1), "quadratic", 5)
    with pytest.raises(ValueError, match="quadratic"):
        act_penalty(1, "quadratic", 5)
