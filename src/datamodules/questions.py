"""The questions of a split, packed into one memory-mapped file."""

import functools
import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from dact.errors import UserError

from . import packed_file
from .packed_file import gather_ragged, map_arrays, read_text

#: Raised whenever the columns change; files of another version are rebuilt.
FORMAT = 3
#: Arrays of the file and their types; ragged ones have offsets beside them.
COLUMNS = {
    "tokens": np.int32,
    "tokens_offsets": np.int64,
    "answers": np.int32,
    "answer_texts": np.int32,
    "image_rows": np.int64,
    "images": np.int32,
    "question_types": np.uint8,
    "families": np.int32,
    "program_lengths": np.int16,
    "reads_needed": np.int16,
    "ids": np.uint8,
    "ids_offsets": np.int64,
    "texts": np.uint8,
    "texts_offsets": np.int64,
    "answer_table": np.uint8,
    "answer_table_offsets": np.int64,
    "image_table": np.uint8,
    "image_table_offsets": np.int64,
    "family_table": np.uint8,
    "family_table_offsets": np.int64,
}


class Question(NamedTuple):
    """One question as read from a dataset's own files."""

    question_id: str
    """Its name in the dataset; numbers are written in decimals."""
    text: str
    """The question, not yet cut into words."""
    answer: str | None
    """Gold answer, None in a split without answers."""
    image: str
    """Name of the image."""
    image_row: int | None
    """Row of the image in the feature store; None: its place among the images of the split, in the
    order in which the questions first name them."""
    question_type: int
    """Index into the data module's `type_names`."""
    family: int = -1
    """Number of the template family, -1 where there is none."""
    program_length: int = -1
    """Nodes of the functional program, -1 where there is none."""
    reads_needed: int = -1
    """See `dact.datamodules.reads_needed`; -1 where that is not known."""
    template: str = ""
    """File of the template, where it is known; family numbers begin anew in each."""

    @property
    def family_name(self) -> str | None:
        """What tells the family from all others; None where there is none."""
        if not self.template:
            return str(self.family) if self.family >= 0 else None
        return f"{self.template.removesuffix('.json')} {self.family}"


class QuestionRecord(NamedTuple):
    """What a prediction file says about a question besides the prediction."""

    question_id: int | str
    """The dataset's own id, of the dataset's own type."""
    image: str
    """Name of the image."""
    question: str
    """Text of the question."""
    answer: str | None
    """Gold answer, None in a split without answers."""


