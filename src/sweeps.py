"""Sweeps: their folders and those of their jobs, found again, and sweeps defined in a file."""

import copy
import itertools
import json
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.experimental.callback import Callback
from omegaconf import DictConfig, OmegaConf, open_dict, read_write
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from dact import command_line, run_folder
from dact.errors import UserError
from dact.schema import Config

#: Where sweeps are, by the time when they began.
SWEEPS = Path("logs", "multirun")
#: Options that do not make a job another one.
_IRRELEVANT = ("ckpt_path", "logger")
#: Options of the trainer that may stop a run before it is over.
_LIMITS = ("max_steps", "max_time")
#: Hydra's own options that are the sweep's, and not those of each of its jobs.
_OF_THE_SWEEP = ("hydra.mode", "hydra.run.", "hydra.sweep", "hydra/sweeper", "hydra.launcher")
_OF_THE_SWEEP += ("hydra/launcher", "hydra.job.num", "hydra.job.id")
#: What may go wrong with a file that a killed process has left.
_BROKEN = (OSError, ValueError, YAMLError, OmegaConfBaseException)


def register() -> None:
    """Make our resolvers known to Hydra."""
    OmegaConf.register_new_resolver("job_folder", _job_folder, replace=True)
    # The jobs of a sweep have the cache, and with it the folder, of the sweep itself.
    OmegaConf.register_new_resolver("sweep_folder", sweep_folder, replace=True, use_cache=True)


def sweep_folder(overrides: Any, name: str, sources: Any) -> str:
    """The folder of the newest sweep that was typed in the same words, or a new one.

    Args:
        overrides: as Hydra has noted them, `task` and `hydra`.
        name: of the main configuration.
        sources: where configurations are.
    """
    own = _words(overrides, name, sources)
    for path in sorted(SWEEPS.glob("*/multirun.yaml"), reverse=True):
        try:
            noted = OmegaConf.load(path).hydra
            known = _words(noted.overrides, noted.job.config_name, noted.runtime.config_sources)
        except _BROKEN:
            continue
        if _same_words(own, known):
            return str(path.parent)
    return str(_new_folder(SWEEPS / time.strftime("%Y-%m-%d_%H-%M-%S")))


def _words(overrides: Any, name: str, sources: Any) -> dict[str, Any]:
    """What a sweep is known by: overrides, main configuration and folders of configurations."""
    swept = ("hydra.sweeper.params", "hydra.searchpath")
    typed = (text.lstrip("+~") for text in overrides.hydra)
    places = [(one.provider, one.path) for one in sources]
    return {
        "overrides": [text.lstrip("+~") for text in overrides.task],
        "of Hydra": [text for text in typed if text.startswith(swept)],
        "name": name,
        "main": [path for provider, path in places if provider == "main"],
        "other": [one for one in places if one[0] not in ("main", "hydra", "schema")],
    }


def _same_words(own: Mapping[str, Any], known: Mapping[str, Any]) -> bool:
    moved = not any(Path(path).exists() for path in known["main"])  # the program, with its folder
    return all(own[key] == known[key] or (key == "main" and moved) for key in own)


def _new_folder(wanted: Path) -> Path:
    """Make a folder of this name, or with a number after it if somebody has just made that.

    Raises:
        UserError: nothing can be written there.
    """
    for number in itertools.count(1):
        folder = wanted if number == 1 else wanted.with_name(f"{wanted.name}-{number}")
        try:
            folder.mkdir(parents=True)
        except FileExistsError:
            continue
        except OSError as error:
            raise UserError(
                f"cannot write to {folder.parent}: {error.strerror}; "
                "give another place with hydra.sweep.dir=PATH"
            ) from error
        return folder
    raise AssertionError("there is always another number")


def _job_folder(number: int, name: str, *, _root_: DictConfig) -> str:
    """Resolver: name of the folder of the job whose whole configuration is `_root_`."""
    plain = copy.deepcopy(_root_)
    with read_write(plain), open_dict(plain):
        del plain["hydra"]
    try:
        options = OmegaConf.to_container(plain, resolve=True)
    except OmegaConfBaseException:  # of which the job itself will tell
        return f"{number}-{name}"
    sweep, overrides = Path(_root_.hydra.sweep.dir), list(_root_.hydra.overrides.task)
    return job_folder(sweep, number, name, options, overrides)


def job_folder(
    sweep: Path, number: int, name: str, options: Mapping[str, Any], overrides: Sequence[str]
) -> str:
    """Name of the folder of a job in that of its sweep.

    A training that was begun there under another number, before the sweep was changed in its file,
    keeps its folder. One whose number another job has taken then gets a name of its own.

    Args:
        sweep: folder of the sweep.
        number: of the job.
        name: of its configuration.
        options: the whole configuration of the job.
        overrides: what makes it this job of the sweep.
    """
    wanted = f"{number}-{name}"
    if options["mode"] != "fit":  # which is done again
        return wanted
    pattern = re.compile(rf"\d+-{re.escape(name)}(-\d+)?")
    known = sorted(path for path in sweep.glob(f"*-{name}*") if pattern.fullmatch(path.name))
    for folder in known:
        before = _noted_in(folder)
        if before is None or _starts_elsewhere(folder, overrides):
            continue
        if difference_of(before, options) is None:
            return folder.name
    candidates = (wanted if i == 1 else f"{wanted}-{i}" for i in itertools.count(1))
    return next(one for one in candidates if _may_be(sweep / one, overrides))


