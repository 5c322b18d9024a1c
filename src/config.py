"""Checks of the configuration, and what Hydra has to know; loads no PyTorch.

Types are in `dact.schema`, values in `conf/`.
"""

import functools
import math
import netrc
import os
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

from hydra.core.config_store import ConfigStore
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from dact import command_line, run_folder
from dact.errors import UserError
from dact.options import (
    ADAPTIVE_NETWORKS,
    BEYOND_THE_MAC,
    BOUNDS,
    CONTROL_INITS,
    EMBEDDING_INITS,
    GATE_INPUTS,
    NETWORKS,
    PENALTIES,
    NetworkOptions,
)
from dact.schema import MODES, SCHEDULES, Config

#: In the environment when it was us who set HYDRA_FULL_ERROR.
_SET_BY_US = "DACT_ONE_LINE_ERRORS"


def _one_of(name: str, value: Any, choices: Sequence[Any]) -> None:
    if value not in choices:
        known = ", ".join("null" if choice is None else str(choice) for choice in choices)
        raise UserError(f"{name}={value} is unknown: choose one of {known}")


def _number(name: str, value: float | None, low: float, high: float = math.inf) -> None:
    if value is not None and not (math.isfinite(value) and low <= value <= high):
        limit = f"at least {low:g}" if high == math.inf else f"in {low:g}..{high:g}"
        raise UserError(f"{name}={value:g} is not possible: it must be a number {limit}")


def check(cfg: DictConfig) -> None:
    """Refuse what cannot work, before anything is loaded.

    Raises:
        UserError: names the option, its value and what it may be.
    """
    _check_names(cfg, Config())
    _one_of("mode", cfg.mode, MODES)
    _number("seed", cfg.seed, 0, 2**32 - 1)
    if cfg.keep_checkpoints != -1:
        _number("keep_checkpoints", cfg.keep_checkpoints, 1)
    _number("threads", cfg.threads, 1)
    _number("checkpoint_every", cfg.checkpoint_every, 1)
    _number("ponder.cost", cfg.ponder.cost, 0)
    _number("ponder.phase", cfg.ponder.phase, 0)
    _number("ponder.min_penalty", cfg.ponder.min_penalty, 0)
    _one_of("ponder.penalty", cfg.ponder.penalty, PENALTIES)
    if not 0 < cfg.data.fraction <= 1:
        raise UserError(f"data.fraction={cfg.data.fraction:g} is not possible: it is in (0, 1]")
    for name in ("batch_size", "eval_batch_size"):
        _number(f"data.{name}", cfg.data[name], 1)
    _number("data.num_workers", cfg.data.num_workers, 0)
    _check_model(cfg.model)
    _check_optimizer(cfg.optimizer)


def _check_names(cfg: DictConfig, schema: Any, prefix: str = "") -> None:
    """Refuse options that were added with '+' and that nothing would read."""
    for name in cfg:
        if name not in vars(schema):
            raise UserError(command_line.no_such_option(f"{prefix}{name}"))
        if is_dataclass(known := getattr(schema, name)):
            _check_names(cfg[name], known, f"{prefix}{name}.")


def _check_model(model: DictConfig) -> None:
    _one_of("model.name", model.name, NETWORKS)
    _one_of("model.embedding_init", model.embedding_init, EMBEDDING_INITS)
    _one_of("model.control_init", model.control_init, CONTROL_INITS)
    _one_of("model.halting_bound", model.halting_bound, (*BOUNDS, None))
    for name in ("max_steps", "embedding_dim", "stem_kernel"):
        _number(f"model.{name}", model[name], 1)
    _number("model.dim", model.dim, 2)
    if model.dim % 2:
        raise UserError(f"model.dim={model.dim} is odd: the two directions of the LSTM share it")
    if model.stem_kernel % 2 == 0:
        raise UserError(f"model.stem_kernel={model.stem_kernel} is even: the map would change size")
    if not model.gate.inputs:
        raise UserError(f"model.gate.inputs is empty: give any of {', '.join(GATE_INPUTS)}")
    for name in model.gate.inputs:
        _one_of("model.gate.inputs", name, GATE_INPUTS)
    for size in model.gate.hidden_dims:
        _number("model.gate.hidden_dims", size, 1)
    _number("model.epsilon", model.epsilon, 0, 1)
    rates = {"model.gate.dropout": model.gate.dropout}
    rates |= {
        f"model.dropout.{name}": rate
        for name, rate in model.dropout.items()
        if name != "variational_memory"
    }
    for name, rate in rates.items():
        _number(name, rate, 0, 1)


