"""Attention by a learned score of query times key."""

import torch
from torch import Tensor, nn

from dact.models.functional import masked_softmax
from dact.models.layers import xavier_linear


class Attention(nn.Module):
    """softmax_s(w·(query ⊙ key_s) + b) with the product folded into the query."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.score = xavier_linear(dim, 1)

    def forward(self, query: Tensor, keys: Tensor, mask: Tensor | None = None) -> Tensor:
        """(B, D) query and (B, n, D) keys -> (B, n) weights, zero where `mask` is False."""
        scaled = (query * self.score.weight).unsqueeze(-1)
        logits = torch.bmm(keys, scaled).squeeze(-1) + self.score.bias
        return logits.softmax(-1) if mask is None else masked_softmax(logits, mask)


def attend(weights: Tensor, values: Tensor) -> Tensor:
    """Weighted sum of values: (B, n) and (B, n, D) -> (B, D)."""
    return torch.bmm(weights.unsqueeze(1), values).squeeze(1)