def _noted_in(folder: Path) -> dict[str, Any] | None:
    """What a folder says of its training: `options`, and `stopped` if a limit stopped it."""
    if (result := run_folder.result_in(folder)) is not None:
        return result
    try:
        return {"options": OmegaConf.to_container(OmegaConf.load(folder / ".hydra/config.yaml"))}
    except _BROKEN:
        return None


def _may_be(folder: Path, overrides: Sequence[str]) -> bool:
    """Whether a folder holds no job, or the one that these overrides make."""
    known = _typed_for(folder)
    if known is None:
        return True
    return _distinct(known) == _distinct(overrides) and not _starts_elsewhere(folder, overrides)


def _typed_for(folder: Path) -> list[str] | None:
    """The overrides of the job in a folder; None if there is none."""
    try:
        return list(OmegaConf.load(folder / ".hydra" / "overrides.yaml"))
    except _BROKEN:
        return None


def _starts_elsewhere(folder: Path, overrides: Sequence[str]) -> bool:
    """Whether the job in a folder and the one of these overrides start from two given files."""
    own, known = _given_start(overrides), _given_start(_typed_for(folder) or ())
    return None not in (own, known) and own != known


def _given_start(overrides: Sequence[str]) -> str | None:
    """The value of `ckpt_path` if it is a file; `last` is in the folder itself."""
    values = [t.partition("=")[2] for t in overrides if command_line.key_of(t) == "ckpt_path"]
    return values[-1] if values and values[-1].strip("'") not in ("last", "null", "") else None


def _distinct(overrides: Sequence[str]) -> set[str]:
    kept = (text.lstrip("+") for text in overrides)
    return {text for text in kept if command_line.key_of(text) not in _IRRELEVANT}


def goes_on(result: Mapping[str, Any], trainer: Mapping[str, Any]) -> bool:
    """Whether a job that a limit of steps or time stopped may now train further.

    Args:
        result: what the folder of the job says of it.
        trainer: options of the trainer now.
    """
    most, stopped = trainer.get("max_steps", -1), result.get("stopped")
    return stopped is not None and (most == -1 or most > stopped["step"])


def difference_of(result: Mapping[str, Any], now: Mapping[str, Any]) -> str | None:
    """What first differs between a job and the options that it has now, or None.

    A job that goes on after a limit of steps or time may have other limits.
    """
    known = result["options"]
    if goes_on(result, now.get("trainer", {})):
        limits = {name: now["trainer"][name] for name in _LIMITS}
        known = {**known, "trainer": {**known["trainer"], **limits}}
    return first_difference(known, now)


def first_difference(known: Mapping[str, Any], now: Mapping[str, Any]) -> str | None:
    """What first differs between the options of two trainings, or None.

    Options that did not exist yet were what they are by default.
    """
    known, now, default = (json.loads(json.dumps(one)) for one in (known, now, asdict(Config())))
    relevant = {name: value for name, value in now.items() if name not in _IRRELEVANT}
    return _difference(known, relevant, default)


def _difference(known: Any, now: Any, default: Any, name: str = "") -> str | None:
    if not (isinstance(known, dict) and isinstance(now, dict)):
        return None if known == now else f"{name}={known}, not {now}"
    for key, value in now.items():
        usual = default.get(key) if isinstance(default, dict) else None
        own = f"{name}.{key}" if name else key
        if found := _difference(known.get(key, usual), value, usual, own):
            return found
    return None


def arguments_of_hydra(own_conf: Path) -> list[str]:
    """What makes the program find the same configuration when it is started for one job.

    Args:
        own_conf: where the main configuration is unless somebody has said otherwise.
    """
    if not HydraConfig.initialized():
        return []
    hydra = HydraConfig.get()
    given = [f"--config-name={hydra.job.config_name}"]
    for source in hydra.runtime.config_sources:
        option = {"command-line": "--config-dir", "main": "--config-path"}.get(source.provider)
        if option and source.schema == "file" and Path(source.path) != own_conf.resolve():
            given.append(f"{option}={source.path}")
    typed = hydra.overrides.hydra
    return [*given, *(one for one in typed if not one.lstrip("+~").startswith(_OF_THE_SWEEP))]


class SweepInFile(Callback):
    """Hydra's callback: reads a sweep that a file defines as if it had been typed."""

    def on_multirun_start(self, config: DictConfig, **_: Any) -> None:
        """Rewrite `hydra.sweeper.params`.

        Raises:
            SystemExit: they cannot be; Hydra would only warn of any other exception.
        """
        params = config.hydra.sweeper.get("params")
        if not params:
            return
        sources = config.hydra.runtime.config_sources
        folders = [Path(one.path) for one in sources if one.schema == "file"]
        typed = {command_line.key_of(text) for text in config.hydra.overrides.task}
        try:
            rewritten = dict(_rewritten(params, folders, typed))
        except UserError as error:
            raise SystemExit(f"error: {error}") from error
        with read_write(config), open_dict(config):
            config.hydra.sweeper.params = rewritten


def _rewritten(
    params: Mapping[str, Any], folders: Sequence[Path], typed: set[str]
) -> Iterator[tuple[str, str]]:
    for key, value in params.items():
        text = f"{key}={'null' if value is None else value}"
        option, _, values = command_line.rewrite_one(text, folders, sweeps=True).partition("=")
        # A cost that is typed holds instead of one in the file, by whichever name.
        if option.partition(".")[0] != "ponder" or not typed & {"ponder", "ponder.cost"}:
            yield option, values
