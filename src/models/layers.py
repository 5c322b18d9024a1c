"""Building blocks that know nothing of questions or images."""

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn


def xavier_(module: nn.Module) -> nn.Module:
    """Initialise a linear or convolutional layer in place: xavier-uniform weight, zero bias."""
    nn.init.xavier_uniform_(module.weight)
    if module.bias is not None:
        nn.init.zeros_(module.bias)
    return module


def xavier_linear(in_features: int, out_features: int) -> nn.Linear:
    """A linear layer with xavier-uniform weight and zero bias."""
    return xavier_(nn.Linear(in_features, out_features))


def dropout_mask(like: Tensor, rate: float) -> Tensor:
    """A dropout mask to be multiplied with: 0 at `rate`, else 1 / (1 - rate); shaped as `like`."""
    return nn.functional.dropout(torch.ones_like(like), rate)


def keep_mask(like: Tensor, rate: float) -> Tensor:
    """A dropout mask without its scale: 0 at `rate`, else 1; uint8, shaped as `like`.

    On a CPU each number takes 16 random bits instead of a floating-point number, which is several
    times faster; a rate is then met to 1/65536.
    """
    if like.device.type != "cpu" or torch.compiler.is_compiling():
        return torch.empty_like(like, dtype=torch.uint8).bernoulli_(1 - rate)
    quarters = torch.empty(-(-like.numel() // 4), dtype=torch.int64).random_(-(2**63), None)
    bits = quarters.view(torch.int16)[: like.numel()].view(like.shape)
    return (bits >= round(rate * 2**16) - 2**15).view(torch.uint8)


class Dropout(nn.Dropout):
    """Dropout whose random numbers cost little on a CPU, for the large tensors of a network."""

    def forward(self, inputs: Tensor) -> Tensor:
        """Like `nn.Dropout`; a rate is met to 1/65536."""
        if not self.training or self.p == 0:
            return inputs
        return (inputs * keep_mask(inputs, self.p)).mul_(1 / (1 - self.p))


class Gate(nn.Module):
    """The scalar unit that serves as memory gate, and as halting unit of ACT, DACT and PonderNet.

    g = sigmoid(MLP(x) + bias), ELU between the layers, dropout before each of them.

    Args:
        in_features: size of the input.
        hidden_dims: sizes of the hidden layers, none by default.
        bias: constant added to the logit, 1 for memory gates and 0 for halting.
        dropout: rate before each linear layer.
    """

    def __init__(
        self,
        in_features: int,
        hidden_dims: Sequence[int] = (),
        bias: float = 0.0,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        sizes = [in_features, *hidden_dims, 1]
        self.linears = nn.ModuleList(
            xavier_linear(before, after) for before, after in pairwise(sizes)
        )
        self.dropout = nn.Dropout(dropout)
        self.bias = bias

    def forward(self, inputs: Tensor) -> Tensor:
        """(B, in_features) -> (B,) in 0..1, at least float32 also under autocast."""
        hidden = inputs
        for index, linear in enumerate(self.linears):
            hidden = linear(self.dropout(hidden if index == 0 else nn.functional.elu(hidden)))
        return torch.sigmoid(at_least_float32(hidden.squeeze(-1)) + self.bias)


def at_least_float32(tensor: Tensor) -> Tensor:
    """Accumulation of answers, halting and loss is never done below float32."""
    return tensor.to(torch.promote_types(tensor.dtype, torch.float32))
