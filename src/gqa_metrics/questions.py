"""What the metrics have to know of each question."""

import sys
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from dact.datamodules.gqa_files import pairs, question_files
from dact.datamodules.json_stream import answer_text, field
from dact.errors import UserError

#: Operations that end a program: they are no step of reasoning.
_LAST_OPERATIONS = ("exist", "query: name", "choose name")


class GQAQuestion(NamedTuple):
    """One question of the balanced set."""

    answer: str
    structural: str
    """verify, query, choose, logical or compare."""
    semantic: str
    """attr, cat, global, obj or rel."""
    words: int
    """Parts of the question between white space."""
    steps: int
    """Length of its program, see `count_steps`."""
    group: str | None
    """The global group, whose answers have a common distribution."""
    common: bool
    """Whether it asks what things have in common: the answer is the name of an attribute."""
    entailed: tuple[str, ...]
    """Ids of questions whose answers follow from this one's; itself may be among them."""
    image: str
    objects: tuple[str, ...] | None
    """Ids of the objects that question and full answer point at, each as often as they do."""


@dataclass(frozen=True, slots=True)
class GQAQuestions:
    """A split: its balanced questions, which are scored, and the answers of all of them."""

    root: Path
    split: str
    balanced: Mapping[str, GQAQuestion]
    answers: Mapping[str, str]


def count_steps(program: list[Mapping[str, Any]]) -> int:
    """Operations but those that only say what to answer.

    >>> count_steps([{"operation": "select", "argument": "cat (3)"},
    ...              {"operation": "relate", "argument": "chair,on,s (5)"},
    ...              {"operation": "query", "argument": "name"}])
    2
    """
    texts = [f"{entry['operation']}: {entry['argument']}" for entry in program]
    return sum(not any(last in text for last in _LAST_OPERATIONS) for text in texts)


def read_program(entry: Any, where: str) -> list[dict[str, Any]]:
    """The program of a question, its operations and arguments checked.

    Raises:
        UserError: there is none, or an operation or argument is no text; `where` is named.
    """
    program = field(entry, "semantic", list, where)
    for operation in program:
        field(operation, "operation", str, f"{where}: semantic")
        field(operation, "argument", str, f"{where}: semantic")
    return program


def load_questions(
    root: Path, split: str, progress: bool = False, files: Sequence[Path] | None = None
) -> GQAQuestions:
    """Read `{split}_questions`; of unbalanced questions only the answer is kept.

    Args:
        root: folder of GQA.
        split: `val_all`, `testdev_balanced` and so on, or any part of them.
        progress: show a bar while a long file is read.
        files: of the split; None: those in `root`.

    Raises:
        UserError: a file is missing or broken, a question comes twice, has no answer or lacks an
            annotation, or none is balanced.
    """
    balanced: dict[str, GQAQuestion] = {}
    answers: dict[str, str] = {}
    files = question_files(root, split) if files is None else files
    for where, question_id, entry in pairs(files, progress):
        if question_id in answers:
            raise UserError(f"{where} comes twice in {split}")
        answers[question_id] = _answer(entry, where)
        if field(entry, "isBalanced", bool, where):
            balanced[question_id] = _question(entry, where)
    if not balanced:
        raise UserError(f"{split}_questions: no question has isBalanced, nothing can be scored")
    return GQAQuestions(root, split, balanced, answers)


def find_answers(
    files: Sequence[Path], wanted: Collection[str], progress: bool = False
) -> dict[str, str]:
    """Answers of those of the `wanted` questions that question files have.

    Raises:
        UserError: a file is missing or broken, or a wanted question has no answer.
    """
    return {
        question_id: _answer(entry, where)
        for where, question_id, entry in pairs(files, progress)
        if question_id in wanted
    }


def _answer(entry: Any, where: str) -> str:
    if isinstance(entry, dict) and "answer" not in entry:
        raise UserError(f"{where} has no answer: this split cannot be scored")
    return sys.intern(answer_text(entry, where))


def _question(entry: Any, where: str) -> GQAQuestion:
    types = field(entry, "types", dict, where)
    return GQAQuestion(
        answer=_answer(entry, where),
        structural=sys.intern(field(types, "structural", str, f"{where}: types")),
        semantic=sys.intern(field(types, "semantic", str, f"{where}: types")),
        words=len(field(entry, "question", str, where).split()),
        steps=count_steps(read_program(entry, where)),
        group=_group(field(entry, "groups", dict, where), where),
        common="Common" in field(types, "detailed", str, f"{where}: types"),
        entailed=_ids(field(entry, "entailed", list, where), f"{where}: entailed"),
        image=field(entry, "imageId", str, where),
        objects=_objects(entry, where),
    )


def _group(groups: Mapping[str, Any], where: str) -> str | None:
    if groups.get("global") is None:
        return None
    return sys.intern(field(groups, "global", str, f"{where}: groups"))


def _objects(entry: Mapping[str, Any], where: str) -> tuple[str, ...] | None:
    if "annotations" not in entry:
        return None
    annotations = field(entry, "annotations", dict, where)
    where = f"{where}: annotations"
    parts = [field(annotations, part, dict, where) for part in ("question", "fullAnswer")]
    return _ids([pointer for part in parts for pointer in part.values()], where)


def _ids(values: list[Any], where: str) -> tuple[str, ...]:
    for value in values:
        if not isinstance(value, str):
            raise UserError(f"{where}: {value!r:.80} is no id: ids are strings")
    return tuple(values)
