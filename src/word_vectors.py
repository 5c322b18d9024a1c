"""Pretrained word vectors, read row by row: of a file of gigabytes only the asked-for rows stay.

Three formats, told apart by content: word2vec's binary one (a line `rows numbers`, then rows of a
word, a space and little-endian float32 numbers), text with such a line (word2vec, fastText), and
text without (GloVe). Any of them may be gzipped.
"""

import gzip
import hashlib
import os
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np

from dact.errors import UserError

#: Bytes that no line of text, and no word of a binary file, is longer than.
_LONGEST_LINE, _LONGEST_WORD = 1 << 20, 1 << 12
#: Bytes that are read at once.
_CHUNK = 1 << 20
#: What numbers in a line of text are written with.
_NUMERIC = b"0123456789+-.eE \r"
_LARGEST = float(np.finfo(np.float32).max)


class WordVectors(NamedTuple):
    """Vectors of those words of a vocabulary that a file has."""

    ids: np.ndarray
    """(n,) int64, ids of the words found, in the order of the vocabulary."""
    vectors: np.ndarray
    """(n, dim) float32, finite."""
    missing: list[str]
    """The other words, in the order of the vocabulary."""


class _Table(NamedTuple):
    """An opened file, its header read."""

    dim: int
    """Numbers in a row."""
    promised: int
    """Rows, by the header; 0 without one."""
    rows: Iterator[tuple[bytes, bytes]]
    """Words and their numbers as they stand in the file."""
    binary: bool


class _RowError(Exception):
    """What is wrong with the row at hand."""


def identity(path: str | os.PathLike[str]) -> str:
    """16 hex digits that say which file this is, wherever it lies and whatever it is called.

    They are made from its size and its first and last MiB, so that they cost nothing.

    Raises:
        UserError: there is no such file, or it may not be read.
    """
    path = Path(path).expanduser()
    try:
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            digest = hashlib.sha256(str(size).encode())
            for start in (0, max(0, size - _CHUNK)):
                file.seek(start)
                digest.update(file.read(_CHUNK))
    except OSError as error:
        raise UserError(f"word vectors {path}: {error.strerror or error}") from error
    return digest.hexdigest()[:16]


def read_word_vectors(
    path: str | os.PathLike[str], words: Mapping[str, int], dim: int
) -> WordVectors:
    """The vectors of a vocabulary's words.

    A word is looked up as it is in the vocabulary, then lower-cased, then capitalised ("new",
    "New"). Of rows with the same word the first one counts. All rows are read and counted, but
    the numbers are looked at only in those that a word asked for.

    Args:
        path: word2vec's binary format, or text with or without a header; may be gzipped.
        words: word → id, any ids.
        dim: numbers in a vector, at least 1.

    Raises:
        UserError: there is no such file, its vectors have another size than `dim`, or it is
            broken or cut short; names the file and, from 1 and without the header, the row.
    """
    path = Path(path).expanduser()
    wanted = {form.encode(errors="surrogatepass"): form for word in words for form in _forms(word)}
    found: dict[str, np.ndarray] = {}
    done = 0
    try:
        with _opened(path) as file:
            table = _table(file)
            if table.dim != dim:
                raise UserError(
                    f"word vectors {path} have {table.dim} numbers, but "
                    f"model.embedding_dim={dim}: set that to {table.dim}, or take another file"
                )
            for word, numbers in table.rows:
                form = wanted.get(word)
                if form is not None and form not in found:
                    found[form] = _numbers(numbers, table)
                done += 1
            if done < table.promised:
                raise _RowError(f"the file ends before it, but promises {table.promised} rows")
    except _RowError as error:
        raise UserError(f"word vectors {path}, row {done + 1}: {error}") from error
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise UserError(f"word vectors {path}, row {done + 1}: the gzip file is damaged") from error
    except OSError as error:
        raise UserError(f"word vectors {path}: {error.strerror or error}") from error
    return _chosen(words, found, dim)


def _forms(word: str) -> tuple[str, str, str]:
    """What a word is looked up as, best first."""
    return word, word.lower(), word.capitalize()


