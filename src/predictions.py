"""What is written about the questions of a split."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dact.lit_module import Prediction
from dact.ordered_lines import OrderedLines

#: Positions in the split → records with question_id, image, question and answer.
Records = Callable[[Sequence[int]], Sequence[Any]]
#: `OrderedLines.frame` of a file that is one array.
JSON_ARRAY = ("[\n", ",\n", "\n]\n")


class PredictionWriter(OrderedLines):
    """One JSON line per question, with all there is to say.

    Args:
        path: the file.
        records: of the questions.
        answer_names: answers by id.
    """

    option = "predictions"

    def __init__(self, path: Path, records: Records, answer_names: Sequence[str]) -> None:
        super().__init__(path)
        self.records = records
        self.answer_names = answer_names

    def lines(self, outputs: Prediction) -> list[str]:
        """See `OrderedLines`."""
        positions, *columns = (part.tolist() for part in outputs[:4])
        return [
            json.dumps(self._line(record, *values), ensure_ascii=False)
            for record, *values in zip(self.records(positions), *columns, strict=True)
        ]

    def _line(self, record: Any, answer: int, confidence: float, steps: int) -> dict[str, Any]:
        line = {
            "question_id": record.question_id,
            "image": record.image,
            "question": record.question,
            "prediction": self.answer_names[answer],
            "confidence": round(confidence, 6),
            "steps": steps,
        }
        return line if record.answer is None else {**line, "answer": record.answer}


class SubmissionWriter(PredictionWriter):
    """The JSON array that GQA's evaluation takes, beside the predictions."""

    frame = JSON_ARRAY

    def _line(self, record: Any, answer: int, confidence: float, steps: int) -> dict[str, Any]:
        return {"questionId": record.question_id, "prediction": self.answer_names[answer]}


class AttentionWriter(OrderedLines):
    """The JSON array of GQA's attentions, for grounding: that of the step which answered.

    Args:
        path: the file.
        records: of the questions.
        layout: positions (B,) and attention (B, K) → what the file has of each question.
    """

    option = "attentions"
    frame = JSON_ARRAY

    def __init__(
        self,
        path: Path,
        records: Records,
        layout: Callable[[NDArray[np.int64], NDArray[np.float32]], Sequence[Any]],
    ) -> None:
        super().__init__(path)
        self.records = records
        self.layout = layout

    def lines(self, outputs: Prediction) -> list[str]:
        """See `OrderedLines`."""
        positions = outputs.positions.cpu().numpy()
        found = self.layout(positions, outputs.attention.float().cpu().numpy())
        return [
            json.dumps({"questionId": record.question_id, "attention": attention})
            for record, attention in zip(self.records(positions.tolist()), found, strict=True)
        ]
