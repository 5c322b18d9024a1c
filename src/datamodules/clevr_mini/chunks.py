"""One unit of work: the scenes and questions of a run of images.

A chunk depends on the options, the split and its place alone, never on the process that makes it
or on other chunks; hence the same bytes for any number of workers. Answers are balanced within it.
"""

import json
import random
from typing import NamedTuple

from dact.datamodules.clevr_mini.balance import Balance
from dact.datamodules.clevr_mini.options import DRAWN_SPLIT, SPLITS, Options
from dact.datamodules.clevr_mini.questions import ask
from dact.datamodules.clevr_mini.scenes import sample_scene
from dact.errors import UserError

CHUNK_IMAGES = 250
_SCENES_TRIED = 50


class Chunk(NamedTuple):
    """Images `first` … `first` + `images` − 1 of `split`."""

    options: Options
    split: str
    first: int
    images: int


class Made(NamedTuple):
    """JSON of a chunk's scenes and questions, comma-separated, without the enclosing brackets.

    `to_draw`: its scenes of which a picture is wanted.
    """

    split: str
    scenes: str
    questions: str
    images: int
    to_draw: list[dict]


def plan(options: Options) -> list[Chunk]:
    """All chunks of a data set, in the order its files grow."""
    return [
        Chunk(options, split, first, min(CHUNK_IMAGES, options.images[split] - first))
        for split in SPLITS
        for first in range(0, options.images.get(split, 0), CHUNK_IMAGES)
    ]


def make(chunk: Chunk) -> Made:
    """Sample and ask."""
    options, split = chunk.options, chunk.split
    rng = random.Random(f"{options.seed}/{split}/questions/{chunk.first}")
    each = options.questions_per_image
    balance = Balance(options.mix, options.max_hops, chunk.images * each, rng)
    scenes, questions = [], []
    for index in range(chunk.first, chunk.first + chunk.images):
        scene, asked = _image(chunk, index, balance, rng)
        scenes.append(scene)
        questions += asked
    for number, question in enumerate(questions, chunk.first * each):
        question["question_index"] = number
        if split == "test":  # as in the release, whose test split keeps its answers to itself
            for hidden in ("answer", "program", "question_family_index"):
                del question[hidden]
    drawings = options.drawings if split == DRAWN_SPLIT else 0
    to_draw = scenes[: max(drawings - chunk.first, 0)]
    return Made(split, _json_items(scenes), _json_items(questions), chunk.images, to_draw)


def _image(
    chunk: Chunk, index: int, balance: Balance, rng: random.Random
) -> tuple[dict, list[dict]]:
    """A scene with all its questions; one that holds too few different ones is sampled anew."""
    options, each = chunk.options, chunk.options.questions_per_image
    for attempt in range(_SCENES_TRIED):
        scene_rng = random.Random(f"{options.seed}/{chunk.split}/scene/{index}/{attempt}")
        scene = sample_scene(scene_rng, index, chunk.split, options.objects)
        questions = ask(scene, each, balance, rng)
        if len(questions) == each:
            return scene, questions
    raise UserError(
        f"questions_per_image={each}: the question groups in use do not hold so many different "
        "questions about one image; ask fewer, or add groups to the mix"
    )


def _json_items(items: list[dict]) -> str:
    return json.dumps(items, separators=(",", ":"))[1:-1]
