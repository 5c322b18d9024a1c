"""The three units of a MAC step: control, read and write (Hudson & Manning 2018, section 3.2).

Names as in the paper: control c_n, memory m_n, retrieved r_n. Whatever does not change from step to
step is computed once: `ControlUnit.plan`, `ReadUnit.view` and `ReadUnit.prepare`.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from dact.models.attention import Attention, attend
from dact.models.functional import masked_softmax
from dact.models.layers import Dropout, keep_mask, xavier_linear
from dact.models.read_scores import read_scores


class Questions(NamedTuple):
    """What a step reads of B questions."""

    words: Tensor
    """(B, S, D)."""
    word_mask: Tensor
    """(B, S) bool."""
    vector: Tensor
    """(B, D) q, after dropout."""
    plan: Tensor
    """(B, N, D) what the question adds to the control query of each step."""
    for_answer: Tensor
    """(B, D) W_q q, for the answer head."""
    image_index: Tensor
    """(B,) int64 in 0..I-1, the image of each."""


class Images(NamedTuple):
    """What a step reads of images: I different ones, or one for each of B questions."""

    cells: Tensor
    """(I, K, D) knowledge, after variational read dropout."""
    mask: Tensor
    """(I, K) bool."""
    projected: Tensor | None
    """(I, K, D) Kp = W_k k, or None where dropout makes it differ from step to step."""
    base: Tensor | None
    """(I, K, D) W_1b Kp + b_1, what the memory does not change of the first layer, or None."""


class MACInputs(NamedTuple):
    """What a step reads but never changes; every tensor has the examples first."""

    questions: Questions
    images: Images
    """One for each question."""
    memory_dropout: Tensor | None
    """(B, D) variational mask on the memory, one for all steps; None for a fresh one each."""
    read_dropout: Tensor | None
    """(B, K, D) uint8, variational mask before the read unit's score; None for a fresh one each."""


class MACState(NamedTuple):
    """What a step changes; every tensor has the examples first."""

    control: Tensor
    """(B, D) c_n."""
    memory: Tensor
    """(B, D) m_n."""
    controls: Tensor | None
    """(B, n + 1, D) c_0..c_n, kept for self-attention only."""
    memories: Tensor | None
    """(B, n + 1, D) m_0..m_n, kept for self-attention only."""


class ControlUnit(nn.Module):
    """Which part of the question this step is about.

    p = W_n q' ; c' = W_c [c_{n-1} ; p] ; c_n = Σ_s softmax_s(w·(c' ⊙ word_s) + b) word_s, with one
    W_n per step. W_c is applied in halves, so that what the question contributes to all steps is
    computed at once, in `plan`.
    """

    def __init__(self, dim: int, max_steps: int) -> None:
        super().__init__()
        self.question = xavier_linear(dim, dim)
        self.positions = nn.ModuleList(xavier_linear(dim, dim) for _ in range(max_steps))
        self.combine = xavier_linear(2 * dim, dim)
        self.attention = Attention(dim)

    def plan(self, question: Tensor) -> Tensor:
        """(B, D) q -> (B, N, D) what the question adds to c' in each step, with the bias."""
        weights = torch.cat([position.weight for position in self.positions])
        biases = torch.cat([position.bias for position in self.positions])
        projected = linear(torch.tanh(self.question(question)), weights, biases)
        projected = projected.unflatten(-1, (len(self.positions), -1))
        _, of_position = self.combine.weight.chunk(2, dim=1)
        return linear(projected, of_position, self.combine.bias)

    def forward(self, control: Tensor, plan: Tensor, questions: Questions) -> tuple[Tensor, Tensor]:
        """(B, D) c_{n-1} and this step's plan -> (B, D) c_n and the (B, S) word attention."""
        of_control, _ = self.combine.weight.chunk(2, dim=1)
        query = linear(control, of_control) + plan
        weights = self.attention(query, questions.words, questions.word_mask)
        return attend(weights, questions.words), weights


