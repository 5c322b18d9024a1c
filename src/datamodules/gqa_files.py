"""Where the annotations of GQA are, in one file or in shards."""

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from dact.errors import UserError

from .json_stream import stream_pairs

_NUMBERED = re.compile(r"_[0-9]+$")


def shards(path: Path) -> list[Path]:
    """The file X.json, or else the .json files of the folder X; empty if there is neither.

    Raises:
        UserError: the files of the folder are numbered, as the official ones are from 0, and there
            is a gap.
    """
    if path.is_file():
        return [path]
    folder = path if path.is_dir() else path.with_suffix("")
    found = sorted(part for part in folder.glob("*.json") if not part.name.startswith("."))
    numbers = {int(part.stem.rpartition("_")[2]) for part in found if _NUMBERED.search(part.stem)}
    if len(numbers) == len(found) and (gaps := set(range(max(numbers, default=0))) - numbers):
        name = found[-1].stem.rpartition("_")[0]
        missing = folder / f"{name}_{min(gaps)}.json"
        raise UserError(f"{missing} is missing, but there are later ones: put it there")
    return found


def question_files(root: Path, split: str) -> list[Path]:
    """`questions/{split}_questions.json` of GQA's folder, or its shards.

    Raises:
        UserError: there are none.
    """
    files = shards(root / "questions" / f"{split}_questions.json")
    if not files:
        found = {path.stem for path in (root / "questions").glob("*_questions*")}
        splits = ", ".join(sorted(name.removesuffix("_questions") for name in found))
        raise UserError(
            f"{root / 'questions'} has neither {split}_questions.json nor a folder of that name "
            f"with shards; splits that are there: {splits or 'none'}"
        )
    return files


def choices_path(root: Path, split: str) -> Path:
    """Valid and plausible answers: val_choices.json for val_all and val_balanced."""
    return root / "questions" / f"{tier_of(split)}_choices.json"


def scenes_path(root: Path, split: str) -> Path:
    """Scene graphs: val_sceneGraphs.json for val_all and val_balanced."""
    return root / "sceneGraphs" / f"{tier_of(split)}_sceneGraphs.json"


def tier_of(split: str) -> str:
    """What the files of a split begin with: val for val_all and val_balanced."""
    return split.split("_")[0]


def pairs(files: Iterable[Path], progress: bool = False) -> Iterator[tuple[str, str, Any]]:
    """(where, name, value) of all objects in the files; `where` is for messages.

    Raises:
        UserError: a file cannot be read or is not a JSON object.
    """
    for path in files:
        for name, value in stream_pairs(path, progress):
            yield f"{path}: {name}", name, value
