"""CLEVR v1.0 and sets in its layout."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

from dact.errors import UserError

from .axes import KNOWN_AXES
from .base import VQADataModule
from .cache import source_stamp
from .feature_files import Choice, check_alone, find_features
from .features import FeatureStore, ObjectStates
from .json_stream import SEE, answer_text, field, stream_json
from .questions import Question
from .reads_needed import reads_needed
from .scene_states import is_current, pack_scene_states

#: What the needed fields of a question are, for messages.
_MEANING = {
    "question_index": "the number of the question, its own in the file",
    "question": "its text",
    "image_filename": "the name of its image",
    "image_index": "the row of its image in features, from 0, or its scene's image_index",
}
#: What the last function of a question's program makes of it.
QUESTION_TYPES = (
    "count",
    "exist",
    "compare_integer",
    "compare_attribute",
    "query_attribute",
    "unknown",
)
_UNKNOWN = QUESTION_TYPES.index("unknown")
_COMPARE_INTEGER = {"equal_integer", "less_than", "greater_than"}


class CLEVRDataModule(VQADataModule):
    """Questions of CLEVR about scene states (`state`) or image features (`grid`).

    Layout of `root`, for each split:

        questions/CLEVR_{split}_questions.json
        scenes/CLEVR_{split}_scenes.json         for features=state
        features/{split}_features.hdf5           for features=grid; see `feature_files` for
                                                 other names

    Questions find their image by `image_filename` where scenes or features have names too, else by
    `image_index`, which is the row of features without names.

    Args:
        root: folder of the dataset.
        features: what the knowledge is.
        background: state only: whether scenes have a background row (see `scene_states`).
        train_split: split for training, and for the vocabulary.
        val_split: split for validation.
        test_split: split for testing; the official one has no answers.
        feature_dataset: dataset with the features in their files; None: see `open_image_features`.
        feature_axes: order of its axes, one of `KNOWN_AXES`; None: the same.
        **common: see `VQADataModule`.
    """

    type_names = QUESTION_TYPES
    integer_ids = True

    @staticmethod
    def read_file(path: Path, progress: bool = False) -> Iterator[Question]:
        """The questions of a CLEVR questions file."""
        return read_clevr_questions(path, progress)

    def __init__(
        self,
        root: str | Path,
        features: Literal["state", "grid"] = "state",
        background: bool = False,
        train_split: str = "train",
        val_split: str = "val",
        test_split: str = "test",
        feature_dataset: str | None = None,
        feature_axes: str | None = None,
        **common: Any,
    ) -> None:
        super().__init__(root, **common)
        if features not in ("state", "grid"):
            raise UserError(f"data.features={features} is neither 'state' nor 'grid'")
        if feature_axes not in (None, *KNOWN_AXES):
            known = ", ".join(KNOWN_AXES)
            raise UserError(f"data.feature_axes={feature_axes} is unknown: choose one of {known}")
        self.choice = Choice(feature_dataset, feature_axes)
        if features == "state" and any(self.choice):
            raise UserError(
                "data.feature_dataset and data.feature_axes are for data.features=grid: leave them "
                "out"
            )
        self.features = features
        self.background = background
        self.train_split = train_split
        self.val_split = val_split
        self.test_split = test_split

    def check_questions(self, split: str) -> None:
        """Raise a UserError that tells the layout if questions of `split` are missing."""
        if not self.root.is_dir():
            raise UserError(
                f"data.root={self.root}: no such folder; it should hold CLEVR's questions/ and "
                "scenes/ or features/; set data.root, or fetch it with scripts/download.py"
            )
        (questions,) = self.question_files(split)
        if not questions.is_file():
            raise UserError(
                f"{questions} is missing: data.root should be laid out like CLEVR v1.0, and has "
                f"questions of these splits: {', '.join(self._splits()) or 'none'}"
            )

    def check_features(self, split: str) -> None:
        """Raise a UserError that tells the way out if features of `split` are missing."""
        if self.features == "state" and not self.scenes_path(split).is_file():
            raise UserError(
                f"{self.scenes_path(split)} is missing: data.features=state needs the scenes of "
                f"'{split}'; use data.features=grid for images without scenes"
            )
        if self.features == "grid":
            for note in check_alone(self.root / "features", split, self.choice):
                self.say_once(note)

    def question_files(self, split: str) -> Sequence[Path]:
        """The one file of a split."""
        return [self.root / "questions" / f"CLEVR_{split}_questions.json"]

    def prepare_features(self, split: str) -> None:
        """Pack the scenes of `split` for features=state."""
        if self.features == "state":
            stamp = source_stamp([self.scenes_path(split)])
            if not is_current(self._states(split), stamp, self.background):
                pack_scene_states(
                    self.scenes_path(split),
                    self._states(split),
                    stamp,
                    background=self.background,
                    progress=self.progress,
                )

    def open_features(self, split: str) -> FeatureStore:
        """Scene states or image features of `split`."""
        if self.features == "state":
            return ObjectStates(self._states(split))
        return find_features(self.root / "features", split, self.choice)

    def features_file(self, split: str) -> Path:
        """The scenes file or feature file of a split."""
        if self.features == "state":
            return self.scenes_path(split)
        return find_features(self.root / "features", split, self.choice).path

    def scenes_path(self, split: str) -> Path:
        """The scenes file of a split, which need not be there."""
        return self.root / "scenes" / f"CLEVR_{split}_scenes.json"

    def _states(self, split: str) -> Path:
        kind = "states_background" if self.background else "states"
        return self.cache_dir / f"{kind}_{split}.h5"

    def _splits(self) -> list[str]:
        files = sorted((self.root / "questions").glob("CLEVR_*_questions.json"))
        return [file.name.removeprefix("CLEVR_").removesuffix("_questions.json") for file in files]


def read_clevr_questions(
    path: Path, progress: bool = False, *, numbered: bool = True
) -> Iterator[Question]:
    """The entries of a CLEVR questions file; answer, family and program may be absent.

    They are as released, or as CLEVR's own generator writes them: answers may be true, false or
    numbers, and family numbers begin anew in each `template_filename`.

    Args:
        path: of the file.
        progress: show a bar while it is read.
        numbered: whether each question must have its number; else its place stands in for one.

    Raises:
        UserError: broken JSON, or a question with a missing or odd field, naming it.
    """
    position = -1
    for position, entry in enumerate(stream_json(path, "questions.item", progress)):
        where = f"{path}: question at position {position}"
        if numbered:
            question_id = _needed(entry, "question_index", int, where)
        else:
            question_id = _optional(entry, "question_index", int, position, where)
        where = f"{path}: question {question_id}"
        program = _optional(entry, "program", list, [], where)
        yield Question(
            question_id=str(question_id),
            text=_needed(entry, "question", str, where),
            answer=None if entry.get("answer") is None else answer_text(entry, where),
            image=_needed(entry, "image_filename", str, where),
            image_row=_needed(entry, "image_index", int, where),
            question_type=question_type(program),
            family=_optional(entry, "question_family_index", int, -1, where),
            program_length=len(program) or -1,
            template=_optional(entry, "template_filename", str, "", where),
            reads_needed=reads_needed(program),
        )
    if position < 0:
        raise UserError(
            f'{path} has no questions: it should be an object {{"questions": [{{…}}, …]}}, not a '
            f"list or one of other names; {SEE}"
        )


def question_type(program: Sequence[Any]) -> int:
    """Index into `QUESTION_TYPES` by the last function of a program; unknown if there is none."""
    last = program[-1] if program else None
    if not isinstance(last, dict):
        return _UNKNOWN
    function = str(last.get("function") or last.get("type"))
    if function in _COMPARE_INTEGER:
        function = "compare_integer"
    elif function.startswith("equal_"):
        function = "compare_attribute"
    elif function.startswith("query_"):
        function = "query_attribute"
    return QUESTION_TYPES.index(function) if function in QUESTION_TYPES else _UNKNOWN


def _needed(entry: Any, name: str, kind: type, where: str) -> Any:
    return field(entry, name, kind, where, _MEANING[name])


def _optional(entry: dict[str, Any], name: str, kind: type, default: Any, where: str) -> Any:
    """A field that may be absent or null."""
    if isinstance(entry, dict) and entry.get(name) is None:
        return default
    return field(entry, name, kind, where)
