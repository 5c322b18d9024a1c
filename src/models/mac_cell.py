"""One reasoning step of MAC: control, read, write (Hudson & Manning 2018, section 3.2).

Names as in the paper: control c_n, memory m_n, retrieved r_n. The cell holds no loop. Whatever does
not change from step to step is computed once, in `MACCell.prepare`.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import elu, linear

from dact.models.attention import Attention, attend
from dact.models.encoders import EncodedQuestion, Knowledge
from dact.models.functional import masked_softmax
from dact.models.layers import Gate, dropout_mask, xavier_linear


class MACInputs(NamedTuple):
    """What a step reads but never changes; every tensor has the examples first."""

    words: Tensor
    """(B, S, D)."""
    word_mask: Tensor
    """(B, S) bool."""
    question: Tensor
    """(B, D) q, after dropout."""
    plan: Tensor
    """(B, N, D) what the question adds to the control query of each step."""
    answer_question: Tensor
    """(B, D) W_q q, for the answer head."""
    cells: Tensor
    """(B, K, D) knowledge."""
    cell_mask: Tensor
    """(B, K) bool."""
    memory_dropout: Tensor | None
    """(B, D) variational mask on the memory, one for all steps; None for a fresh one each."""
    projected_cells: Tensor | None
    """(B, K, D) W_k k, or None where dropout makes it differ from step to step."""
    projected_base: Tensor | None
    """(B, K, D) the half of the read unit's first layer that does not see the memory, or None."""


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


class StepTrace(NamedTuple):
    """Where one step looked; rows sum to 1."""

    word_attention: Tensor
    """(B, S) in 0..1."""
    knowledge_attention: Tensor
    """(B, K) in 0..1."""


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

    def forward(self, control: Tensor, inputs: MACInputs, n: int) -> tuple[Tensor, Tensor]:
        """(B, D) c_{n-1} -> (B, D) c_n and the (B, S) word attention; n counts from 1."""
        of_control, _ = self.combine.weight.chunk(2, dim=1)
        query = linear(control, of_control) + inputs.plan[:, n - 1]
        weights = self.attention(query, inputs.words, inputs.word_mask)
        return attend(weights, inputs.words), weights


class ReadUnit(nn.Module):
    """What the knowledge says about it.

    M = W_m m̃ ; Kp = W_k k̃ ; I = W_2 ELU(W_1 [M ⊙ Kp ; Kp]) ;
    r = Σ_k softmax_k(w·dropout(ELU(I ⊙ c_n)) + b) k̃_k, with k̃ = dropout(knowledge).

    W_1 is applied in halves, W_1a (M ⊙ Kp) + W_1b Kp, which saves the B×K×2D concatenation and,
    without dropout, half of the work: Kp and W_1b Kp are then the same in every step.
    """

    def __init__(self, dim: int, dropout: float = 0.15) -> None:
        super().__init__()
        self.memory = xavier_linear(dim, dim)
        self.knowledge = xavier_linear(dim, dim)
        self.combine = xavier_linear(2 * dim, dim)
        self.interact = xavier_linear(dim, dim)
        self.score = xavier_linear(dim, 1)
        self.dropout = nn.Dropout(dropout)

    @property
    def repeats_projection(self) -> bool:
        """Whether dropout makes the projected knowledge differ from step to step."""
        return self.training and self.dropout.p > 0

    def project(self, cells: Tensor) -> tuple[Tensor, Tensor]:
        """(B, K, D) knowledge -> Kp and W_1b Kp + b_1, both (B, K, D)."""
        projected = self.knowledge(cells)
        _, of_knowledge = self.combine.weight.chunk(2, dim=1)
        return projected, linear(projected, of_knowledge, self.combine.bias)

    def forward(self, memory: Tensor, control: Tensor, inputs: MACInputs) -> tuple[Tensor, Tensor]:
        """(B, D) m̃_{n-1} and c_n -> (B, D) r_n and the (B, K) knowledge attention."""
        cells = self.dropout(inputs.cells)
        projected, base = inputs.projected_cells, inputs.projected_base
        if projected is None or base is None:
            projected, base = self.project(cells)
        of_product, _ = self.combine.weight.chunk(2, dim=1)
        product = self.memory(memory).unsqueeze(1) * projected
        hidden = elu(linear(product, of_product) + base)
        interaction = elu(self.interact(hidden) * control.unsqueeze(1))
        logits = self.score(self.dropout(interaction)).squeeze(-1)
        weights = masked_softmax(logits, inputs.cell_mask)
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


