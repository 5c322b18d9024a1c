"""One run: alone, or as a job of a sweep."""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pytorch_lightning.utilities.rank_zero import rank_zero_only

from dact import run_folder, sweeps, trackers
from dact.command_line import quote_path
from dact.errors import UserError
from dact.schema import Config
from dact.stopping import requeued_when_told, run_program, was_requeued

from .evaluate import evaluate
from .fit import fit
from .parts import say
from .processes import starts_others


def execute(config: Config, folder: Path, typed: Sequence[str]) -> float | None:
    """Fit or evaluate; a cluster job that was requeued goes on where it stopped.

    Args:
        config: of the run.
        folder: of the run.
        typed: the user's overrides.

    Returns:
        The accuracy, in 0..1; None if there is none.
    """
    return _execute(config, folder, typed, go_on=was_requeued())


def execute_in_sweep(
    config: Config, folder: Path, typed: Sequence[str], program: Sequence[str]
) -> float | None:
    """The same in a folder that the sweep has decided, and may have been begun before.

    A training that was finished there is left as it is, and one that was stopped goes on, also if
    `trainer.max_time` or a smaller `trainer.max_steps` stopped it. An evaluation is done again,
    since the checkpoint that it is of may be another one now.

    Args:
        config: of the job.
        folder: of the job.
        typed: the overrides of the job.
        program: run.py and Hydra's arguments, started anew for a job on several devices: the
            processes that Lightning starts repeat the command line, and would each begin the sweep
            again.

    Raises:
        UserError: a run with other options has finished in the folder.
        SystemExit: the job was asked to stop, and with it the sweep.
    """
    known = run_folder.result_in(folder)
    if known is not None and config.mode == "fit":
        _check_same(folder, known, config)
    if known is not None and config.mode == "fit" and not _goes_on(known, config):
        say(f"finished before, and left as it is: {folder} (hydra.sweep.dir=NEW starts afresh)")
        return known["accuracy"]
    with trackers.nameless():
        if starts_others(config.trainer):
            return _execute_program(config, folder, typed, program)
        return _execute(config, folder, typed, go_on=True)


def _execute(config: Config, folder: Path, typed: Sequence[str], *, go_on: bool) -> float | None:
    with requeued_when_told(lambda: rank_zero_only.rank == 0):
        if config.mode == "fit":
            return fit(config, folder, typed, go_on=go_on)
        return evaluate(config, folder, typed)


def _execute_program(
    config: Config, folder: Path, typed: Sequence[str], program: Sequence[str]
) -> float | None:
    # One job, also where a file says `hydra.mode: MULTIRUN`.
    own = ["hydra.mode=RUN", quote_path(f"hydra.run.dir={folder}")]
    if config.mode == "fit" and config.ckpt_path is None and run_folder.has_begun(folder):
        own.append("ckpt_path=last")
    status = run_program([sys.executable, *program, *typed, *own])
    if status:
        raise UserError(f"the job in {folder} ended with status {status}")
    return (run_folder.result_in(folder) or {}).get("accuracy")


def _goes_on(known: Mapping[str, Any], config: Config) -> bool:
    return sweeps.goes_on(known, asdict(config.trainer))


def _check_same(folder: Path, known: Mapping[str, Any], config: Config) -> None:
    difference = sweeps.difference_of(known, asdict(config))
    if difference:
        raise UserError(
            f"{folder} holds a finished run with {difference}: give another hydra.sweep.dir"
        )
