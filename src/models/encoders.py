"""Questions and images into vectors of the network's width."""

from contextlib import AbstractContextManager, nullcontext
from typing import NamedTuple

import torch
from torch import Tensor, nn

from dact.batch import PADDING
from dact.models.functional import length_mask
from dact.models.layers import Dropout, xavier_


class EncodedQuestion(NamedTuple):
    """A question as its words in context and as one vector."""

    words: Tensor
    """(B, S, D), zero past the end of a question."""
    mask: Tensor
    """(B, S) bool, True on words."""
    vector: Tensor
    """(B, D) [last forward state; first backward state], after dropout."""


def _precision_of_lstm(device: torch.device) -> AbstractContextManager:
    """Float32 for an LSTM under autocast on a CPU that has no bfloat16 LSTM, as PyTorch would fail.

    On other devices and CPUs: the precision of the caller.
    """
    lacks = device.type == "cpu" and not torch.ops.mkldnn._is_mkldnn_bf16_supported()
    return torch.autocast("cpu", enabled=False) if lacks else nullcontext()


class QuestionEncoder(nn.Module):
    """Word embedding and a one-layer bidirectional LSTM over the true length (MAC, section 3.1).

    The two directions are two LSTMs; the backward one reads each question reversed within its own
    length. This equals a packed bidirectional LSTM, but runs in PyTorch's fused kernels on a CPU
    and needs no lengths on the host on a GPU.

    Args:
        num_words: rows of the embedding, padding included.
        dim: D, both directions together; even.
        embedding_dim: size of a word vector.
        dropout: rate on the question vector.
        embedding_init: "xavier" (uniform) or "normal", PyTorch's own N(0, 1).
        embedding_trainable: whether the embedding asks for gradients.
    """

    def __init__(
        self,
        num_words: int,
        dim: int,
        embedding_dim: int = 300,
        dropout: float = 0.08,
        *,
        embedding_init: str = "xavier",
        embedding_trainable: bool = True,
    ) -> None:
        super().__init__()
        if embedding_init not in ("xavier", "normal"):
            raise ValueError(f"embedding_init is xavier or normal, not {embedding_init!r}")
        self.embedding = nn.Embedding(num_words, embedding_dim)
        if embedding_init == "xavier":
            nn.init.xavier_uniform_(self.embedding.weight)
        self.embedding.weight.requires_grad_(embedding_trainable)
        self.forward_lstm = nn.LSTM(embedding_dim, dim // 2, batch_first=True)
        self.backward_lstm = nn.LSTM(embedding_dim, dim // 2, batch_first=True)
        self.dropout = Dropout(dropout)

    def forward(self, tokens: Tensor, lengths: Tensor) -> EncodedQuestion:
        """Encode (B, S) int64 word ids of (B,) int64 lengths in 1..S; padding may hold anything."""
        mask = length_mask(lengths, tokens.shape[1])
        embedded = self.embedding(tokens.masked_fill(~mask, PADDING))
        positions = torch.arange(tokens.shape[1], device=tokens.device)
        mirrored = (lengths.unsqueeze(-1) - 1 - positions).clamp(min=0)
        with _precision_of_lstm(tokens.device):
            ahead, _ = self.forward_lstm(embedded)
            back, _ = self.backward_lstm(_take(embedded, mirrored))
        last = (lengths - 1).unsqueeze(-1)
        vector = torch.cat([_take(ahead, last), _take(back, last)], dim=-1).squeeze(1)
        words = torch.cat([ahead, _take(back, mirrored)], dim=-1)
        words = words.masked_fill(~mask.unsqueeze(-1), 0)
        return EncodedQuestion(words, mask, self.dropout(vector))


def _take(sequence: Tensor, positions: Tensor) -> Tensor:
    """(B, S, E) at (B, n) positions -> (B, n, E)."""
    return sequence.gather(1, positions.unsqueeze(-1).expand(-1, -1, sequence.shape[-1]))


class Knowledge(NamedTuple):
    """An image as K cells of the network's width."""

    cells: Tensor
    """(I, K, D)."""
    mask: Tensor
    """(I, K) bool, True on real cells."""


class GridStem(nn.Module):
    """Two 3×3 convolutions over a feature map: dropout → conv → ELU, twice (MAC, section 3.1).

    Args:
        feature_dim: C, channels of the feature map.
        dim: D.
        dropout: rate before each convolution.
        kernel_size: odd; the map is padded so that its size stays.
    """

    def __init__(self, feature_dim: int, dim: int, dropout: float = 0.18, kernel_size: int = 3):
        super().__init__()
        padding = kernel_size // 2
        self.conv1 = xavier_(nn.Conv2d(feature_dim, dim, kernel_size, padding=padding))
        self.conv2 = xavier_(nn.Conv2d(dim, dim, kernel_size, padding=padding))
        self.dropout = Dropout(dropout)

    def forward(self, features: Tensor, num_cells: Tensor) -> Knowledge:
        """(I, C, H, W) feature maps -> K = H·W cells; `num_cells` (I,) is H·W for each."""
        hidden = nn.functional.elu(self.conv1(self.dropout(features)))
        hidden = nn.functional.elu(self.conv2(self.dropout(hidden)))
        cells = hidden.flatten(2).transpose(1, 2).contiguous()
        return Knowledge(cells, length_mask(num_cells, cells.shape[1]))


class ObjectStem(nn.Module):
    """The grid stem for a set of objects: its 1×1 convolutions are linear layers.

    Args:
        feature_dim: C, length of an object's feature vector.
        dim: D.
        dropout: rate before each layer.
        background: one cell more, the last of every image: an object that is zero in all features.
            The layers' biases decide what becomes of it, the same in all images.
    """

    def __init__(
        self, feature_dim: int, dim: int, dropout: float = 0.18, *, background: bool = False
    ) -> None:
        super().__init__()
        self.background = background
        self.linear1 = xavier_(nn.Linear(feature_dim, dim))
        self.linear2 = xavier_(nn.Linear(dim, dim))
        self.dropout = Dropout(dropout)

    def forward(self, features: Tensor, num_cells: Tensor) -> Knowledge:
        """(I, K, C) objects, of which the first `num_cells` (I,) are real; the rest is ignored.

        With a background there are K + 1 cells, and the last of them is real in every image.
        """
        mask = length_mask(num_cells, features.shape[1])
        hidden = features.masked_fill(~mask.unsqueeze(-1), 0)
        if self.background:
            hidden = nn.functional.pad(hidden, (0, 0, 0, 1))
            mask = nn.functional.pad(mask, (0, 1), value=True)
        hidden = nn.functional.elu(self.linear1(self.dropout(hidden)))
        return Knowledge(nn.functional.elu(self.linear2(self.dropout(hidden))), mask)
