"""The report of a sweep: results from checkpoints, times measured here and now."""

import statistics
import time
from collections.abc import Sequence
from pathlib import Path

import torch
from rich.progress import track

from dact import run_folder
from dact.batch import VQABatch
from dact.errors import UserError
from dact.explain import sweep_figures
from dact.explain.sweep import Run, Setting, settings_of, variants, write_csv
from dact.explain.writing import Captioned, write_page
from dact.models import MACNetwork

from .restore import Restored, open_data, restore

#: How often each network is timed; they take turns, so that a busy moment meets all of them.
REPEATS = 5


def write_sweep_report(
    output: Path,
    folders: Sequence[Path],
    *,
    root: Path | None = None,
    questions: int = 256,
    tokenizer: str | None = None,
) -> Path:
    """Write `sweep.html`, its figures as PNG and SVG, `settings.csv` and `runs.csv`.

    Args:
        output: folder, made if it is not there.
        folders: searched for runs, at any depth.
        root: folder of the data, if it has moved.
        questions: answered at once where times are measured.
        tokenizer: see `restore`.

    Returns:
        Where the page is.

    Raises:
        UserError: there are no runs with results.
    """
    restored, notes = find_runs(folders, tokenizer)
    times: list[float | None] = [None] * len(restored)
    try:
        times = list(measure(restored, root, questions))
    except UserError as error:
        notes.append(f"Times were not measured: {error}")
    differences = variants([one.description.config for one in restored])
    runs = [describe_run(*one) for one in zip(restored, differences, times, strict=True)]
    settings = settings_of(runs)
    where = torch.cuda.get_device_name() if torch.cuda.is_available() else "the CPU"
    path = write_page(
        output,
        "sweep.html",
        _drawn(settings),
        title=f"Sweep: {len(runs)} runs, {len(settings)} settings",
        subtitle=f"{', '.join(map(str, folders))}; times on {where}, {questions} questions at once",
        settings=settings,
        notes=notes,
    )
    write_csv(output / "settings.csv", settings)
    write_csv(output / "runs.csv", runs)
    return path


def _drawn(settings: Sequence[Setting]) -> dict[str, Captioned]:
    shown = {"accuracy": ("accuracy against steps", "accuracy", "accuracy on validation")}
    if all(setting.milliseconds is not None for setting in settings):
        shown["time"] = ("time against steps", "milliseconds", "ms per question, measured")
    return {
        name: Captioned(caption, sweep_figures.sweep_map(settings, value, label))
        for name, (caption, value, label) in shown.items()
    }


def find_runs(
    folders: Sequence[Path], tokenizer: str | None = None
) -> tuple[list[Restored], list[str]]:
    """The newest checkpoint of every run in some folders, and what was left out and why.

    Args:
        folders: searched at any depth.
        tokenizer: see `restore`.

    Raises:
        UserError: a folder is not there, or none of them has a run with results.
    """
    found: dict[Path, Restored] = {}
    notes = []
    for folder in folders:
        if not folder.is_dir():
            raise UserError(f"--sweep {folder}: no such folder")
        for last in sorted(folder.rglob(f"{run_folder.CHECKPOINTS}/{run_folder.LAST}")):
            if "warm_start" in last.relative_to(folder).parts:
                continue  # the MAC that a run trained for itself to start from
            try:
                one = restore(last, tokenizer)
            except UserError as error:
                notes.append(f"Left out: {error}")
                continue
            if "all" not in one.results:
                notes.append(f"Left out: {last} was never validated")
                continue
            found[last.resolve()] = one  # folders may lie in each other
            if one.epochs_left:
                notes.append(f"Not finished: {last} has {one.epochs_left} epochs to go")
    if not found:
        rest = f" ({notes[0]})" if notes else ""
        raise UserError(f"no finished runs in {', '.join(map(str, folders))}{rest}")
    return list(found.values()), notes


def describe_run(restored: Restored, variant: str, milliseconds: float | None) -> Run:
    """A run's settings and its result on validation."""
    config, means = restored.description.config, restored.results["all"]
    return Run(
        restored.run,
        restored.data_name,
        config["model"]["name"],
        config["model"]["max_steps"],
        config["ponder"]["cost"],
        config.get("seed", 0),
        variant,
        means.accuracy,
        means.steps,
        milliseconds,
        config["ponder"].get("target_steps"),
    )


def measure(restored: Sequence[Restored], root: Path | None, questions: int) -> list[float]:
    """Milliseconds per question of each network, the median of some rounds.

    Args:
        restored: the networks, each of which answers questions of its own data.
        root: folder of the data, if it has moved.
        questions: answered at once.
    """
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    batches: dict[tuple, VQABatch] = {}
    for one in restored:
        key = _data_key(one)
        if key not in batches:
            batches[key] = _first_questions(one, root, questions, device)
        one.network.to(device)
    times: list[list[float]] = [[] for _ in restored]
    for _ in track(range(REPEATS + 1), "measuring times"):
        for one, own in zip(restored, times, strict=True):
            own.append(_milliseconds(one.network, batches[_data_key(one)]))
    return [statistics.median(own[1:]) for own in times]  # the first round warms up


def _data_key(restored: Restored) -> tuple:
    data = restored.description.config["data"]
    return (data["name"], data.get("root"), data["features"], restored.vocabulary.fingerprint)


def _first_questions(
    restored: Restored, root: Path | None, questions: int, device: torch.device
) -> VQABatch:
    data = open_data(restored, root)
    dataset = data.dataset(data.splits_of("predict")[-1])
    batch = dataset.__getitems__(range(min(questions, len(dataset))))
    return VQABatch(*(part.to(device) for part in batch))


@torch.inference_mode()
def _milliseconds(network: MACNetwork, batch: VQABatch) -> float:
    start = time.perf_counter()
    steps = network(batch).steps
    steps.sum().item()  # waits for a GPU
    return 1e3 * (time.perf_counter() - start) / len(steps)
