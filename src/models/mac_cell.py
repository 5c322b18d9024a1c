"""One reasoning step of MAC: control, read, write. The cell holds no loop."""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from dact.models.encoders import EncodedQuestion, Knowledge
from dact.models.layers import Gate, dropout_mask
from dact.models.mac_units import (
    ControlUnit,
    Images,
    MACInputs,
    MACState,
    Questions,
    ReadUnit,
    WriteUnit,
)
from dact.models.rows import take_rows


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

    def read_question(
        self, question: EncodedQuestion, for_answer: Tensor, image_index: Tensor
    ) -> Questions:
        """What every step needs of B questions; `for_answer` (B, D) is W_q q."""
        plan = self.control.plan(question.vector)
        return Questions(
            question.words, question.mask, question.vector, plan, for_answer, image_index
        )

    def view_images(self, knowledge: Knowledge) -> Images:
        """What every step needs of I images, whatever is asked about them."""
        return self.read.view(knowledge.cells, knowledge.mask)

    def prepare(self, questions: Questions, images: Images) -> MACInputs:
        """Bring B questions and their images together; draws the masks of variational dropout."""
        images, read_mask = self.read.prepare(take_rows(images, questions.image_index))
        mask = None
        if self.variational and self.training and self.memory_dropout.p > 0:
            mask = dropout_mask(questions.vector, self.memory_dropout.p)
        return MACInputs(questions, images, mask, read_mask)

    def initial_state(self, inputs: MACInputs) -> MACState:
        """c_0 and m_0 for every example."""
        control = inputs.questions.vector
        memory = self.initial_memory.expand_as(control)
        if self.initial_control is not None:
            control = self.initial_control.expand_as(control)
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
            plan: (B, D) of this step, from `Questions.plan`.
            inputs: what all steps share.

        Returns:
            The new state, the (B, G) gate input and where the step looked.
        """
        control, word_attention = self.control(state.control, plan, inputs.questions)
        if inputs.memory_dropout is None:
            seen_memory = self.memory_dropout(state.memory)
        else:
            seen_memory = state.memory * inputs.memory_dropout
        retrieved, knowledge_attention = self.read(seen_memory, control, inputs)
        memory = self.write(retrieved, control, state)
        gate_input = self.gate_input(control, memory, inputs.questions.vector)
        if self.memory_gate is not None:
            keep = self.memory_gate(gate_input).unsqueeze(-1).to(memory.dtype)
            memory = keep * state.memory + (1 - keep) * memory
        controls, memories = state.controls, state.memories
        if controls is not None and memories is not None:
            controls = torch.cat([controls, control.unsqueeze(1)], dim=1)
            memories = torch.cat([memories, memory.unsqueeze(1)], dim=1)
        new_state = MACState(control, memory, controls, memories)
        return new_state, gate_input, StepTrace(word_attention, knowledge_attention)