class ReadUnit(nn.Module):
    """What the knowledge says about it.

    M = W_m m̃ ; Kp = W_k k̃ ; I = W_2 ELU(W_1 [M ⊙ Kp ; Kp]) ;
    r = Σ_k softmax_k(w·dropout(ELU(I ⊙ c_n)) + b) k̃_k, with k̃ = dropout(knowledge).

    W_1 is applied in halves, W_1a (M ⊙ Kp) + W_1b Kp, which saves the B×K×2D concatenation and,
    where all steps share their dropout, half of the work: Kp and W_1b Kp are then the same in each.

    Args:
        dim: D.
        dropout: rate on the knowledge and before the score.
        variational: one mask per example for all steps instead of a fresh one each.
    """

    def __init__(self, dim: int, dropout: float = 0.15, variational: bool = False) -> None:
        super().__init__()
        self.variational = variational
        self.memory = xavier_linear(dim, dim)
        self.knowledge = xavier_linear(dim, dim)
        self.combine = xavier_linear(2 * dim, dim)
        self.interact = xavier_linear(dim, dim)
        self.score = xavier_linear(dim, 1)
        self.dropout = Dropout(dropout)

    def project(self, cells: Tensor) -> tuple[Tensor, Tensor]:
        """(…, K, D) knowledge -> Kp and W_1b Kp + b_1, of the same shape."""
        projected = self.knowledge(cells)
        _, of_knowledge = self.combine.weight.chunk(2, dim=1)
        return projected, linear(projected, of_knowledge, self.combine.bias)

    @property
    def drops(self) -> bool:
        """Whether the knowledge that a question sees differs from that of its image."""
        return self.training and self.dropout.p > 0

    def view(self, cells: Tensor, mask: Tensor) -> Images:
        """What is the same for all questions about an image, from (I, K, D) and (I, K)."""
        projected, base = (None, None) if self.drops else self.project(cells)
        return Images(cells, mask, projected, base)

    def prepare(self, images: Images) -> tuple[Images, Tensor | None]:
        """What all steps share, with variational dropout and its mask before the score."""
        if not (self.drops and self.variational):
            return images, None
        cells = self.dropout(images.cells)
        return Images(cells, images.mask, *self.project(cells)), keep_mask(cells, self.dropout.p)

    def forward(self, memory: Tensor, control: Tensor, inputs: MACInputs) -> tuple[Tensor, Tensor]:
        """(B, D) m̃_{n-1} and c_n -> (B, D) r_n and the (B, K) knowledge attention."""
        cells, mask, projected, base = inputs.images
        if projected is None or base is None:
            cells = self.dropout(cells)
            projected, base = self.project(cells)
        of_product, _ = self.combine.weight.chunk(2, dim=1)
        keep, score = inputs.read_dropout, self.score.weight.squeeze(0)
        if self.drops:
            keep = keep_mask(projected, self.dropout.p) if keep is None else keep
            score = score / (1 - self.dropout.p)
        logits = read_scores(
            self.memory(memory),
            control,
            projected,
            base,
            keep,
            of_product,
            self.interact.weight,
            self.interact.bias,
            score,
        )
        weights = masked_softmax(logits + self.score.bias, mask)
        return attend(weights, cells), weights


class WriteUnit(nn.Module):
    """What to remember: m_n = W [r ; m_{n-1}].

    With self-attention m_n = W [r ; m_{n-1} ; Σ_j softmax_j(w·((W_c c_n) ⊙ c_j) + b) m_j] over all
    earlier steps j = 0..n-1.
    """

    def __init__(self, dim: int, self_attention: bool = False) -> None:
        super().__init__()
        self.control = xavier_linear(dim, dim) if self_attention else None
        self.attention = Attention(dim) if self_attention else None
        self.combine = xavier_linear((3 if self_attention else 2) * dim, dim)

    def forward(self, retrieved: Tensor, control: Tensor, state: MACState) -> Tensor:
        """(B, D) r_n, c_n and the state of step n-1 -> (B, D) m_n before any gate."""
        parts = [retrieved, state.memory]
        if self.attention is not None:
            weights = self.attention(self.control(control), state.controls)
            parts.append(attend(weights, state.memories))
        return self.combine(torch.cat(parts, dim=-1))
