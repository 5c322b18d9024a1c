"""The whole network: encode, reason under a halting policy, answer."""

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from dact.batch import VQABatch
from dact.models.answer_head import AnswerHead
from dact.models.encoders import GridStem, ObjectStem, QuestionEncoder
from dact.models.halting import HaltingPolicy, LoopTrace, Step, StepLoss, run_steps
from dact.models.layers import Gate
from dact.models.mac_cell import MACCell
from dact.models.mac_units import Images, MACInputs, MACState, Questions


class Trace(NamedTuple):
    """Every step of a batch; T ≤ N is the largest number of steps in it."""

    word_attention: Tensor
    """(B, T, S) in 0..1, sums to 1 over the words."""
    knowledge_attention: Tensor
    """(B, T, K) in 0..1, sums to 1 over the cells, of which the last may be the background."""
    still_open: Tensor
    """(B, T) in 0..1, weight that later steps could still take: DACT's p_n, ACT's 1 - H_n,
    PonderNet's 1 - (P_1 + ... + P_n)."""
    log_probs: Tensor
    """(B, T, A) the running answer, natural log; of a PonderNet in training the partial sums of an
    expectation, see `HaltingPolicy.progress`."""


class VQAOutput(NamedTuple):
    """What the network says about a batch of B questions."""

    log_probs: Tensor
    """(B, A) natural-log probabilities of the answers, see `Halted`."""
    ponder_cost: Tensor
    """(B,) ρ ≥ 0, before its weight τ."""
    steps: Tensor
    """(B,) int64 in 1..N, the step at which each question was answered."""
    trace: Trace | None = None
    """On request only."""


class MACNetwork(nn.Module):
    """MAC under a halting policy: plain MAC, MAC+gate, ACT, DACT and PonderNet are one network.

    Args:
        encoder: questions → words and question vector.
        stem: images → knowledge cells.
        cell: one reasoning step.
        head: memory → answer logits.
        policy: when to halt and how to combine the steps' answers.
        feature_scale: factor on the image features.
        halting_exit: what halting saves, see `run_steps`: example, batch or never.
        step_loss: share in 0..1 of the training loss on single steps' answers, see `StepLoss`.
        eval_steps: the most steps in evaluation, also more than in training: those beyond the N of
            the cell use its last W_N again; None for N.
    """

    def __init__(
        self,
        encoder: QuestionEncoder,
        stem: GridStem | ObjectStem,
        cell: MACCell,
        head: AnswerHead,
        policy: HaltingPolicy,
        feature_scale: float = 1.0,
        halting_exit: str = "example",
        step_loss: float = 0.0,
        eval_steps: int | None = None,
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.stem = stem
        self.cell = cell
        self.head = head
        self.policy = policy
        self.feature_scale = feature_scale
        self.halting_exit = halting_exit
        self.step_loss = step_loss
        self.eval_steps = eval_steps

    @property
    def max_steps(self) -> int:
        """The most steps that a question takes in evaluation."""
        return self.eval_steps or self.policy.max_steps

    @property
    def _policy(self) -> HaltingPolicy:
        """What decides on the steps in the present mode."""
        if not self.training:
            same = self.max_steps == self.policy.max_steps
            return self.policy if same else self.policy.with_steps(self.max_steps)
        return StepLoss(self.policy, self.step_loss) if self.step_loss else self.policy

    @property
    def gate(self) -> Gate | None:
        """The memory gate or the halting unit, whichever this network has."""
        return self.cell.memory_gate or getattr(self.policy, "halting", None)

    @property
    def background(self) -> bool:
        """Whether the last knowledge cell is the background, which is no part of the data."""
        return getattr(self.stem, "background", False)

    def compile_parts(self, **options: Any) -> None:
        """Compile stem, step and answer in place: parameters keep their names.

        The loop stays as it is, since what it does depends on who has halted, and so does the
        encoder, whose LSTMs are one kernel each already.

        Args:
            **options: of `torch.compile`.
        """
        for part in (self.stem, self.cell, self.head):
            part.compile(**options)

    def encode(self, batch: VQABatch) -> tuple[Questions, Images]:
        """Everything that the steps share; the stem runs once for each distinct image.

        Questions of a batch that share an image share its stem's dropout mask.
        """
        question = self.encoder(batch.tokens, batch.lengths)
        features = batch.features.to(self.cell.initial_memory.dtype)  # stored as float16, perhaps
        if self.feature_scale != 1:
            features = features * self.feature_scale
        images = self.cell.view_images(self.stem(features, batch.num_cells))
        for_answer = self.head.question(question.vector)
        return self.cell.read_question(question, for_answer, batch.image_index), images

    def initial_state(self, inputs: MACInputs) -> MACState:
        """State before the first step."""
        return self.cell.initial_state(inputs)

    def step(self, state: MACState, inputs: MACInputs, n: int) -> tuple[MACState, Step]:
        """Reasoning step n, counted from 1, and its answer."""
        plan = inputs.questions.plan
        position = min(n, plan.shape[1]) - 1
        state, gate_input, trace = self.cell(state, plan[:, position], inputs)
        logits = self.head(state.memory, inputs.questions.for_answer)
        return state, Step(logits, gate_input, trace)

    def forward(self, batch: VQABatch, *, trace: bool = False) -> VQAOutput:
        """Answer a batch; `trace` records attention and the running answer of every step."""
        inputs = self.cell.prepare(*self.encode(batch))
        halted, record = run_steps(
            self,
            self._policy,
            inputs,
            trace=trace,
            early_exit=self.halting_exit,
            examples_first=True,
        )
        return VQAOutput(*halted, trace=None if record is None else _network_trace(record))

    def answer_in_full(self, batch: VQABatch) -> VQAOutput:
        """What a DACT says after all steps, whatever its halting bound."""
        inputs = self.cell.prepare(*self.encode(batch))
        halted, _ = run_steps(self, self._policy.without_halting(), inputs, early_exit="never")
        return VQAOutput(*halted)


def _network_trace(record: LoopTrace) -> Trace:
    return Trace(
        torch.stack([step.word_attention for step in record.steps], 1),
        torch.stack([step.knowledge_attention for step in record.steps], 1),
        record.still_open,
        record.log_probs,
    )
