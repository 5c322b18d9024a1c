"""Encodes the questions of a split and packs them into one file."""

import itertools
import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np

from dact.errors import UserError

from .packed_file import ArrayWriter
from .questions import COLUMNS, FORMAT, Question

#: Tables of texts that columns point into.
TABLES = ("answer_table", "image_table", "family_table")
#: Questions written at a time.
_BLOCK = 8192


class Encoder(Protocol):
    """A `Vocabulary`, or the `VocabularyBuilder` that becomes one."""

    lowercase: bool
    tokenizer: str

    @property
    def fingerprint(self) -> str: ...  # noqa: D102

    def words_of(self, text: str) -> list[str]: ...  # noqa: D102

    def encode(self, tokens: Iterable[str]) -> list[int]: ...  # noqa: D102

    def answer_id(self, text: str) -> int: ...  # noqa: D102


def write_packed(
    path: Path,
    questions: Iterable[Question],
    encoder: Encoder,
    *,
    source: str,
    type_names: Sequence[str],
    integer_ids: bool,
    where: str,
) -> None:
    """Encode `questions` and write them to `path`, in bounded memory and seen only when whole.

    Args:
        path: file to write or replace.
        questions: in dataset order.
        encoder: gives the ids of words and answers.
        source: stamp of all that the questions were read from.
        type_names: names of the question types.
        integer_ids: whether records give the question ids as integers.
        where: the questions' file, for messages.

    Raises:
        UserError: no question, a question without words, an id that comes twice, or answers to
            some questions only.
    """
    with ArrayWriter(path, COLUMNS) as writer:
        tables: dict[str, dict[str, int]] = {name: {} for name in TABLES}
        count = answered = 0
        for block in _blocks(questions):
            _append_block(writer, block, encoder, tables, where)
            count += len(block)
            answered += sum(question.answer is not None for question in block)
            if answered not in (0, count):
                raise UserError(
                    f"{where}: some of its questions have an answer and some have none: "
                    "give one to all or to none"
                )
        if count == 0:
            raise UserError(f"{where} has no questions: put some in, or choose another split")
        for name, table in tables.items():
            writer.append_texts(name, list(table))
        check_distinct(writer, where)
        writer.attributes.update(
            attributes_of(encoder, source, type_names, integer_ids=integer_ids)
        )


def attributes_of(
    encoder: Encoder, source: str, type_names: Sequence[str], *, integer_ids: bool
) -> dict[str, str | int]:
    """What a packed file says of itself; arguments as of `write_packed`."""
    return {
        "format": FORMAT,
        "source": source,
        "vocabulary": encoder.fingerprint,
        "type_names": json.dumps(list(type_names)),
        "integer_ids": int(integer_ids),
    }


def check_distinct(writer: ArrayWriter, where: str) -> None:
    """Refuse questions whose id has come before.

    Raises:
        UserError: naming one of them.
    """
    ids, offsets = writer.written("ids"), writer.written("ids_offsets")
    lengths = np.diff(offsets)
    for length in np.unique(lengths):  # few: ids are numbers of about the same length
        rows = np.flatnonzero(lengths == length)
        same = np.empty((len(rows), length), np.uint8)
        for begin in range(0, len(rows), _BLOCK):
            block = rows[begin : begin + _BLOCK]
            same[begin : begin + len(block)] = ids[offsets[block][:, None] + np.arange(length)]
        texts = np.sort(same.view(f"S{length}").ravel())
        again = np.flatnonzero(texts[1:] == texts[:-1])
        if len(again):
            raise UserError(
                f"{where}: question {texts[again[0]].decode()} comes twice: "
                "number the questions anew"
            )


def _blocks(questions: Iterable[Question]) -> Iterator[list[Question]]:
    iterator = iter(questions)
    while block := list(itertools.islice(iterator, _BLOCK)):
        yield block


def _append_block(
    writer: ArrayWriter,
    block: list[Question],
    encoder: Encoder,
    tables: dict[str, dict[str, int]],
    where: str,
) -> None:
    tokens = [encoder.encode(encoder.words_of(question.text)) for question in block]
    if not all(tokens):
        question_id = block[tokens.index([])].question_id
        raise UserError(
            f"{where}: question {question_id} has no words: give it a text, or leave it out"
        )
    ids, texts, answers, images, rows, types, _, lengths, reads, _ = zip(*block, strict=True)
    if not all(ids):
        raise UserError(
            f"{where}: the id of the question {texts[ids.index('')]!r} is empty: give it one"
        )
    writer.append_ragged("tokens", tokens)
    writer.append_texts("ids", ids)
    writer.append_texts("texts", texts)
    writer.append("answers", [-1 if text is None else encoder.answer_id(text) for text in answers])
    writer.append("answer_texts", _places(answers, tables["answer_table"]))
    families = [question.family_name for question in block]
    writer.append("families", _places(families, tables["family_table"]))
    numbers = _places(images, tables["image_table"])
    writer.append("images", numbers)
    rows = [number if row is None else row for number, row in zip(numbers, rows, strict=True)]
    for name, values in (
        ("image_rows", rows),
        ("question_types", types),
        ("program_lengths", lengths),
        ("reads_needed", reads),
    ):
        _append_numbers(writer, name, values, ids, where)


def _places(names: Iterable[str | None], table: dict[str, int]) -> list[int]:
    """Places of names in a table, which grows by new ones; -1 of None."""
    return [-1 if name is None else table.setdefault(name, len(table)) for name in names]


def _append_numbers(
    writer: ArrayWriter, name: str, values: Sequence[int], ids: Sequence[str], where: str
) -> None:
    try:
        writer.append(name, values)
    except OverflowError as error:
        known = np.iinfo(writer.dtypes[name])
        bad = next(n for n, value in enumerate(values) if not known.min <= value <= known.max)
        raise UserError(
            f"{where}: question {ids[bad]} has a number for its {name} that is out of "
            "range: leave it out, or number them from 0"
        ) from error
