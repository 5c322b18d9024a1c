"""Runs the plan of `scripts/reproduce.py`: several trainings at once, resumed when stopped."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from reproduce_plan import Size, Training, command
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from dact import run_folder
from dact.command_line import quote_path
from dact.errors import UserError

RUN = Path(__file__).parents[1] / "run.py"
#: In a training's folder: how long each attempt took; what was typed, and at which commit.
_SECONDS, _ORIGIN = "seconds.txt", "origin.json"


def last_checkpoint(folder: Path, name: str) -> Path:
    """Of a training."""
    return folder / name / run_folder.CHECKPOINTS / run_folder.LAST


def seconds(folder: Path, trainings: Sequence[Training]) -> float:
    """What all trainings took together, one after the other."""
    paths = [folder / training.name / _SECONDS for training in trainings]
    return sum(float(line) for p in paths if p.exists() for line in p.read_text().split())


def commits(folder: Path, trainings: Sequence[Training]) -> list[str]:
    """Of the code that the trainings were begun with."""
    origins = [json.loads((folder / one.name / _ORIGIN).read_text()) for one in trainings]
    return sorted({origin["commit"] for origin in origins})


def commit() -> str:
    """Of this code, marked if it was changed since."""
    git = ["git", "-C", str(RUN.parent), "describe", "--always", "--dirty", "--abbrev=12"]
    try:
        found = subprocess.run([*git, "--exclude=*"], capture_output=True, text=True, check=False)
    except FileNotFoundError:  # no git
        return "unknown"
    return found.stdout.strip() or "unknown"


class Trainer:
    """Trains what is not trained yet, each training a program of its own.

    Args:
        folder: in which each training has a folder.
        size: of the plan.
        more: overrides of all runs.
    """

    def __init__(self, folder: Path, size: Size, more: Sequence[str]) -> None:
        self.folder = folder
        self.size = size
        self.more = list(more)
        self._running: set[subprocess.Popen] = set()
        # Once either is set, nothing is begun any more.
        self._failed, self._stopped = threading.Event(), threading.Event()
        self._commit = commit()

    def run_all(self, trainings: Sequence[Training], jobs: int) -> None:
        """Train the plan, so many at once; what others start from comes before them.

        Raises:
            UserError: a training failed; the rest is not begun.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        self._failed.clear()
        self._stopped.clear()
        text = TextColumn("{task.description}")
        with Progress(BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), text) as progress:
            bar = progress.add_task("", total=len(trainings))
            with self._stops():
                self._run(
                    trainings, jobs, lambda name: progress.update(bar, description=name, advance=1)
                )

    def _run(self, trainings: Sequence[Training], jobs: int, done: Callable[[str], None]) -> None:
        futures: dict[str, Future[None]] = {}

        def train(training: Training) -> None:
            try:
                if training.starts_from is not None:  # begun before, so no place is waited for
                    futures[training.starts_from].result()
                if not (self._failed.is_set() or self._stopped.is_set()):
                    self._train(training)
                    done(training.name)
            except BaseException:
                self._failed.set()  # before this thread takes the next one
                raise

        with ThreadPoolExecutor(jobs) as pool:
            try:
                for training in trainings:
                    futures[training.name] = pool.submit(train, training)
                finished, _ = wait(futures.values(), return_when=FIRST_EXCEPTION)
                for future in finished:
                    future.result()
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise

    @contextmanager
    def _stops(self) -> Iterator[None]:
        """Inside, a request to stop goes on to the trainings, which save."""

        def stop(number: int, frame: FrameType | None) -> None:
            self._stopped.set()
            for program in list(self._running):
                program.send_signal(signal.SIGTERM)
            raise SystemExit(128 + number)

        numbers = (signal.SIGTERM, signal.SIGINT)
        before = {number: signal.signal(number, stop) for number in numbers}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _train(self, training: Training) -> None:
        """Run one training to its end, or go on with it."""
        own = self.folder / training.name
        typed = command(training, self.size, self.more)
        self._check_origin(own, typed)
        known = run_folder.result_in(own)
        if known is not None and not known.get("stopped"):
            return
        typed.append(f"data.cache_dir={self.folder / 'cache'}")
        typed.append(quote_path(f"hydra.run.dir={own}"))
        if training.starts_from is not None:
            typed.append(f"warm_start={last_checkpoint(self.folder, training.starts_from)}")
        if run_folder.has_begun(own):
            typed.append("ckpt_path=last")
        log = self.folder / f"{training.name}.log"
        begin = time.monotonic()
        status = self._call(typed, log)
        with (own / _SECONDS).open("a") as file:
            file.write(f"{time.monotonic() - begin:.1f}\n")
        if status:
            lines = [
                line for line in log.read_text("utf-8", "replace").splitlines() if line.strip()
            ]
            raise UserError(f"{training.name} failed: {lines[-1] if lines else status} ({log})")

    def _call(self, typed: Sequence[str], log: Path) -> int:
        environment = os.environ | {"OMP_NUM_THREADS": "1"}
        with log.open("a") as said:
            program = subprocess.Popen(
                [sys.executable, str(RUN), *typed],
                stdout=said,
                stderr=subprocess.STDOUT,
                env=environment,
            )
            self._running.add(program)
            if self._stopped.is_set():  # begun too late to be told
                program.send_signal(signal.SIGTERM)
            try:
                return program.wait()
            finally:
                self._running.discard(program)

    def _check_origin(self, own: Path, typed: Sequence[str]) -> None:
        """Note what is trained in a folder, or see that it is this.

        Raises:
            UserError: it is something else.
        """
        path = own / _ORIGIN
        if path.exists():
            if json.loads(path.read_text())["typed"] != list(typed):
                raise UserError(f"{own} was trained with other options: give another --work")
            return
        own.mkdir(parents=True, exist_ok=True)
        run_folder.write_whole(
            path, json.dumps({"typed": list(typed), "commit": self._commit}) + "\n"
        )
