"""Time and memory of preprocessing a large GQA question file, and of opening the result.

`python scripts/measure_preprocessing.py [--questions 1000000] [--shards 1] [--output M.json]`

The questions of a small generated GQA are written again and again under new ids, in one file or in
shards, then packed in a fresh process; then four fresh processes open the packed file, read 64
questions each and say what they took. Linux only.
"""

import argparse
import json
import multiprocessing
import resource
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np
from rich.progress import track

from dact.datamodules import GQADataModule, PackedQuestions
from dact.datamodules.gqa_mini import generate
from dact.one_line import one_line_errors

SPLIT = "train_all"
READERS = 4


def many(root: Path, count: int) -> Iterator[tuple[str, dict[str, Any]]]:
    """`count` questions under ids of their own."""
    files = sorted((root / "questions" / f"{SPLIT}_questions").glob("*.json"))
    entries = [entry for file in files for entry in json.loads(file.read_text()).values()]
    for number, entry in zip(track(range(count), "writing"), cycle(entries), strict=False):
        yield f"{number:08d}", entry


def write_shards(root: Path, count: int, shards: int) -> int:
    """Replace the questions of `SPLIT` by `count` ones in `shards` files; returns their bytes."""
    folder = root / "questions" / f"{SPLIT}_questions"
    questions = many(root, count)
    written = [folder.with_name(f"part_{i}.json") for i in range(shards)]
    for i, path in enumerate(written):
        size = (i + 1) * count // shards - i * count // shards
        with path.open("w", encoding="utf-8") as file:
            for position in range(size):
                name, entry = next(questions)
                file.write(f'{"," if position else "{"}"{name}":{json.dumps(entry)}')
            file.write("}")
    for old in folder.glob("*.json"):
        old.unlink()
    for path in written:
        path.rename(folder / path.name)
    return sum(path.stat().st_size for path in folder.glob("*.json"))


def preprocess(root: Path) -> tuple[float, float]:
    """Seconds, and peak MiB of this process or the largest of its workers."""
    start = time.perf_counter()
    data = GQADataModule(root, train_split=SPLIT, val_split="val_balanced")
    data.prepare_data("fit")
    took = time.perf_counter() - start
    kinds = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    return took, max(resource.getrusage(kind).ru_maxrss for kind in kinds) / 1024


def open_packed(path: Path) -> tuple[float, float]:
    """Seconds to open the file and read 64 questions, and MiB of its own that this takes."""
    before, start = private(), time.perf_counter()
    questions = PackedQuestions(path)
    questions.tokens_of(np.linspace(0, len(questions) - 1, 64).astype(np.int64))
    return time.perf_counter() - start, private() - before


def private() -> float:
    """MiB of this process that no file backs, which no other process shares."""
    lines = Path("/proc/self/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith("Anonymous")) / 1024


def measure(count: int, shards: int) -> dict[str, float]:
    """All figures."""
    context = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "gqa"
        generate(root, images={"train": 200, "val": 20, "testdev": 20}, rows=9, feature_dim=4)
        size = write_shards(root, count, shards)
        with ProcessPoolExecutor(1, context) as pool:
            seconds, peak = pool.submit(preprocess, root).result()
        packed = root / ".dact" / f"questions_{SPLIT}.h5"
        with ProcessPoolExecutor(READERS, context) as pool:
            opened = list(pool.map(open_packed, [packed] * READERS))
        return {
            "questions": count,
            "shards": shards,
            "source_mb": size / 1e6,
            "packed_mb": packed.stat().st_size / 1e6,
            "seconds": seconds,
            "peak_mib": peak,
            "open_seconds": max(seconds for seconds, _ in opened),
            "open_private_mib": max(mib for _, mib in opened),
        }


def main() -> None:
    """Read the command line, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--questions", type=int, default=1_000_000)
    parser.add_argument("--shards", type=int, default=1, help="files (default: 1)")
    parser.add_argument("--output", type=Path, help="write the figures as JSON")
    arguments = parser.parse_args()
    figures = measure(arguments.questions, arguments.shards)
    text = json.dumps({name: round(value, 3) for name, value in figures.items()}, indent=1)
    print(text)
    if arguments.output:
        arguments.output.write_text(text + "\n")


if __name__ == "__main__":
    sys.exit(one_line_errors(main))
