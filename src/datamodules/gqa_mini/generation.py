"""Writing a whole data set: chunks shared out to processes, files put in place at the end."""

import types
from collections.abc import Mapping
from pathlib import Path

from rich.console import Console
from rich.progress import Progress

from dact.datamodules.clevr_mini.workshop import put_in_place
from dact.datamodules.gqa_mini.chunks import make, plan
from dact.datamodules.gqa_mini.files import FeatureFiles, JSONFiles
from dact.datamodules.gqa_mini.options import IMAGES, Options, check_options
from dact.datamodules.gqa_mini.questions import MIX
from dact.datamodules.processes import processes


def generate(
    root: Path,
    *,
    seed: int = 0,
    images: Mapping[str, int] = types.MappingProxyType(IMAGES),
    questions_per_image: int = 16,
    rows: int = 12,
    feature_dim: int = 64,
    shards: int = 3,
    mix: Mapping[str, float] = types.MappingProxyType(MIX),
    workers: int = 1,
    progress: bool = True,
) -> None:
    """Write a small data set in GQA's format to `root`, which must not exist or be empty.

    `images`: number per split ("train", "val", "testdev", "test", "challenge");
    `questions_per_image`: in the files of all questions, of which about two in three are
    balanced; `rows`: of an image in the object features, at least 8; `feature_dim`: of an object
    and of a grid cell; `shards`: files of each kind of features and of all training questions;
    `mix`: kind of question, of `questions.KINDS`, → weight;
    `workers`: processes, which change the time but not one byte. Nothing is left behind when the
    work fails or is interrupted.

    Files, fields and programs follow GQA (Hudson & Manning 2019); the sentences are our own.
    """
    options = Options(seed, dict(images), questions_per_image, rows, feature_dim, shards, dict(mix))
    check_options(options, workers)
    with put_in_place(root, "gqa_mini") as content:
        _write(content, options, workers, progress)


def _write(root: Path, options: Options, workers: int, progress: bool) -> None:
    """All files of the data set."""
    chunks = plan(options)
    with (
        processes(workers) as submit,
        Progress(console=Console(stderr=True), disable=not progress) as bar,
        JSONFiles(root) as json_files,
        FeatureFiles(root, options, chunks) as feature_files,
    ):
        task = bar.add_task("making gqa_mini", total=sum(chunk.images for chunk in chunks))
        jobs = [submit(make, chunk) for chunk in chunks]
        jobs.reverse()
        while jobs:  # a result is let go once used, so that few are held at a time
            made = jobs.pop()()
            for path, entries in made.files.items():
                json_files.add(path, entries)
            feature_files.add(made)
            bar.advance(task, len(made.images))
