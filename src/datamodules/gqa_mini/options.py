"""What a data set is made of, and the checks that stop a bad wish before any work is done."""

from typing import NamedTuple

from dact.datamodules.clevr_mini.options import check_mix, check_range
from dact.datamodules.gqa_mini.questions import MIX
from dact.datamodules.gqa_mini.scenes import THINGS
from dact.errors import UserError

# Numbers of images; ids of a split begin at its place in this list, so new ones go to its end.
IMAGES = {"train": 4000, "val": 400, "testdev": 200, "test": 200, "challenge": 100}
SPLITS = tuple(IMAGES)
GRAPHED = ("train", "val")  # their scene graphs are given
HIDDEN = ("test", "challenge")  # their answers are not
CHOICES = ("val", "testdev")
SUBMITTED = ("val", "testdev", "test", "challenge")
MAX_IMAGES = 99_999
MAX_QUESTIONS = 40


class Options(NamedTuple):
    """Everything that decides the bytes written.

    `images`: number per split; `questions_per_image`: in the files of all questions, of which
    about two in three are balanced; `rows`: of an image in the object features, padding included;
    `feature_dim`: of an object and of a grid cell; `shards`: files of each kind of features, and
    of all training questions; `mix`: kind of question → weight.
    """

    seed: int
    images: dict[str, int]
    questions_per_image: int
    rows: int
    feature_dim: int
    shards: int
    mix: dict[str, float]


def check_options(options: Options, workers: int) -> None:
    """Raise UserError naming the first value that cannot be."""
    check_range("seed", options.seed, 0, 2**63 - 1)
    for split, number in options.images.items():
        if split not in SPLITS:
            raise UserError(f"images: unknown split {split!r}; known: {', '.join(SPLITS)}")
        check_range(f"images[{split}]", number, 0, MAX_IMAGES)
    if not any(options.images.values()):
        raise UserError("images: no images wanted in any split; ask for at least one")
    check_range("questions_per_image", options.questions_per_image, 1, MAX_QUESTIONS)
    check_range("rows", options.rows, THINGS[1] + 1, 100)
    check_range("feature_dim", options.feature_dim, 1, 4096)
    check_range("shards", options.shards, 1, 16)
    check_range("workers", workers, 1, 1024)
    check_mix(options.mix, MIX)
