"""Large JSON files, one entry at a time."""

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import ijson
import numpy as np
import rich.progress

from dact.errors import UserError

#: Smaller files are read in a moment: no progress bar.
_LONG = 32 << 20

#: Brackets inside brackets; CLEVR and GQA have six.
_DEEPEST = 500
#: By how much each character changes the depth.
_STEPS = np.zeros(256, np.int8)
_STEPS[list(b"[{")], _STEPS[list(b"]}")] = 1, -1

#: Where the fields of all files are explained.
SEE = "docs/formats.md lists the fields"
#: Where the first bracket has to be, in bytes.
_BEGINNING = 4096


def stream_json(path: Path, prefix: str, progress: bool = False) -> Iterator[Any]:
    """The entries under `prefix` ("questions.item") of a JSON file, in order.

    Args:
        path: JSON file of any size; memory holds one entry.
        prefix: where the entries are, in the notation of ijson.
        progress: show a bar while a long file is read.

    Raises:
        UserError: the file cannot be read or is not JSON.
    """
    return _stream(path, progress, lambda file: ijson.items(file, prefix, use_float=True))


def stream_pairs(path: Path, progress: bool = False) -> Iterator[tuple[str, Any]]:
    """Names and values of the object that a JSON file is, in order; a name may come twice.

    Args:
        path: JSON file of any size; memory holds one value.
        progress: show a bar while a long file is read.

    Raises:
        UserError: the file cannot be read or is not a JSON object.
    """
    check_begins(path, "{")
    yield from _stream(path, progress, lambda file: ijson.kvitems(file, "", use_float=True))


def check_begins(path: Path, bracket: str) -> None:
    """Refuse a JSON file of the other kind, in which a stream would find nothing.

    Args:
        path: JSON file.
        bracket: "{" for an object, "[" for an array.

    Raises:
        UserError: the file cannot be read, or its first character is another one.
    """
    if first_character(path) != bracket:
        kind = {"{": "object", "[": "array"}[bracket]
        raise UserError(f"{path} is no JSON {kind}: it does not begin with '{bracket}'; {SEE}")


def first_character(path: Path) -> str:
    """What the text of a file begins with, white space aside; empty if it is nothing else.

    Raises:
        UserError: the file cannot be read.
    """
    try:
        with path.open("rb") as file:
            return file.read(_BEGINNING).lstrip()[:1].decode("latin-1")
    except OSError as error:
        raise UserError(f"{path}: {error.strerror or error}") from error


def _stream(path: Path, progress: bool, parse: Callable[[Any], Iterable[Any]]) -> Iterator[Any]:
    disable = not progress or (path.is_file() and path.stat().st_size < _LONG)
    position = -1
    try:
        with rich.progress.open(
            path, "rb", description=f"reading {path.name}", disable=disable
        ) as file:
            for position, entry in enumerate(parse(_Shallow(file, path))):  # noqa: B007
                yield entry
    except OSError as error:
        raise UserError(f"{path}: {error.strerror or error}") from error
    except ijson.JSONError as error:
        text = error.args[0] if error.args else ""
        text = text.decode("utf-8", "replace") if isinstance(text, bytes) else str(text)
        place = f"after entry {position}" if position >= 0 else "in its first entry"
        raise UserError(
            f"{path}: broken JSON {place}: {text.splitlines()[0]}; write or fetch the file again"
        ) from error


class _Shallow:
    """A JSON file that is being read, and must not be nested deeper than any of ours is.

    The parser needs memory for the square of the depth: a file of 100 kB could take all there is.
    Brackets in texts count as well, which makes no difference to so rough a limit.
    """

    def __init__(self, file: Any, path: Path) -> None:
        self._file = file
        self._path = path

    def read(self, size: int = -1) -> bytes:
        """The next bytes.

        Raises:
            UserError: too many brackets are opened in them.
        """
        block = self._file.read(size)
        depth = np.cumsum(_STEPS[np.frombuffer(block, np.uint8)], dtype=np.int32)
        if len(depth) and (depth - np.minimum.accumulate(depth)).max() > _DEEPEST:
            raise UserError(f"{self._path} is nested deeper than {_DEEPEST} brackets: refused")
        return block


#: Types of JSON in words.
_WORDS = {
    str: "a text",
    int: "a whole number",
    bool: "true or false",
    list: "an array",
    dict: "an object",
}


def field(entry: Any, name: str, kind: type, where: str, meaning: str = "") -> Any:
    """`entry[name]`, after a check that it is there and of type `kind`.

    Args:
        entry: JSON object.
        name: its field.
        kind: str, int, bool, list or dict.
        where: file and entry, for the message.
        meaning: what the field is, for the message.

    Raises:
        UserError: `entry` is no object, has no such field, or one of another type.
    """
    if not isinstance(entry, dict):
        raise UserError(f"{where} is not an object, but {entry!r:.80}")
    told = f" ({meaning})" if meaning else ""
    if name not in entry:
        raise UserError(f"{where} has no field '{name}', {_WORDS[kind]}{told}; {SEE}")
    value = entry[name]
    if not isinstance(value, kind) or isinstance(value, bool) != (kind is bool):
        raise UserError(
            f"{where}: field '{name}' is {value!r:.80}, not {kind.__name__}: write "
            f"{_WORDS[kind]}{told}; {SEE}"
        )
    return value


def answer_text(entry: Any, where: str) -> str:
    """The answer of a question; true, false and 3 are yes, no and "3", as CLEVR's generator has it.

    Raises:
        UserError: there is none, or it is something else; `where` is named.
    """
    value = entry.get("answer") if isinstance(entry, dict) else None
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return str(value)
    return field(entry, "answer", str, where, "a whole number, true or false are read as well")