class PackedQuestions:
    """The questions of a file of `write_packed`, as memory-mapped arrays with one row each.

    The file is opened on first use. Pickling keeps its path, not its contents: a worker process
    opens it again.

    Args:
        path: the file.
        rows: see `joined`; None: the images' numbers are their rows.
    """

    def __init__(self, path: Path, rows: NDArray[np.int64] | None = None) -> None:
        self.path = Path(path)
        self._rows = rows

    def __reduce__(self) -> tuple[type["PackedQuestions"], tuple[Path, NDArray[np.int64] | None]]:
        return PackedQuestions, (self.path, self._rows)

    def joined(self, rows: NDArray[np.int64]) -> "PackedQuestions":
        """These questions, with `rows` (Q,) of a feature store as their images' rows.

        Rows that are the image numbers anyway are not kept twice.
        """
        same = np.array_equal(rows, self.image_numbers)
        return PackedQuestions(self.path, None if same else rows)

    @classmethod
    def is_current(cls, path: Path, source: str, vocabulary: str | None = None) -> bool:
        """Whether `path` is a whole file of this version, of `source` and of that vocabulary."""
        known = {} if vocabulary is None else {"vocabulary": vocabulary}
        return packed_file.is_current(path, COLUMNS, format=FORMAT, source=source, **known)

    def __len__(self) -> int:
        return len(self.image_numbers)

    @property
    def vocabulary(self) -> str:
        """Fingerprint of the vocabulary that encoded the questions."""
        return str(self._contents[0]["vocabulary"])

    @functools.cached_property
    def type_names(self) -> tuple[str, ...]:
        """Names of the question types."""
        return tuple(json.loads(str(self._contents[0]["type_names"])))

    @property
    def answers(self) -> NDArray[np.int32]:
        """(Q,) answer ids, -1 for none and for those not in the vocabulary."""
        return self._contents[1]["answers"]

    @property
    def image_rows(self) -> NDArray[np.int64]:
        """(Q,) rows of the images in the feature store, -1 where it has none; see `joined`."""
        return self.image_numbers if self._rows is None else self._rows

    @property
    def image_numbers(self) -> NDArray[np.int64]:
        """(Q,) numbers that the questions' file gives the images, or places in `images`."""
        return self._contents[1]["image_rows"]

    @property
    def image_places(self) -> NDArray[np.int32]:
        """(Q,) places of the images in `images`."""
        return self._contents[1]["images"]

    @property
    def question_types(self) -> NDArray[np.uint8]:
        """(Q,) indices into `type_names`."""
        return self._contents[1]["question_types"]

    @functools.cached_property
    def families(self) -> NDArray[np.int64]:
        """(Q,) template families, or -1: the dataset's numbers, or where these begin anew in each
        template file, places among `family_names`.
        """
        places = self._contents[1]["families"].astype(np.int64)
        return np.array([*self.family_names, -1], np.int64)[places]

    @functools.cached_property
    def family_names(self) -> dict[int, str]:
        """Names of the template families by their numbers in `families`."""
        count = len(self._contents[1]["family_table_offsets"]) - 1
        names = [self._text("family_table", row) for row in range(count)]
        plain = all(name.isdecimal() and len(name) < 10 for name in names)
        return {int(name) if plain else place: name for place, name in enumerate(names)}

    @property
    def program_lengths(self) -> NDArray[np.int16]:
        """(Q,) nodes of the functional programs, or -1."""
        return self._contents[1]["program_lengths"]

    @property
    def reads_needed(self) -> NDArray[np.int16]:
        """(Q,) reads that the questions need, or -1."""
        return self._contents[1]["reads_needed"]

    @property
    def lengths(self) -> NDArray[np.int64]:
        """(Q,) words of each question."""
        return np.diff(self._contents[1]["tokens_offsets"])

    @property
    def has_answers(self) -> bool:
        """Whether the questions have gold answers."""
        return bool(self._contents[1]["answer_texts"][0] >= 0)

    @property
    def unknown_answers(self) -> int:
        """Number of questions whose gold answer is not in the vocabulary."""
        return int(np.count_nonzero(self.answers < 0)) if self.has_answers else 0

    def tokens_of(self, positions: NDArray[np.int64]) -> tuple[NDArray, NDArray]:
        """Word ids (B, S) int64, padded with 0, and lengths (B,) int64, of some questions."""
        arrays = self._contents[1]
        return gather_ragged(arrays["tokens"], arrays["tokens_offsets"], positions, np.int64)

    def holding(self, token: int) -> NDArray[np.bool_]:
        """(Q,) whether each question holds the word of this id."""
        arrays = self._contents[1]
        return np.logical_or.reduceat(arrays["tokens"] == token, arrays["tokens_offsets"][:-1])

    def record(self, position: int) -> QuestionRecord:
        """Texts of one question, for people and prediction files."""
        attributes, arrays = self._contents
        question_id = self._text("ids", position)
        answer = int(arrays["answer_texts"][position])
        return QuestionRecord(
            question_id=int(question_id) if attributes["integer_ids"] else question_id,
            image=self._text("image_table", arrays["images"][position]),
            question=self._text("texts", position),
            answer=self._text("answer_table", answer) if answer >= 0 else None,
        )

    def _text(self, name: str, row: int) -> str:
        arrays = self._contents[1]
        return read_text(arrays[name], arrays[f"{name}_offsets"], row)

    @functools.cached_property
    def images(self) -> list[str]:
        """Names of all images, in the order in which the questions first name them."""
        count = len(self._contents[1]["image_table_offsets"]) - 1
        return [self._text("image_table", row) for row in range(count)]

    def first_about(self, image: str) -> int | None:
        """Position of the first question about an image; None if there is none."""
        if image not in self.images:
            return None
        return int(np.argmax(self.image_places == self.images.index(image)))

    @functools.cached_property
    def _contents(self) -> tuple[dict[str, Any], dict[str, NDArray]]:
        try:
            return map_arrays(self.path)
        except OSError as error:
            raise UserError(f"{self.path} cannot be read ({error}): delete it") from error
