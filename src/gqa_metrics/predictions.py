"""Predictions and attentions, in the official format or as lines of our own."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from dact.datamodules.json_stream import check_begins, field, first_character, stream_json
from dact.errors import UserError


class Predictions(NamedTuple):
    """What a file says about the questions of a split."""

    answers: dict[str, str]
    """By question id."""
    steps: dict[str, int]
    """Steps taken by question id; empty unless every question has them."""


def read_predictions(path: Path, progress: bool = False) -> Predictions:
    """Predicted answers, and steps where the file has them.

    Args:
        path: JSON array of `{"questionId", "prediction"}`, the format of a submission; or lines of
            `{"question_id", "prediction", …}` from `mode=predict`, whatever their file is called.
        progress: show a bar while a long file is read.

    Raises:
        UserError: the file is missing or broken, or a question comes twice.
    """
    lines = _holds_lines(path)
    name = "question_id" if lines else "questionId"
    answers: dict[str, str] = {}
    steps: dict[str, int] = {}
    for where, entry in _lines(path) if lines else _array(path, progress):
        question_id = field(entry, name, str, where)
        if question_id in answers:
            raise UserError(f"{where}: question {question_id} has been predicted before")
        answers[question_id] = field(entry, "prediction", str, where)
        if "steps" in entry:
            steps[question_id] = field(entry, "steps", int, where)
    return Predictions(answers, steps if len(steps) == len(answers) else {})


def read_attentions(path: Path, progress: bool = False) -> Iterator[tuple[str, list[Any]]]:
    """(question id, attention) of a JSON array of `{"questionId", "attention"}`, one at a time.

    Raises:
        UserError: the file is missing or broken.
    """
    for where, entry in _array(path, progress):
        yield field(entry, "questionId", str, where), field(entry, "attention", list, where)


def _holds_lines(path: Path) -> bool:
    if path.suffix == ".jsonl":
        return True
    if first_character(path) != "{":
        return False
    with path.open("rb") as file:
        return b'"question_id"' in file.readline()


def _array(path: Path, progress: bool) -> Iterator[tuple[str, Any]]:
    check_begins(path, "[")
    for position, entry in enumerate(stream_json(path, "item", progress)):
        yield f"{path}: entry {position}", entry


def _lines(path: Path) -> Iterator[tuple[str, Any]]:
    number = 0
    try:
        with path.open(encoding="utf-8") as file:
            for number, line in enumerate(file, 1):
                if line.strip():
                    yield f"{path}: line {number}", json.loads(line)
    except OSError as error:
        raise UserError(f"{path}: {error.strerror or error}") from error
    except json.JSONDecodeError as error:
        raise UserError(f"{path}: line {number} is no JSON: {error.msg}") from error
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: the text after line {number} is not UTF-8") from error
