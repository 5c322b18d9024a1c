"""Scores of the read unit: most of a step's work, with little kept for the backward pass."""

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import elu


def read_scores(
    memory: Tensor,
    control: Tensor,
    projected: Tensor,
    base: Tensor,
    keep: Tensor | None,
    of_product: Tensor,
    interact: Tensor,
    interact_bias: Tensor,
    score: Tensor,
) -> Tensor:
    """w·(keep ⊙ ELU((W_2 ELU(W_1a (M ⊙ Kp) + base) + b_2) ⊙ c)) for every cell.

    MAC, section 3.2.2. Backward keeps what comes out of the two matrix products and computes the
    rest again: that costs less than to keep it, since memory touched for the first time is dear.

    Args:
        memory: (B, D) M = W_m m̃.
        control: (B, D) c_n.
        projected: (B, K, D) Kp.
        base: (B, K, D) W_1b Kp + b_1.
        keep: (B, K, D) dropout mask of 0 and 1 (its scale belongs into `score`); None: no dropout.
        of_product: (D, D) W_1a.
        interact: (D, D) W_2.
        interact_bias: (D,) b_2.
        score: (D,) w.

    Returns:
        (B, K), any value; in the dtype of `projected`, which under autocast is the reduced one.
    """
    dtype = projected.dtype
    memory, control, base, of_product, interact, interact_bias, score = (
        tensor.to(dtype)
        for tensor in (memory, control, base, of_product, interact, interact_bias, score)
    )
    with torch.autocast(projected.device.type, enabled=False):
        return _ReadScores.apply(
            memory, control, projected, base, keep, of_product, interact, interact_bias, score
        )


class _ReadScores(torch.autograd.Function):
    """Passes over B×K×D cost as much as the products: all that can overwrites its input."""

    @staticmethod
    def forward(
        ctx: Any,
        memory: Tensor,
        control: Tensor,
        projected: Tensor,
        base: Tensor,
        keep: Tensor | None,
        of_product: Tensor,
        interact: Tensor,
        interact_bias: Tensor,
        score: Tensor,
    ) -> Tensor:
        """See `read_scores`; all floating-point arguments are of one dtype."""
        product = (memory.unsqueeze(1) * projected).flatten(0, 1)
        hidden = elu(torch.addmm(base.flatten(0, 1), product, of_product.t()), inplace=True)
        interaction = torch.addmm(interact_bias, hidden, interact.t()).view_as(base)
        ctx.save_for_backward(
            memory, control, projected, keep, of_product, interact, score, hidden, interaction
        )
        scored = elu(interaction * control.unsqueeze(1), inplace=True)
        return (scored if keep is None else scored.mul_(keep)) @ score

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        """From the (B, K) gradient of the scores to that of each argument of `forward`."""
        memory, control, projected, keep, of_product, interact, score, hidden, interaction = (
            ctx.saved_tensors
        )
        scored = elu(interaction * control.unsqueeze(1), inplace=True)
        inner = gradient.unsqueeze(-1) * score
        if keep is not None:
            inner.mul_(keep)
        inner = _elu_backward(inner, scored)
        if keep is not None:
            scored.mul_(keep)
        of_score = scored.flatten(0, 1).t() @ gradient.flatten()
        of_control = (inner * interaction).sum(1)
        inner = inner.mul_(control.unsqueeze(1)).flatten(0, 1)
        of_interact, of_bias = inner.t() @ hidden, inner.sum(0)
        inner = _elu_backward(inner @ interact, hidden)
        product = (memory.unsqueeze(1) * projected).flatten(0, 1)
        of_of_product = inner.t() @ product
        of_base = inner.view_as(projected)
        inner = (inner @ of_product).view_as(projected)
        of_memory = (inner * projected).sum(1)
        of_projected = inner.mul_(memory.unsqueeze(1))
        return (
            of_memory,
            of_control,
            of_projected,
            of_base,
            None,
            of_of_product,
            of_interact,
            of_bias,
            of_score,
        )


def _elu_backward(gradient: Tensor, result: Tensor) -> Tensor:
    """Gradient before an ELU from that behind it and the ELU's result."""
    return torch.ops.aten.elu_backward(gradient, 1, 1, 1, True, result)
