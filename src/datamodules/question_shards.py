"""Packs the shards of a split side by side, and puts them together as if they were one file."""

import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import rich.progress
from numpy.typing import NDArray

from dact.errors import UserError

from .cache import unfinished
from .packed_file import ArrayWriter, map_arrays, read_text
from .processes import processes
from .question_writer import TABLES, Encoder, attributes_of, check_distinct, write_packed
from .questions import COLUMNS, Question
from .vocabulary import VocabularyBuilder

#: Reads the questions of one file; a function of a module, since worker processes look it up.
ReadFile = Callable[[Path, bool], Iterator[Question]]
#: Columns that are the same whatever else is in the split.
_AS_THEY_ARE = ("question_types", "program_lengths", "reads_needed")
_RAGGED = ("ids", "texts")


def pack_shards(
    path: Path,
    files: Sequence[Path],
    read_file: ReadFile,
    encoder: Encoder,
    *,
    source: str,
    type_names: Sequence[str],
    integer_ids: bool,
    where: str,
    workers: int,
    progress: bool = False,
) -> None:
    """Write what `write_packed` would write of all `files` in order, whatever `workers` is.

    Shards are packed by `workers` processes with numbers of their own, then appended and renumbered
    one by one. Memory holds a block of questions for each worker and the word ids of one shard; the
    disk all twice. `read_file` reads a shard, whose questions' image rows are their images' places;
    the other arguments and the errors are those of `write_packed`.
    """
    folder = unfinished(path.with_suffix(".shards"))
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    try:
        with ArrayWriter(path, COLUMNS) as writer:
            merger = _Merger(writer, encoder)
            shards = _packed(files, folder, read_file, encoder, workers)
            for file, shard in rich.progress.track(
                zip(files, shards, strict=True),
                "packing shards",
                len(files),
                disable=not progress,
                transient=True,
            ):
                merger.append(*shard, str(file))
            merger.finish()
            check_distinct(writer, where)
            attributes = attributes_of(encoder, source, type_names, integer_ids=integer_ids)
            writer.attributes.update(attributes)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _packed(
    files: Sequence[Path], folder: Path, read_file: ReadFile, encoder: Encoder, workers: int
) -> Iterator[tuple[Path, list[str], list[str]]]:
    """Each shard packed into `folder`, with its words and answers by id, in order."""
    paths = [folder / f"{i}.h5" for i in range(len(files))]
    with processes(min(workers, len(files))) as submit:
        results = [
            submit(_pack_shard, file, path, read_file, encoder.lowercase, encoder.tokenizer)
            for file, path in zip(files, paths, strict=True)
        ]
        for path, result in zip(paths, results, strict=True):
            yield path, *result()


def _pack_shard(
    file: Path, path: Path, read_file: ReadFile, lowercase: bool, tokenizer: str
) -> tuple[list[str], list[str]]:
    """Pack one shard with a vocabulary of its own, and return its words and answers by id."""
    builder = VocabularyBuilder(lowercase, tokenizer=tokenizer)
    write_packed(
        path,
        read_file(file, False),
        builder,
        source="",
        type_names=(),
        integer_ids=False,
        where=str(file),
    )
    vocabulary = builder.finish()
    return list(vocabulary.words), vocabulary.answer_names


class _Merger:
    """Appends packed shards to a writer."""

    def __init__(self, writer: ArrayWriter, encoder: Encoder) -> None:
        self._writer = writer
        self._encoder = encoder
        self._tables: dict[str, dict[str, int]] = {name: {} for name in TABLES}
        self._answered: bool | None = None

    def append(self, shard: Path, words: list[str], answers: list[str], where: str) -> None:
        """Append a shard, whose words and answers are given by its own ids, and delete it."""
        _, arrays = map_arrays(shard)
        writer = self._writer
        answered = bool(arrays["answer_texts"][0] >= 0)
        if self._answered not in (None, answered):
            raise UserError(
                f"{where} and the shards before it differ: one of them has no answers: "
                "give all or none answers"
            )
        self._answered = answered
        word_ids = np.array([0, *self._encoder.encode(words)], np.int32)
        writer.append_rows("tokens", word_ids[arrays["tokens"]], arrays["tokens_offsets"])
        answer_ids = [self._encoder.answer_id(text) for text in answers]
        writer.append("answers", _renumber(arrays["answers"], answer_ids))
        texts = self._places(arrays, "answer_table")
        writer.append("answer_texts", _renumber(arrays["answer_texts"], texts))
        families = self._places(arrays, "family_table")
        writer.append("families", _renumber(arrays["families"], families))
        images = _renumber(arrays["images"], self._places(arrays, "image_table"))
        writer.append("images", images)
        writer.append("image_rows", images)
        for name in _AS_THEY_ARE:
            writer.append(name, arrays[name])
        for name in _RAGGED:
            writer.append_rows(name, arrays[name], arrays[f"{name}_offsets"])
        os.unlink(shard)

    def finish(self) -> None:
        """Write the tables of all shards."""
        for name, places in self._tables.items():
            self._writer.append_texts(name, list(places))

    def _places(self, arrays: Mapping[str, Any], table: str) -> list[int]:
        """Places in the common table of the texts in a shard's own."""
        offsets, places = arrays[f"{table}_offsets"], self._tables[table]
        texts = (read_text(arrays[table], offsets, row) for row in range(len(offsets) - 1))
        return [places.setdefault(text, len(places)) for text in texts]


def _renumber(values: NDArray[np.int32], by_old: Sequence[int]) -> NDArray[np.int32]:
    """New numbers of old ones; -1 stays."""
    return np.array([*by_old, -1], np.int32)[values]
