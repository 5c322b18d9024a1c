"""The one contract between data and models.

Shape alphabet used in the whole project: B questions, I distinct images, S words, K knowledge
cells (grid cells or objects), C feature channels, D width, A answers, N maximum steps.
"""

from typing import NamedTuple

from torch import Tensor

#: Word id that fills a question up to the longest one of its batch.
PADDING = 0
#: Answer id of a question without an answer, or with one that training never showed.
NO_ANSWER = -1


class VQABatch(NamedTuple):
    """Questions about images, padded and ready for a network.

    Images are stored once however many questions of the batch ask about them.
    """

    tokens: Tensor
    """(B, S) int64, word ids; `PADDING` past the end of a question."""
    lengths: Tensor
    """(B,) int64 in 1..S, words of each question."""
    features: Tensor
    """(I, C, H, W) for grids or (I, K, C) for objects, float16 or float32 as they are stored."""
    num_cells: Tensor
    """(I,) int64 in 1..K, knowledge cells that are real; the rest is padding."""
    image_index: Tensor
    """(B,) int64 in 0..I-1, the image that each question asks about."""
    answers: Tensor
    """(B,) int64 in 0..A-1, or `NO_ANSWER`."""
    question_types: Tensor
    """(B,) int64, index into the data module's `type_names`."""
    program_lengths: Tensor
    """(B,) int64, nodes of the functional program, or -1 where there is none."""
    reads_needed: Tensor
    """(B,) int64, reads that the program needs, or -1 where that is not known."""
    positions: Tensor
    """(B,) int64, position of each question in its split, in dataset order."""
