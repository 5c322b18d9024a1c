"""One run: alone, or as a job of a sweep."""

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from dact import run_folder
from dact.command_line import quote_path
from dact.errors import UserError
from dact.schema import Config
from dact.stopping import was_requeued

from .evaluate import evaluate
from .fit import fit
from .parts import say
from .processes import starts_others

#: Options that do not make a finished job another one.
_IRRELEVANT = ("ckpt_path", "logger")


def execute(config: Config, folder: Path, typed: Sequence[str]) -> float | None:
    """Fit or evaluate; a cluster job that was requeued goes on where it stopped.

    Args:
        config: of the run.
        folder: of the run.
        typed: the user's overrides.

    Returns:
        The accuracy, in 0..1; None if there is none.
    """
    if was_requeued():
        config = _gone_on_with(config, folder)
    return (fit if config.mode == "fit" else evaluate)(config, folder, typed)


def execute_in_sweep(
    config: Config, folder: Path, typed: Sequence[str], program: Path
) -> float | None:
    """The same in a folder that the sweep has decided, and may have been begun before.

    Args:
        config: of the job.
        folder: of the job. If it was finished there nothing is done; if it was stopped it goes on.
        typed: the overrides of the job.
        program: run.py, which is started anew for a job on several devices: the processes that
            Lightning starts repeat the command line, and would each begin the sweep again.

    Raises:
        UserError: a run with other options has finished in the folder.
    """
    known = run_folder.result_in(folder)
    if known is not None:
        _check_same(folder, known["options"], config)
        say(f"finished before, and left as it is: {folder} (hydra.sweep.dir=NEW starts afresh)")
        return known["accuracy"]
    config = _gone_on_with(config, folder)
    if not starts_others(config.trainer):
        return execute(config, folder, typed)
    own = [quote_path(f"hydra.run.dir={folder}")]
    if config.ckpt_path == "last" and not any(text.startswith("ckpt_path=") for text in typed):
        own.append("ckpt_path=last")
    done = subprocess.run([sys.executable, str(program), *typed, *own], check=False)
    if done.returncode:
        raise UserError(f"the job in {folder} ended with status {done.returncode}")
    return (run_folder.result_in(folder) or {}).get("accuracy")


def _gone_on_with(config: Config, folder: Path) -> Config:
    """Resume what was begun in the folder."""
    if config.mode == "fit" and config.ckpt_path is None and run_folder.has_begun(folder):
        return replace(config, ckpt_path="last")
    return config


def _check_same(folder: Path, known: Mapping[str, Any], config: Config) -> None:
    now = json.loads(json.dumps(asdict(config)))
    difference = _first_difference(known, {k: v for k, v in now.items() if k not in _IRRELEVANT})
    if difference:
        raise UserError(
            f"{folder} holds a finished run with {difference}: give another hydra.sweep.dir"
        )


def _first_difference(known: Any, now: Any, name: str = "") -> str | None:
    if isinstance(known, dict) and isinstance(now, dict):
        for key in now:
            own = f"{name}.{key}" if name else key
            if found := _first_difference(known.get(key), now[key], own):
                return found
        return None
    return None if known == now else f"{name}={known}, not {now}"
