"""One unit of work: scenes, questions and features of a run of images.

A chunk depends on the options, the split and its place alone, never on the process that makes it
or on other chunks; hence the same bytes for any number of workers. Answers are balanced within it.
"""

import json
import random
from typing import Any, NamedTuple

import numpy as np

from dact.datamodules.gqa_mini.balance import select
from dact.datamodules.gqa_mini.features import Eye, Seen
from dact.datamodules.gqa_mini.options import (
    CHOICES,
    GRAPHED,
    HIDDEN,
    MAX_IMAGES,
    MAX_QUESTIONS,
    SPLITS,
    SUBMITTED,
    Options,
)
from dact.datamodules.gqa_mini.questions import Asked, ask
from dact.datamodules.gqa_mini.records import choices, hidden, record
from dact.datamodules.gqa_mini.scenes import sample_scene
from dact.datamodules.gqa_mini.view import View
from dact.errors import UserError

CHUNK_IMAGES = 100
_SCENES_TRIED = 50
_FIRST_ID = 2_300_000  # of images; GQA's have seven digits too
SUBMISSION = "questions/submission_all_questions.json"


class Chunk(NamedTuple):
    """Images `first` … `first` + `images` − 1 of `split`."""

    options: Options
    split: str
    first: int
    images: int


class Made(NamedTuple):
    """A chunk's part of every file.

    `files`: path below the root → entries of a JSON object as text, `"key":value`; `images`: id,
    objects, width and height per row of `seen`, which is in random order.
    """

    files: dict[str, list[str]]
    images: list[dict[str, Any]]
    seen: Seen


def plan(options: Options) -> list[Chunk]:
    """All chunks of a data set, in the order its files grow."""
    return [
        Chunk(options, split, first, min(CHUNK_IMAGES, options.images[split] - first))
        for split in SPLITS
        for first in range(0, options.images.get(split, 0), CHUNK_IMAGES)
    ]


def make(chunk: Chunk) -> Made:
    """Sample, ask and look."""
    options, split = chunk.options, chunk.split
    rng = random.Random(f"{options.seed}/{split}/{chunk.first}")
    numbers = range(chunk.first, chunk.first + chunk.images)
    place = SPLITS.index(split) * (MAX_IMAGES + 1)
    image_ids = [str(_FIRST_ID + place + number) for number in numbers]
    scenes, asked = zip(*(_image(chunk, image_id, rng) for image_id in image_ids), strict=True)
    stays = iter(select([one.draft for some in asked for one in some], rng))
    records = []
    for number, image_id, some in zip(numbers, image_ids, asked, strict=True):
        first = (place + number) * MAX_QUESTIONS
        ids = [f"{first + i:08d}" for i in range(len(some))]
        records.append(
            {i: record(one, image_id, ids, next(stays)) for i, one in zip(ids, some, strict=True)}
        )
    return _made(chunk, dict(zip(image_ids, scenes, strict=True)), asked, records)


def _image(chunk: Chunk, image_id: str, rng: random.Random) -> tuple[dict, list[Asked]]:
    """A scene with all its questions; one that holds too few different ones is sampled anew."""
    options = chunk.options
    for _ in range(_SCENES_TRIED):
        scene = sample_scene(rng, image_id)
        asked = ask(View(scene), options.questions_per_image, rng, options.mix)
        if len(asked) == options.questions_per_image:
            return scene, asked
    raise UserError(
        f"questions_per_image={options.questions_per_image}: scenes do not hold so many "
        "different questions; ask fewer"
    )


def _made(
    chunk: Chunk, scenes: dict[str, dict], asked: tuple[list[Asked], ...], records: list[dict]
) -> Made:
    """Questions as text, and the look at the scenes."""
    options, split = chunk.options, chunk.split
    files: dict[str, list[str]] = {}
    if split in GRAPHED:
        files[f"sceneGraphs/{split}_sceneGraphs.json"] = _entries(scenes)
    balanced = files[f"questions/{split}_balanced_questions.json"] = []
    for number, some, one in zip(range(chunk.images), records, asked, strict=True):
        less = {key: hidden(entry) for key, entry in some.items()}
        shown = less if split in HIDDEN else some
        files.setdefault(_all_questions(chunk, number), []).extend(_entries(shown))
        balanced += _entries({key: q for key, q in shown.items() if q["isBalanced"]})
        if split in CHOICES:
            entries = _entries(dict(zip(some, map(choices, one), strict=True)))
            files.setdefault(f"questions/{split}_choices.json", []).extend(entries)
        if split in SUBMITTED:
            files.setdefault(SUBMISSION, []).extend(_entries(less))
    rng = np.random.default_rng([options.seed, 2, SPLITS.index(split), chunk.first])
    order = [list(scenes)[i] for i in rng.permutation(len(scenes))]
    seen = Eye(options.seed, options.feature_dim).look(
        [scenes[image_id] for image_id in order], options.rows, rng
    )
    return Made(files, [_facts(image_id, scenes[image_id]) for image_id in order], seen)


def _all_questions(chunk: Chunk, number: int) -> str:
    """The file for all questions about a chunk's image; of train, a folder of shards as in GQA."""
    if chunk.split != "train":
        return f"questions/{chunk.split}_all_questions.json"
    shard = (chunk.first + number) % chunk.options.shards
    return f"questions/train_all_questions/train_all_questions_{shard}.json"


def _facts(image_id: str, scene: dict) -> dict[str, Any]:
    return {
        "imageId": image_id,
        "width": scene["width"],
        "height": scene["height"],
        "objectsNum": len(scene["objects"]),
    }


def _entries(items: dict[str, Any]) -> list[str]:
    return [
        f"{json.dumps(key)}:{json.dumps(value, separators=(',', ':'))}"
        for key, value in items.items()
    ]