class MACCell(nn.Module):
    """Control, read and write in turn, with an optional memory gate.

    The gate weighs the OLD memory: m_n ← g m_{n-1} + (1 - g) m_n. The TensorFlow MAC weighs the new
    one; this follows the DACT code.

    Args:
        dim: D.
        max_steps: N, one position-aware W_n for each.
        self_attention: whether the write unit attends to earlier steps.
        control_init: c_0 is the question vector ("question") or a learned vector ("learned").
        memory_gate: the gate, or None; its input is chosen by `gate_inputs`.
        gate_inputs: any of control, memory (the new one, before gating), question.
        memory_dropout: rate on the memory that the read unit sees.
        variational: one memory dropout mask for all steps instead of a fresh one each.
        read_dropout: rate in the read unit.
    """

    def __init__(
        self,
        dim: int,
        max_steps: int,
        *,
        self_attention: bool = False,
        control_init: str = "question",
        memory_gate: Gate | None = None,
        gate_inputs: tuple[str, ...] = ("control",),
        memory_dropout: float = 0.15,
        variational: bool = True,
        read_dropout: float = 0.15,
    ) -> None:
        super().__init__()
        self.control = ControlUnit(dim, max_steps)
        self.read = ReadUnit(dim, read_dropout)
        self.write = WriteUnit(dim, self_attention)
        self.initial_memory = nn.Parameter(torch.zeros(dim))
        learned = control_init == "learned"
        self.initial_control = nn.Parameter(torch.zeros(dim)) if learned else None
        self.memory_gate = memory_gate
        self.gate_inputs = gate_inputs
        self.memory_dropout = nn.Dropout(memory_dropout)
        self.variational = variational
        self.self_attention = self_attention

    def prepare(
        self, question: EncodedQuestion, knowledge: Knowledge, answer_question: Tensor
    ) -> MACInputs:
        """Compute what every step shares; `knowledge` has one row per example here."""
        projected = base = mask = None
        if not self.read.repeats_projection:
            projected, base = self.read.project(knowledge.cells)
        if self.variational and self.training and self.memory_dropout.p > 0:
            mask = dropout_mask(question.vector, self.memory_dropout.p)
        return MACInputs(
            words=question.words,
            word_mask=question.mask,
            question=question.vector,
            plan=self.control.plan(question.vector),
            answer_question=answer_question,
            cells=knowledge.cells,
            cell_mask=knowledge.mask,
            memory_dropout=mask,
            projected_cells=projected,
            projected_base=base,
        )

    def initial_state(self, inputs: MACInputs) -> MACState:
        """c_0 and m_0 for every example."""
        memory = self.initial_memory.expand_as(inputs.question)
        control = inputs.question
        if self.initial_control is not None:
            control = self.initial_control.expand_as(inputs.question)
        if not self.self_attention:
            return MACState(control, memory, None, None)
        return MACState(control, memory, control.unsqueeze(1), memory.unsqueeze(1))

    def gate_input(self, control: Tensor, memory: Tensor, question: Tensor) -> Tensor:
        """Concatenate what the gate or the halting unit sees, in the released code's order."""
        parts = {"control": control, "memory": memory, "question": question}
        return torch.cat([parts[name] for name in parts if name in self.gate_inputs], dim=-1)

    def forward(
        self, state: MACState, inputs: MACInputs, n: int
    ) -> tuple[MACState, Tensor, StepTrace]:
        """Step n, from 1: the new state, the (B, G) gate input and where the step looked."""
        control, word_attention = self.control(state.control, inputs, n)
        if inputs.memory_dropout is None:
            seen_memory = self.memory_dropout(state.memory)
        else:
            seen_memory = state.memory * inputs.memory_dropout
        retrieved, knowledge_attention = self.read(seen_memory, control, inputs)
        memory = self.write(retrieved, control, state)
        gate_input = self.gate_input(control, memory, inputs.question)
        if self.memory_gate is not None:
            keep = self.memory_gate(gate_input).unsqueeze(-1).to(memory.dtype)
            memory = keep * state.memory + (1 - keep) * memory
        controls, memories = state.controls, state.memories
        if controls is not None and memories is not None:
            controls = torch.cat([controls, control.unsqueeze(1)], dim=1)
            memories = torch.cat([memories, memory.unsqueeze(1)], dim=1)
        new_state = MACState(control, memory, controls, memories)
        return new_state, gate_input, StepTrace(word_attention, knowledge_attention)
