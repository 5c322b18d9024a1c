"""Writing a whole data set: chunks shared out to processes, files put in place at the end."""

import json
import random
import types
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Any, TypeVar

from rich.console import Console
from rich.progress import Progress

from dact.datamodules.clevr_mini.chunks import Ask, Chunk, Made, make, plan
from dact.datamodules.clevr_mini.drawing import draw
from dact.datamodules.clevr_mini.families import MIX
from dact.datamodules.clevr_mini.options import (
    DRAWN_SPLIT,
    IMAGES,
    MAX_HOPS,
    OBJECTS,
    Options,
    check_options,
)
from dact.datamodules.clevr_mini.questions import begin
from dact.datamodules.clevr_mini.workshop import put_in_place
from dact.datamodules.processes import processes

T = TypeVar("T")

_PICTURES = 10  # drawn per job
_COMPRESSION = 3  # of PNG files: a third larger than the default, in half the time


def generate(
    root: Path,
    *,
    seed: int = 0,
    images: Mapping[str, int] = types.MappingProxyType(IMAGES),
    questions_per_image: int = 10,
    max_hops: int = MAX_HOPS,
    mix: Mapping[str, float] = types.MappingProxyType(MIX),
    objects: Sequence[int] = OBJECTS,
    workers: int = 2,
    drawings: int = 200,
    progress: bool = True,
) -> None:
    """Write a small data set in CLEVR v1.0's format to `root`, which must not exist or be empty.

    `images`: number per split ("train", "val", "test"); `max_hops`: longest chain of relations,
    0..3; `mix`: weight of each question group; `objects`: fewest and most of a scene, in 1..10;
    `drawings`: how many of val's first images are drawn; `workers`: processes, which change the
    time but not one byte. Nothing is left behind when the work fails or is interrupted.

    Scenes, questions and programs follow CLEVR (Johnson et al. 2017); the sentences are our own.
    """
    options = Options(
        seed, dict(images), questions_per_image, max_hops, dict(mix), tuple(objects), drawings
    )
    check_options(options, workers)
    with put_in_place(root, "clevr_mini") as content:
        write(content, "clevr_mini", options, begin, workers, progress)


def write(
    root: Path,
    name: str,
    options: Any,
    begin: Callable[[Chunk, random.Random], Ask],
    workers: int,
    progress: bool,
) -> None:
    """All files of the data set `name`, see `chunks.make`."""
    for folder in ("scenes", "questions"):
        (root / folder).mkdir(parents=True)
    pictures = root / "images" / DRAWN_SPLIT
    drawings = min(options.drawings, options.images.get(DRAWN_SPLIT, 0))
    if drawings:
        pictures.mkdir(parents=True)
    with (
        processes(workers) as submit,
        Progress(console=Console(stderr=True), disable=not progress) as bar,
    ):
        total = sum(options.images.values()) + drawings
        advance = partial(bar.advance, bar.add_task(f"making {name}", total=total))
        chunks = [submit(make, chunk, begin) for chunk in plan(options)]
        drawn = []
        for split, parts in groupby(_in_turn(chunks), key=lambda part: part.split):
            for part in _write_split(root, split, name, options.seed, parts):
                advance(part.images)
                drawn += [
                    submit(_draw_all, part.to_draw[first : first + _PICTURES], pictures)
                    for first in range(0, len(part.to_draw), _PICTURES)
                ]
        for number in _in_turn(drawn):
            advance(number)


def _in_turn(jobs: list[Callable[[], T]]) -> Iterator[T]:
    """The jobs' results; each is let go once used, so that few are held at a time."""
    jobs.reverse()
    while jobs:
        yield jobs.pop()()


def _draw_all(scenes: list[dict], folder: Path) -> int:
    """Draw some scenes, and say how many."""
    for scene in scenes:
        draw(scene).save(folder / scene["image_filename"], compress_level=_COMPRESSION)
    return len(scenes)


def _write_split(
    root: Path, split: str, name: str, seed: int, parts: Iterator[Made]
) -> Iterator[Made]:
    """Write the two JSON files of one split, on one line each as in the release; pass parts on."""
    # The release has a date here; ours would make every run differ.
    info = {"split": split, "version": "1.0", "generator": name, "seed": seed}
    with (
        (root / "scenes" / f"CLEVR_{split}_scenes.json").open("w", encoding="utf-8") as scenes,
        (root / "questions" / f"CLEVR_{split}_questions.json").open("w", encoding="utf-8") as asked,
    ):
        head = json.dumps(info, separators=(",", ":"))
        scenes.write(f'{{"info":{head},"scenes":[')
        asked.write(f'{{"info":{head},"questions":[')
        for number, part in enumerate(parts):
            comma = "," if number else ""
            scenes.write(comma + part.scenes)
            asked.write(comma + part.questions)
            yield part
        scenes.write("]}\n")
        asked.write("]}\n")
