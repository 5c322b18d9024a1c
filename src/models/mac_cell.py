"""One reasoning step of MAC: control, read, write. The cell holds no loop."""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from dact.models.encoders import EncodedQuestion, Knowledge
from dact.models.layers import Gate, dropout_mask
from dact.models.mac_units import ControlUnit, MACInputs, MACState, ReadUnit, WriteUnit


class StepTrace(NamedTuple):
    """Where one step looked; rows sum to 1."""

    word_attention: Tensor
    """(B, S) in 0..1."""
    knowledge_attention: Tensor
    """(B, K) in 0..1."""


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
        variational_read: one mask in the read unit for all steps instead of a fresh one each.
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
        variational_read: bool = False,
    ) -> None:
        super().__init__()
        self.control = ControlUnit(dim, max_steps)
        self.read = ReadUnit(dim, read_dropout, variational_read)
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
        self,
        question: EncodedQuestion,
        knowledge: Knowledge,
        image_index: Tensor,
        answer_question: Tensor,
    ) -> MACInputs:
        """Compute what every step shares, for each image rather than each question where it can be.

        Args:
            question: B of them.
            knowledge: of I images.
            image_index: (B,) int64 in 0..I-1, the image of each question.
            answer_question: (B, D) W_q q, for the answer head.
        """
        cells, projected, base, read_mask = self.read.prepare(knowledge.cells, image_index)
        mask = None
        if self.variational and self.training and self.memory_dropout.p > 0:
            mask = dropout_mask(question.vector, self.memory_dropout.p)
        return MACInputs(
            words=question.words,
            word_mask=question.mask,
            question=question.vector,
            plan=self.control.plan(question.vector),
            answer_question=answer_question,
            cells=cells,
            cell_mask=knowledge.mask.index_select(0, image_index),
            memory_dropout=mask,
            read_dropout=read_mask,
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
        self, state: MACState, plan: Tensor, inputs: MACInputs
    ) -> tuple[MACState, Tensor, StepTrace]:
        """Take a step.

        Args:
            state: before it.
            plan: (B, D) of this step, from `MACInputs.plan`.
            inputs: what all steps share.

        Returns:
            The new state, the (B, G) gate input and where the step looked.
        """
        control, word_attention = self.control(state.control, plan, inputs)
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
