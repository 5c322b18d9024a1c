"""One line at the end of a program that its user, or a full disk, has made fail; no traceback."""

import errno
import functools
import os
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from dact import command_line, run_folder
from dact.errors import UserError
from dact.locks import hdf5_lock_problem
from dact.streams import set_up_output

#: In the environment when it was us who set HYDRA_FULL_ERROR.
_SET_BY_US = "DACT_ONE_LINE_ERRORS"
#: Seconds that another process than the first waits before it says what was wrong.
_GRACE = 5.0
#: What Lightning, torchrun and SLURM tell a process; 0 is the first.
_RANKS = ("LOCAL_RANK", "RANK", "SLURM_PROCID")
_SAME = "run the same command again"
#: Where Hydra makes the folders of runs and sweeps.
_MAKERS_OF_FOLDERS = ("hydra.core.utils", "hydra._internal.core_plugins.basic_sweeper")
#: What Python's `Path.expanduser` says.
_NO_HOME = "Could not determine home directory."
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def one_line_errors(main: Callable[[], Any], conf: Path | None = None) -> int:
    """Run a program; a mistake of the user ends it with one line instead of a traceback.

    With HYDRA_FULL_ERROR=1 in the environment the traceback is shown after all.

    Args:
        main: the program, with or without Hydra.
        conf: folder of the config groups, to name the nearest choice.
    """
    set_up_output()
    if _traceback_wanted():
        main()
        return 0
    # Makes Hydra raise instead of printing tracebacks of its own; the processes that Lightning
    # starts inherit both.
    os.environ["HYDRA_FULL_ERROR"] = os.environ[_SET_BY_US] = "1"
    try:
        main()
    except Exception as error:
        line = _line(error) or _line_of_hydra(error, conf)
        if line is None:
            raise
        print(f"error: {line}", file=sys.stderr)
        return 1
    return 0


def ends_in_one_line(task: Callable[[DictConfig], Any]) -> Callable[[DictConfig], Any]:
    """Decorator under `hydra.main`: a user's mistake ends the program before Hydra reports it.

    Relative paths mean the folder where the command was typed, also with `hydra.job.chdir=true`.
    """

    @functools.wraps(task)
    def wrapped(cfg: DictConfig) -> Any:
        if HydraConfig.initialized():
            os.chdir(HydraConfig.get().runtime.cwd)  # Hydra goes back by itself
        try:
            return task(cfg)
        except Exception as error:
            line = _line(error, again=_again(cfg))
            if line is None or _traceback_wanted():
                raise
            if any(os.environ.get(name, "0") not in ("", "0") for name in _RANKS):
                # The first process has most likely found the same, and ends this one meanwhile.
                time.sleep(_GRACE)
            if HydraConfig.initialized() and HydraConfig.get().mode == RunMode.MULTIRUN:
                # The other jobs shall run; Hydra raises it again when they have.
                print(f"error: {line}", file=sys.stderr)
                raise
            raise SystemExit(f"error: {line}") from error

    return wrapped


def _traceback_wanted() -> bool:
    return os.environ.get("HYDRA_FULL_ERROR") == "1" and _SET_BY_US not in os.environ


def _again(cfg: DictConfig) -> str:
    """How to go on with what Hydra runs; a sweep, and all that is no training, as before."""
    hydra = HydraConfig.get() if HydraConfig.initialized() else None
    if hydra is None or hydra.mode == RunMode.MULTIRUN or cfg.get("mode") != "fit":
        return _SAME
    begun = run_folder.has_begun(Path(hydra.runtime.output_dir))
    return "go on with ckpt_path=last" if begun else _SAME


def _line(error: BaseException, again: str = _SAME) -> str | None:
    """What to say of a mistake of the user or a full disk; None of anything else."""
    if isinstance(error, UserError):
        return str(error)
    if isinstance(error, RuntimeError) and str(error) == _NO_HOME:
        return "a path begins with ~, and the home that it means is unknown here: write it in full"
    if isinstance(error, OSError) and error.errno in _NO_ROOM:
        where = f"{error.filename}: " if error.filename else ""
        return f"{where}{os.strerror(error.errno)}: make room and {again}"
    if isinstance(error, OSError) and error.errno in (errno.EMFILE, errno.ENFILE):
        where = f"{error.filename}: " if error.filename else ""
        return (
            f"{where}{os.strerror(error.errno)}: raise the limit with `ulimit -n 4096` and {again}"
        )
    if isinstance(error, OSError) and error.errno == errno.ENAMETOOLONG:
        return f"{str(error.filename)[:60]}…: {os.strerror(error.errno)}"
    if isinstance(error, OSError) and (problem := hdf5_lock_problem(error)):
        return f"an HDF5 file is {problem}"
    return None


def _line_of_hydra(error: Exception, conf: Path | None) -> str | None:
    if isinstance(error, ValueError) and str(error).startswith("Config group override"):
        return f"{error}: give each group the name of one of its files, in quotes if it is no text"
    if isinstance(error, OSError) and _is_of_a_run_folder(error):
        return (
            f"cannot write to {error.filename}: {error.strerror}; give another place with "
            "hydra.run.dir=PATH (of a sweep: hydra.sweep.dir=PATH)"
        )
    if not isinstance(error, HydraException | OmegaConfBaseException):
        return None
    if mistake := _user_error_behind(error):
        return str(mistake)
    cause = error.__cause__ if isinstance(error.__cause__, OmegaConfBaseException) else error
    lines = [line for line in str(error).splitlines() if line.strip()]
    if cause is not error:
        lines.append(str(cause).splitlines()[0])
    meant = command_line.what_was_meant(str(error), sys.argv[1:], conf)
    return "\n".join([*lines, meant]).rstrip()


def _is_of_a_run_folder(error: OSError) -> bool:
    """Whether it was raised where Hydra itself makes the folder of a run or a sweep."""
    frames = (frame for frame, _ in traceback.walk_tb(error.__traceback__))
    names = [frame.f_globals.get("__name__", "") for frame in frames]
    return [name for name in names if not name.startswith("pathlib")][-1] in _MAKERS_OF_FOLDERS


def _user_error_behind(error: BaseException | None) -> UserError | None:
    """One of ours that was raised in a resolver, which OmegaConf wraps in errors of its own."""
    while error is not None and not isinstance(error, UserError):
        error = error.__cause__ or error.__context__
    return error
