"""Runs the plan of `scripts/reproduce.py`: several trainings at once, resumed when stopped."""

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from pathlib import Path

from reproduce_plan import Size, Training, command
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from dact import run_folder
from dact.command_line import quote_path
from dact.errors import UserError

RUN = Path(__file__).parents[1] / "run.py"
#: In a training's folder: how long it took.
_SECONDS = "seconds.txt"


def last_checkpoint(folder: Path, name: str) -> Path:
    """Of a training."""
    return folder / name / run_folder.CHECKPOINTS / run_folder.LAST


def seconds(folder: Path, trainings: Sequence[Training]) -> float:
    """What all trainings took together, one after the other."""
    paths = [folder / training.name / _SECONDS for training in trainings]
    return sum(float(path.read_text()) for path in paths if path.exists())


def run_all(
    trainings: Sequence[Training], folder: Path, size: Size, more: Sequence[str], jobs: int
) -> None:
    """Train what is not trained yet.

    Args:
        trainings: the plan; what others start from comes before them.
        folder: in which each has its own.
        size: of the plan.
        more: overrides of all runs.
        jobs: how many run at once.

    Raises:
        UserError: one of them failed; the rest is not begun.
    """
    folder.mkdir(parents=True, exist_ok=True)
    columns = (
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.description}"),
    )
    with Progress(*columns) as progress, ThreadPoolExecutor(jobs) as pool:
        bar = progress.add_task("", total=len(trainings))
        futures: dict[str, Future[None]] = {}

        def train(training: Training) -> None:
            if (
                training.starts_from is not None
            ):  # was begun before, so this waits for no free place
                futures[training.starts_from].result()
            progress.update(bar, description=training.name)
            _train(training, folder, size, more)
            progress.advance(bar)

        for training in trainings:
            futures[training.name] = pool.submit(train, training)
        done, _ = wait(futures.values(), return_when=FIRST_EXCEPTION)
        failed = [future for future in done if future.exception() is not None]
        if failed:
            pool.shutdown(wait=True, cancel_futures=True)
            raise failed[0].exception()


def _train(training: Training, folder: Path, size: Size, more: Sequence[str]) -> None:
    """Run one training to its end, or go on with it."""
    own = folder / training.name
    if run_folder.result_in(own) is not None:
        return
    typed = command(training, size, more)
    if training.starts_from is not None:
        typed.append(f"warm_start={last_checkpoint(folder, training.starts_from)}")
    if run_folder.has_begun(own):
        typed.append("ckpt_path=last")
    typed.append(quote_path(f"hydra.run.dir={own}"))
    log = folder / f"{training.name}.log"
    begin = time.monotonic()
    with log.open("a") as said:
        status = subprocess.run(
            [sys.executable, str(RUN), *typed],
            stdout=said,
            stderr=subprocess.STDOUT,
            env=os.environ | {"OMP_NUM_THREADS": "1"},
            check=False,
        ).returncode
    if status:
        lines = [line for line in log.read_text("utf-8").splitlines() if line.strip()]
        raise UserError(f"{training.name} failed: {lines[-1] if lines else status} ({log})")
    (own / _SECONDS).write_text(f"{time.monotonic() - begin:.1f}\n")