def _check_optimizer(optimizer: DictConfig) -> None:
    _one_of("optimizer.schedule", optimizer.schedule, SCHEDULES)
    _number("optimizer.learning_rate", optimizer.learning_rate, 0)
    _number("optimizer.gate_learning_rate", optimizer.gate_learning_rate, 0)
    _number("optimizer.warmup", optimizer.warmup, 0, 1)
    _number("optimizer.decay", optimizer.decay, 0, 1)
    _number("optimizer.ema_decay", optimizer.ema_decay, 0, 1)


def check_ponder_is_used(cfg: DictConfig, overrides: Iterable[str]) -> None:
    """Refuse a ponder cost that was typed for a network without one.

    Args:
        cfg: the composed configuration.
        overrides: what the user typed, such as `ponder.cost=0.003`.
    """
    typed = any(text.lstrip("+").startswith(("ponder=", "ponder.cost=")) for text in overrides)
    if cfg.model.name not in ADAPTIVE_NETWORKS and typed and cfg.ponder.cost != 0:
        raise UserError(
            f"model={cfg.model.name} takes a fixed number of steps and has no ponder cost: "
            "leave ponder out, or choose model=dact or model=act"
        )


def register() -> None:
    """Make the schema and our resolvers known to Hydra."""
    ConfigStore.instance().store(name="schema", node=Config)
    for name, resolver in (
        ("run_name", run_folder.run_name),
        ("run_folder", run_folder.allocate),
        ("wandb_offline", _without_wandb_key),
    ):
        OmegaConf.register_new_resolver(name, resolver, replace=True)


def _without_wandb_key() -> bool:
    if os.environ.get("WANDB_API_KEY") or os.environ.get("WANDB_MODE") == "online":
        return False
    try:
        return netrc.netrc().authenticators("api.wandb.ai") is None
    except (OSError, netrc.NetrcParseError):
        return True


def plain(cfg: DictConfig) -> dict[str, Any]:
    """The configuration as plain containers, every interpolation resolved."""
    return OmegaConf.to_container(cfg, resolve=True, throw_on_missing=True)


def data_options(cfg: DictConfig) -> dict[str, Any]:
    """Arguments of `build_datamodule`."""
    names = ("name", "root", "cache_dir", "features", "split", "fraction", "generate")
    loading = ("batch_size", "eval_batch_size", "num_workers", "group_by_length")
    data = plain(cfg.data)
    return {name: data[name] for name in (*names, *loading)} | {"seed": cfg.seed}


def name_of(cfg: DictConfig) -> str:
    """What the run folder of this configuration is called."""
    return run_folder.run_name(cfg.data.name, cfg.model.name, cfg.ponder.cost, cfg.seed)


def is_limited(trainer: DictConfig) -> bool:
    """Whether a fit sees less than its epochs: a trial, whose result is no trained network."""
    limits = ("limit_train_batches", "limit_val_batches", "overfit_batches", "max_time")
    return trainer.max_steps != -1 or any(trainer[name] for name in (*limits, "fast_dev_run"))


