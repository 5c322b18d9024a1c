"""The read unit's scores against the equation as written, with all their gradients."""

import pytest
import torch
from batches import NO_DROPOUT, A, B, D, N, make_batch, make_network, make_options
from torch.nn.functional import elu

from dact.models import mac_units
from dact.models.layers import keep_mask
from dact.models.read_scores import read_scores
from dact.options import DropoutOptions

CELLS = 11


def as_written(memory, control, projected, base, keep, of_product, interact, bias, score):
    inner = elu((memory.unsqueeze(1) * projected) @ of_product.t() + base)
    scored = elu((inner @ interact.t() + bias) * control.unsqueeze(1))
    return ((scored if keep is None else scored * keep) * score).sum(-1)


def arguments(dropout, dtype=torch.float64):
    generator = torch.Generator().manual_seed(0)
    shapes = [(B, D), (B, D), (B, CELLS, D), (B, CELLS, D), (D, D), (D, D), (D,), (D,)]
    tensors = [torch.randn(shape, generator=generator, dtype=dtype) for shape in shapes]
    tensors = [tensor.requires_grad_() for tensor in tensors]
    keep = keep_mask(tensors[2], 0.4) if dropout else None
    return [*tensors[:4], keep, *tensors[4:]]


@pytest.mark.parametrize("dropout", [False, True])
def test_scores_and_gradients_are_those_of_the_equation(dropout):
    torch.manual_seed(0)
    inputs = arguments(dropout)
    before = [None if tensor is None else tensor.detach().clone() for tensor in inputs]
    tensors = [tensor for tensor in inputs if tensor is not None and tensor.is_floating_point()]
    ours, wanted = read_scores(*inputs), as_written(*inputs)
    torch.testing.assert_close(ours, wanted)
    weights = torch.randn_like(ours)
    found, expected = (
        torch.autograd.grad((scores * weights).sum(), tensors) for scores in (ours, wanted)
    )
    assert all(gradient.ne(0).any() for gradient in expected)
    torch.testing.assert_close(found, expected)
    for tensor, old in zip(inputs, before, strict=True):  # nothing of the caller's is overwritten
        assert tensor is None or torch.equal(tensor, old)


def test_a_graph_can_be_walked_twice():
    inputs = arguments(dropout=True)
    scores = read_scores(*inputs).sum()
    first, second = (torch.autograd.grad(scores, inputs[0], retain_graph=True) for _ in range(2))
    torch.testing.assert_close(first, second, rtol=0, atol=0)


def test_under_autocast_weights_get_gradients_of_their_own_precision():
    inputs = arguments(dropout=False, dtype=torch.float32)
    with torch.autocast("cpu", torch.bfloat16):
        projected = inputs[2].bfloat16()
        scores = read_scores(*inputs[:2], projected, *inputs[3:])
    assert scores.dtype == torch.bfloat16
    exact = as_written(*inputs)
    assert (scores - exact).abs().mean() < 0.02 * exact.std()
    scores.float().sum().backward()
    assert {inputs[index].grad.dtype for index in (0, 1, 3, 5, 6, 7, 8)} == {torch.float32}


@pytest.mark.parametrize("mode", ["per_step", "variational"])
def test_dropout_before_the_score_is_fresh_or_shared_and_scaled(monkeypatch, mode):
    rate = 0.4
    dropout = DropoutOptions(**{**NO_DROPOUT, "read": rate})
    network = make_network(make_options("mac", dropout=dropout, read_dropout_mode=mode)).train()
    seen = []

    def spy(*inputs):
        seen.append((inputs[4], inputs[-1]))
        return read_scores(*inputs)

    monkeypatch.setattr(mac_units, "read_scores", spy)
    torch.manual_seed(0)
    assert network(make_batch()).log_probs.shape == (B, A)
    keeps, scores = zip(*seen, strict=True)
    assert len(keeps) == N
    assert torch.stack(keeps).double().mean() == pytest.approx(1 - rate, abs=0.05)
    assert all(torch.equal(keeps[0], keep) == (mode == "variational") for keep in keeps[1:])
    torch.testing.assert_close(scores[0], network.cell.read.score.weight[0] / (1 - rate))
    seen.clear()
    network.eval()(make_batch())
    assert all(
        keep is None and score.equal(network.cell.read.score.weight[0]) for keep, score in seen
    )