def _chosen(words: Mapping[str, int], found: Mapping[str, np.ndarray], dim: int) -> WordVectors:
    """The best form of each word."""
    vectors: dict[str, np.ndarray] = {}
    for word in words:
        known = [found[form] for form in _forms(word) if form in found]
        if known:
            vectors[word] = known[0]
    return WordVectors(
        np.array([words[word] for word in vectors], np.int64),
        np.array(list(vectors.values()), np.float32).reshape(len(vectors), dim),
        [word for word in words if word not in vectors],
    )


def _opened(path: Path) -> BinaryIO:
    with path.open("rb") as file:
        zipped = file.read(2) == b"\x1f\x8b"
    return gzip.open(path, "rb") if zipped else path.open("rb")


def _table(file: BinaryIO) -> _Table:
    """Tell the format, and stand before the first row."""
    header = _line(file)
    fields = header.split()
    if len(fields) != 2 or not all(field.isdigit() for field in fields):
        file.seek(0)
        dim = _count_numbers(header)
        return _Table(dim, 0, _text_rows(file, dim, None), False)
    promised, dim = map(int, fields)
    start = file.tell()
    sample = file.read(_CHUNK).partition(b" ")[2]
    file.seek(start)
    # A row of text has at least a digit and a space for each number, and ends with its line.
    text = sample[: max(sample.find(b"\n"), 2 * dim - 1)]
    if text and not text.strip(_NUMERIC):
        return _Table(dim, promised, _text_rows(file, dim, promised), False)
    return _Table(dim, promised, _binary_rows(file, dim, promised), True)


def _line(file: BinaryIO) -> bytes:
    line = file.readline(_LONGEST_LINE)
    if len(line) == _LONGEST_LINE:
        raise _RowError("no word with numbers")
    return line


def _is_number(text: bytes) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _count_numbers(line: bytes) -> int:
    """How many numbers the first row has after its word, which may be one, too."""
    count = 0
    for field in reversed(line.split()[1:]):
        if not _is_number(field):
            break
        count += 1
    if count == 0:
        raise _RowError("neither a word with numbers nor the header of a word2vec file")
    return count


def _text_rows(file: BinaryIO, dim: int, promised: int | None) -> Iterator[tuple[bytes, bytes]]:
    """Words, which may contain spaces, and numbers; blank lines are none."""
    row = 0
    while line := _line(file):
        line = line.rstrip(b" \t\r\n")
        if not line:
            continue
        if row == promised:
            raise _RowError(f"there is more, but the file promises {promised} rows")
        row += 1
        spaces = line.count(b" ")
        if spaces < dim:
            raise _RowError(f"{spaces} numbers instead of {dim}")
        word = line.partition(b" ")[0] if spaces == dim else line.rsplit(b" ", dim)[0]
        if spaces > dim and _is_number(word.rpartition(b" ")[2]):
            raise _RowError(f"more than {dim} numbers")
        yield word.rstrip(b" "), line[len(word) :]


def _binary_rows(file: BinaryIO, dim: int, promised: int) -> Iterator[tuple[bytes, bytes]]:
    """Words, before which may be the end of a line, and float32 numbers; no more than promised."""
    size = 4 * dim
    buffer, at = b"", 0
    for _ in range(promised):
        while (end := buffer.find(b" ", at, at + _LONGEST_WORD)) < 0 or len(buffer) - end <= size:
            if end < 0 and len(buffer) - at >= _LONGEST_WORD:
                raise _RowError("no word")
            more = file.read(_CHUNK)
            if not more:
                return
            buffer, at = buffer[at:] + more, 0
        yield buffer[at:end].lstrip(b"\r\n"), buffer[end + 1 : end + 1 + size]
        at = end + 1 + size
    if (buffer[at:] + file.read(_CHUNK)).strip():
        raise _RowError(f"there is more, but the file promises {promised} rows")


def _numbers(text: bytes, table: _Table) -> np.ndarray:
    """A row's numbers, (dim,) float32."""
    if table.binary:
        numbers = np.frombuffer(text, "<f4").astype(np.float64)
    else:
        fields = text.split()
        if not all(map(_is_number, fields)):
            raise _RowError("not every number is one")
        numbers = np.array([float(field) for field in fields])
    if len(numbers) != table.dim or not (np.abs(numbers) <= _LARGEST).all():
        raise _RowError(f"not {table.dim} finite numbers")
    return numbers.astype(np.float32)
