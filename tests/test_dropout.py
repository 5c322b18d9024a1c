"""Dropout masks made of random bits."""

import pytest
import torch

from dact.models.layers import Dropout, keep_mask


@pytest.mark.parametrize("rate", [0.03, 0.15, 0.5, 0.85])
def test_each_number_is_dropped_at_the_rate_independently(rate):
    torch.manual_seed(0)
    kept = keep_mask(torch.empty(40_003, 5), rate).double()
    spread = (rate * (1 - rate) / len(kept)) ** 0.5
    assert set(kept.unique().tolist()) == {0, 1}
    assert (kept.mean(0) - (1 - rate)).abs().max() < 4 * spread
    flat = kept.flatten()
    for apart in range(1, 9):  # four masks come from one random number
        together = (flat[apart:] * flat[:-apart]).mean()
        assert together.item() == pytest.approx((1 - rate) ** 2, abs=5 * spread)


def test_masks_of_a_seed_repeat_and_go_on():
    torch.manual_seed(3)
    first, second = (keep_mask(torch.empty(101), 0.4) for _ in range(2))
    torch.manual_seed(3)
    assert torch.equal(keep_mask(torch.empty(101), 0.4), first)
    assert not torch.equal(first, second)


@pytest.mark.parametrize("shape", [(), (1,), (7, 0), (3, 5, 7)])
def test_any_shape_has_a_mask(shape):
    assert keep_mask(torch.empty(shape), 0.2).shape == shape


def test_what_is_kept_is_scaled_and_carries_the_gradient():
    torch.manual_seed(0)
    inputs = torch.randn(101, 7, dtype=torch.float64, requires_grad=True)
    output = Dropout(0.25)(inputs)
    kept = output != 0
    assert 0.6 < kept.double().mean() < 0.9
    torch.testing.assert_close(output[kept], inputs[kept] / 0.75)
    output.sum().backward()
    torch.testing.assert_close(inputs.grad, kept.double() / 0.75)
    module = Dropout(0.25).eval()
    assert module(inputs) is inputs
