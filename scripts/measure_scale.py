"""What a run costs besides its arithmetic: checkpoints, further processes, going on after a stop.

`python scripts/measure_scale.py [--repeats 3] [--steps 300]`

Checkpoints have the size of the paper's network for CLEVR. On the CPU, two processes of one thread
are compared with one of two threads, at the same number of questions for each step, by the time of
the steps between two lengths of a training; in turns, as ratios, since machines are noisy.
"""

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from rich.progress import track

from dact import checkpoint_file
from dact.models import build_network
from dact.one_line import one_line_errors
from dact.options import GateOptions, NetworkOptions, PonderOptions

RUN = Path(__file__).parents[1] / "run.py"
#: Of the paper: width, steps, words and answers of CLEVR, channels of ResNet-101.
NETWORK = NetworkOptions(name="dact", dim=512, max_steps=12, embedding_dim=300, gate=GateOptions())
SIZES = {"num_words": 90, "num_answers": 28, "feature_dim": 1024, "grid": True}
ALONE = ("trainer=cpu", "threads=2", "data.batch_size=64")
TWO = ("trainer=ddp_cpu", "threads=1", "data.batch_size=32")


def seconds(action: Callable[[], object]) -> float:
    """What it takes to do something."""
    begin = time.perf_counter()
    action()
    return time.perf_counter() - begin


def train(*typed: str, root: Path, steps: int) -> None:
    """A training of so many steps on `clevr_mini`, and nothing else."""
    common = ("model=mac", f"data.root={root}", "logger=none", "trainer.limit_val_batches=0")
    limits = ("trainer.max_epochs=1000", f"trainer.max_steps={steps}", "keep_checkpoints=1")
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, str(RUN), *common, *limits, *typed, f"hydra.run.dir={folder}"]
        subprocess.run(command, check=True, capture_output=True)


def per_step(typed: Sequence[str], root: Path, steps: int) -> float:
    """Seconds of a step: the difference of two trainings leaves out what every one begins with."""
    short, long = (seconds(lambda n=n: train(*typed, root=root, steps=n)) for n in (10, 10 + steps))
    return (long - short) / steps


def measure_checkpoint() -> tuple[float, float, float, float]:
    """Million parameters, MB of a checkpoint, seconds to write it and to check and read it."""
    network = build_network(NETWORK, ponder=PonderOptions(cost=5e-3), **SIZES)
    weights = network.state_dict()
    copies = {"raw": weights, "average": weights, "first moment": weights, "second": weights}
    content = {name: {k: v.clone() for k, v in part.items()} for name, part in copies.items()}
    with tempfile.TemporaryDirectory(dir=".") as folder:
        path = Path(folder, "x.ckpt")
        written = seconds(lambda: checkpoint_file.write(path, content))
        read = seconds(lambda: checkpoint_file.read(path))
        size = path.stat().st_size / 1e6
    return sum(p.numel() for p in network.parameters()) / 1e6, size, written, read


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--root", type=Path, default=Path("data/clevr_mini"))
    arguments = parser.parse_args()
    torch.set_num_threads(2)
    parameters, size, written, read = measure_checkpoint()
    print(
        f"{parameters:.1f} million parameters; a checkpoint: {size:.0f} MB, written and synced in"
    )
    print(f"{written:.2f} s, compared with its checksums and read in {read:.2f} s")
    train(*ALONE, root=arguments.root, steps=10)  # makes the data
    found: dict[str, list[float]] = {"two / one": [], "a checkpoint at every 25th step": []}
    for _ in track(range(arguments.repeats), "training"):
        alone, two, often = (
            per_step(typed, arguments.root, arguments.steps)
            for typed in (ALONE, TWO, (*ALONE, "checkpoint_every=25"))
        )
        found["two / one"].append(two / alone)
        found["a checkpoint at every 25th step"].append(often / alone)
    for name, ratios in found.items():
        low, high = min(ratios), max(ratios)
        print(f"time of a step, {name}: {statistics.median(ratios):.2f} ({low:.2f}–{high:.2f})")


if __name__ == "__main__":
    sys.exit(one_line_errors(main))