def mac_overrides(cfg: DictConfig, typed: Iterable[str]) -> list[str]:
    """The command line of the plain MAC that an adaptive or gated run starts from.

    Args:
        cfg: the run's configuration.
        typed: its overrides; those of data, trainer, shape, dropout and seed are kept.
    """
    shape = [field.name for field in fields(NetworkOptions) if field.name not in BEYOND_THE_MAC]
    parts = ("data.", "trainer", "seed", "logger", "model.dropout.")
    budget = ("trainer.max_epochs", "trainer.min_epochs")
    kept = [
        text
        for text in typed
        if (key := command_line.key_of(text)).startswith(parts) and key not in budget
    ]
    default = {**vars(NetworkOptions()), **cfg.data.network}
    implied = [
        f"model.{name}={cfg.model[name]}" for name in shape if cfg.model[name] != default[name]
    ]
    return [f"data={cfg.data.name}", "model=mac", *implied, *kept]


def for_evaluation(cfg: DictConfig, saved: Mapping[str, Any], typed: Iterable[str]) -> DictConfig:
    """The configuration to evaluate a checkpoint with: its own network, the typed data.

    Args:
        cfg: as composed from the command line.
        saved: configuration in the checkpoint.
        typed: the user's overrides.

    Raises:
        UserError: an option of the network was typed that the checkpoint decides.
    """
    keys = {command_line.key_of(text) for text in typed}
    free = ("model.halting", "model.compile")
    for key in sorted(keys):
        if key.startswith("model.") and not key.startswith(free):
            raise UserError(f"{key} is decided by the checkpoint: leave it out")
    if "model" in keys and cfg.model.name != saved["model"]["name"]:
        raise UserError(
            f"model={cfg.model.name}: the checkpoint holds a {saved['model']['name']}; leave it out"
        )
    taken: dict[str, Any] = {"model": dict(saved["model"]), "ponder": saved["ponder"]}
    for key in keys:
        if key.startswith("model."):
            name = key.removeprefix("model.")
            taken["model"][name] = cfg.model[name]
    if not keys & {"data", "experiment"}:
        typed_data = {key.removeprefix("data.").partition(".")[0] for key in keys}
        own = {name: value for name, value in saved["data"].items() if name not in typed_data}
        taken["data"] = own
    elif "data.features" not in keys:
        taken["data"] = {"features": saved["data"]["features"]}
    return OmegaConf.merge(cfg, taken)


def _traceback_wanted() -> bool:
    return os.environ.get("HYDRA_FULL_ERROR") == "1" and _SET_BY_US not in os.environ


def ends_in_one_line(task: Callable[[DictConfig], Any]) -> Callable[[DictConfig], Any]:
    """Decorator under `hydra.main`: a user's mistake ends the program before Hydra reports it."""

    @functools.wraps(task)
    def wrapped(cfg: DictConfig) -> Any:
        try:
            return task(cfg)
        except UserError as error:
            if _traceback_wanted():
                raise
            raise SystemExit(f"error: {error}") from error

    return wrapped


def one_line_errors(main: Callable[[], Any], conf: Path | None = None) -> int:
    """Run a program; a mistake of the user ends it with one line instead of a traceback.

    With HYDRA_FULL_ERROR=1 in the environment the traceback is shown after all.

    Args:
        main: the program, with or without Hydra.
        conf: folder of the config groups, to name the nearest choice.
    """
    if _traceback_wanted():
        main()
        return 0
    # Makes Hydra raise instead of printing tracebacks of its own; the processes that Lightning
    # starts inherit both.
    os.environ["HYDRA_FULL_ERROR"] = os.environ[_SET_BY_US] = "1"
    try:
        main()
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
    except (HydraException, OmegaConfBaseException) as error:
        cause = error.__cause__ if isinstance(error.__cause__, OmegaConfBaseException) else error
        lines = [line for line in str(error).splitlines() if line.strip()]
        if cause is not error:
            lines.append(str(cause).splitlines()[0])
        meant = command_line.what_was_meant(str(error), sys.argv[1:], conf)
        print("error: " + "\n".join([*lines, meant]).rstrip(), file=sys.stderr)
    else:
        return 0
    return 1
