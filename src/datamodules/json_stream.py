"""Large JSON files, one entry at a time."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import ijson
import rich.progress

from dact.errors import UserError

#: Smaller files are read in a moment: no progress bar.
_LONG = 32 << 20


def stream_json(path: Path, prefix: str, progress: bool = False) -> Iterator[Any]:
    """The entries under `prefix` ("questions.item") of a JSON file, in order.

    Args:
        path: JSON file of any size; memory holds one entry.
        prefix: where the entries are, in the notation of ijson.
        progress: show a bar while a long file is read.

    Raises:
        UserError: the file cannot be read or is not JSON.
    """
    disable = not progress or (path.is_file() and path.stat().st_size < _LONG)
    position = -1
    try:
        with rich.progress.open(
            path, "rb", description=f"reading {path.name}", disable=disable
        ) as file:
            for position, entry in enumerate(ijson.items(file, prefix, use_float=True)):  # noqa: B007
                yield entry
    except OSError as error:
        raise UserError(f"{path}: {error.strerror or error}") from error
    except ijson.JSONError as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"{path}: broken JSON after entry {position}: {reason}") from error


def field(entry: Any, name: str, kind: type, where: str) -> Any:
    """`entry[name]`, after a check that it is there and of type `kind`.

    Args:
        entry: JSON object.
        name: its field.
        kind: str, int, list or dict.
        where: file and entry, for the message.

    Raises:
        UserError: `entry` is no object, has no such field, or one of another type.
    """
    if not isinstance(entry, dict):
        raise UserError(f"{where} is not an object")
    if name not in entry:
        raise UserError(f"{where} has no field '{name}'")
    value = entry[name]
    if not isinstance(value, kind) or isinstance(value, bool):
        raise UserError(f"{where}: field '{name}' is {value!r:.80}, not {kind.__name__}")
    return value
