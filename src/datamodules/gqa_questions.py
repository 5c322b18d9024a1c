"""The questions of GQA, as its files have them."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from dact.gqa_metrics.questions import count_steps, read_program

from .gqa_files import pairs
from .json_stream import answer_text, field
from .questions import Question

#: Structural types; the last one is of splits whose questions come without annotations.
STRUCTURAL_TYPES = ("verify", "query", "choose", "logical", "compare", "unknown")
_UNKNOWN = STRUCTURAL_TYPES.index("unknown")


def read_gqa_questions(path: Path, progress: bool = False) -> Iterator[Question]:
    """The entries of a GQA question file; test, challenge and submission have no annotations.

    Args:
        path: the file of a split, or one of its shards.
        progress: show a bar while a long file is read.

    Raises:
        UserError: broken JSON, or a question with a missing or odd field, naming it.
    """
    for where, question_id, entry in pairs([path], progress):
        answered = isinstance(entry, dict) and entry.get("answer") is not None
        annotated = isinstance(entry, dict) and "semantic" in entry
        program = read_program(entry, where) if annotated else []
        yield Question(
            question_id=question_id,
            text=field(entry, "question", str, where),
            answer=answer_text(entry, where) if answered else None,
            image=field(entry, "imageId", str, where),
            image_row=None,
            question_type=_structural_type(entry, where),
            program_length=count_steps(program) if program else -1,
        )


def _structural_type(entry: dict[str, Any], where: str) -> int:
    if "types" not in entry:
        return _UNKNOWN
    name = field(field(entry, "types", dict, where), "structural", str, where)
    return STRUCTURAL_TYPES.index(name) if name in STRUCTURAL_TYPES else _UNKNOWN
