"""Questions and image features put together into batches."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import Dataset

from dact.batch import VQABatch

from .features import FeatureStore
from .questions import PackedQuestions


def collate(
    questions: PackedQuestions, features: FeatureStore, positions: NDArray[np.int64]
) -> VQABatch:
    """The batch of the questions at `positions` (B,) of their split, in this order.

    All arrays are gathered at once; an image asked about more than once is read once.
    """
    tokens, lengths = questions.tokens_of(positions)
    rows, image_index = np.unique(questions.image_rows[positions], return_inverse=True)
    image_features, num_cells = features.read(rows)
    return VQABatch(
        tokens=torch.from_numpy(tokens),
        lengths=torch.from_numpy(lengths),
        features=torch.from_numpy(image_features),
        num_cells=torch.from_numpy(num_cells),
        image_index=torch.from_numpy(image_index),
        answers=_gather(questions.answers, positions),
        question_types=_gather(questions.question_types, positions),
        program_lengths=_gather(questions.program_lengths, positions),
        reads_needed=_gather(questions.reads_needed, positions),
        positions=torch.from_numpy(positions.copy()),
    )


class VQADataset(Dataset[VQABatch]):
    """Questions of a split with the features of their images.

    Args:
        questions: the packed split.
        features: store that `questions.image_rows` point into.
        positions: the questions that belong to it, all by default.
    """

    def __init__(
        self,
        questions: PackedQuestions,
        features: FeatureStore,
        positions: NDArray[np.int64] | None = None,
    ) -> None:
        self.questions = questions
        self.features = features
        self.positions = positions
        """(n,) the questions that belong to it; None: all."""

    def __len__(self) -> int:
        return len(self.questions) if self.positions is None else len(self.positions)

    def __getitem__(self, index: int) -> VQABatch:
        """The batch that consists of example `index` alone."""
        return self.__getitems__([index])

    def __getitems__(self, indices: Sequence[int]) -> VQABatch:
        """The batch of the examples `indices`: PyTorch's loader calls it once per batch."""
        positions = np.asarray(indices, np.int64)
        if self.positions is not None:
            positions = self.positions[positions]
        return collate(self.questions, self.features, positions)

    def identity(self, chosen: object) -> bytes:
        """What tells these images and features, `chosen` of them, from others."""
        rows = self.questions.image_rows
        some = self.features.read(rows[rows >= 0].min(keepdims=True))[0]
        what = repr((self.features.kind, self.features.feature_dim, chosen)).encode()
        same = rows is self.questions.image_numbers
        return b"".join([what, some.tobytes(), b"" if same else rows.tobytes()])

    def of_examples(self, values: NDArray) -> NDArray:
        """Those of `values`, one for each question of the split, that belong to the examples."""
        return values if self.positions is None else values[self.positions]


def _gather(values: NDArray, positions: NDArray[np.int64]) -> torch.Tensor:
    return torch.from_numpy(values[positions].astype(np.int64))
