"""How a network came to its answer, step by step, in words and shares instead of tensors."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dact.batch import NO_ANSWER, VQABatch
from dact.datamodules.vocabulary import Vocabulary
from dact.errors import UserError
from dact.models import MACNetwork
from dact.models.halting import FixedSteps
from dact.models.network import Trace

#: Running answers that are kept of each step.
BEST = 3


class ReasoningStep(NamedTuple):
    """What happened at one step."""

    words: NDArray[np.float32]
    """(S,) attention over the words, sums to 1."""
    cells: NDArray[np.float32]
    """(K,) attention over the knowledge cells of the image, and of the network's own background if
    it has one; sums to 1."""
    still_open: float
    """In 0..1, weight that later steps could still take: DACT's p_n, ACT's 1 - H_n."""
    answers: list[tuple[str, float]]
    """The likeliest running answers and their probabilities, best first."""


class Reasoning(NamedTuple):
    """How one question was answered."""

    words: list[str]
    """S words of the question, as they were typed."""
    unknown: list[str]
    """Those that training never showed."""
    answer: str
    confidence: float
    """Probability of the answer, in 0..1."""
    steps: list[ReasoningStep]
    """As many as the network took."""
    background: bool = False
    """Whether the last cell is the network's own background, which no image has."""


class Reasoner:
    """A network with its words: answers questions and says how.

    Nothing is kept between questions: it may be used from several threads.

    Args:
        network: in evaluation mode from now on.
        vocabulary: that it was trained with.
    """

    def __init__(self, network: MACNetwork, vocabulary: Vocabulary) -> None:
        self.network = network.eval()
        self.vocabulary = vocabulary

    @property
    def adaptive(self) -> bool:
        """Whether the network decides how many steps it takes."""
        return not isinstance(self.network.policy, FixedSteps)

    @property
    def max_steps(self) -> int:
        """N, the most steps that the network takes."""
        return self.network.max_steps

    def ask(self, question: str, features: Tensor, num_cells: int) -> Reasoning:
        """Answer one question about one image.

        Args:
            question: its text.
            features: (C, H, W) for grids, (K, C) for objects.
            num_cells: how many knowledge cells there are.

        Raises:
            UserError: the question has no words.
        """
        tokens = self.vocabulary.encode(self.vocabulary.words_of(question))
        if not tokens:
            raise UserError("the question is empty: type one, such as 'How many cubes are there?'")
        one = torch.zeros(1, dtype=torch.int64)
        batch = VQABatch(
            tokens=torch.tensor([tokens]),
            lengths=torch.tensor([len(tokens)]),
            features=features[None],
            num_cells=torch.tensor([num_cells]),
            image_index=one,
            answers=one + NO_ANSWER,
            question_types=one,
            program_lengths=one - 1,
            reads_needed=one - 1,
            positions=one,
        )
        return self.explain(batch, [question])[0]

    @torch.inference_mode()
    def explain(self, batch: VQABatch, questions: Sequence[str]) -> list[Reasoning]:
        """How the questions of a batch are answered.

        Args:
            batch: of B questions.
            questions: their texts.
        """
        device = next(self.network.parameters()).device
        output = self.network(VQABatch(*(part.to(device) for part in batch)), trace=True)
        trace = Trace(*(part.float().cpu() for part in output.trace))
        best = output.log_probs.max(-1)
        lengths = batch.lengths.tolist()
        cells = batch.num_cells[batch.image_index].tolist()
        return [
            Reasoning(
                words=(words := self.vocabulary.words_of(text)),
                unknown=[word for word in words if word not in self.vocabulary],
                answer=self.vocabulary.answer_names[answer],
                confidence=math.exp(log_prob),
                steps=[self._step(trace, row, n, lengths[row], cells[row]) for n in range(count)],
                background=self.network.background,
            )
            for row, (text, answer, log_prob, count) in enumerate(
                zip(
                    questions,
                    best.indices.tolist(),
                    best.values.tolist(),
                    output.steps.tolist(),
                    strict=True,
                )
            )
        ]

    def _step(self, trace: Trace, row: int, n: int, words: int, cells: int) -> ReasoningStep:
        """Step n, from 0, of one question with so many words and cells."""
        log_probs = trace.log_probs[row, n]
        best = log_probs.topk(min(BEST, len(log_probs)))
        names = self.vocabulary.answer_names
        looks = trace.knowledge_attention[row, n]
        behind = looks[-1:] if self.network.background else looks[:0]
        return ReasoningStep(
            trace.word_attention[row, n, :words].numpy(),
            torch.cat([looks[:cells], behind]).numpy(),
            float(trace.still_open[row, n]),
            [
                (names[answer], math.exp(log_prob))
                for log_prob, answer in zip(
                    best.values.tolist(), best.indices.tolist(), strict=True
                )
            ],
        )
