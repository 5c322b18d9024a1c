"""Predictions and attentions, in the official format or as lines of our own."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from dact.datamodules.json_stream import check_begins, field, first_character, stream_json
from dact.errors import UserError


def read_predictions(path: Path, progress: bool = False) -> dict[str, str]:
    """Predicted answers by question id.

    Args:
        path: JSON array of `{"questionId", "prediction"}`, the format of a submission; or lines of
            `{"question_id", "prediction", …}` from `mode=predict`, whatever their file is called.
        progress: show a bar while a long file is read.

    Raises:
        UserError: the file is missing or broken, or a question comes twice.
    """
    lines = _holds_lines(path)
    name = "question_id" if lines else "questionId"
    predictions: dict[str, str] = {}
    for where, entry in _lines(path) if lines else _array(path, progress):
        question_id = field(entry, name, str, where)
        if question_id in predictions:
            raise UserError(f"{where}: question {question_id} has been predicted before")
        predictions[question_id] = field(entry, "prediction", str, where)
    return predictions


def read_steps(path: Path) -> dict[str, float] | None:
    """Steps taken by question id, from lines of `mode=predict`; None if the file is none of them.

    Args:
        path: as of `read_predictions`, which has to accept it.
    """
    if not _holds_lines(path):
        return None
    steps = {entry["question_id"]: entry.get("steps") for _, entry in _lines(path)}
    return None if None in steps.values() else steps


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
