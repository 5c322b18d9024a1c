"""Checks of the configuration, and what Hydra has to know; loads no PyTorch.

Types are in `dact.schema`, values in `conf/`.
"""

import difflib
import math
import netrc
import os
import re
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import is_dataclass
from typing import Any

from hydra.core.config_store import ConfigStore
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from dact import run_folder
from dact.errors import UserError
from dact.options import (
    ADAPTIVE_NETWORKS,
    BOUNDS,
    CONTROL_INITS,
    EMBEDDING_INITS,
    GATE_INPUTS,
    NETWORKS,
    PENALTIES,
)
from dact.schema import MODES, SCHEDULES, Config


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
    _one_of("mode", cfg.mode, MODES)
    _number("keep_checkpoints", cfg.keep_checkpoints, -1)
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
    loading = ("batch_size", "eval_batch_size", "num_workers")
    data = plain(cfg.data)
    return {name: data[name] for name in (*names, *loading)} | {"seed": cfg.seed}


def name_of(cfg: DictConfig) -> str:
    """What the run folder of this configuration is called."""
    return run_folder.run_name(cfg.data.name, cfg.model.name, cfg.ponder.cost, cfg.seed)


def is_limited(trainer: DictConfig) -> bool:
    """Whether a fit sees less than its epochs: a trial, whose result is no trained network."""
    limits = (trainer.limit_train_batches, trainer.max_time, trainer.fast_dev_run)
    return any(limits) or trainer.max_steps != -1 or trainer.overfit_batches != 0


def _key(override: str) -> str:
    return override.lstrip("+~").partition("=")[0].partition("@")[0]


def mac_overrides(cfg: DictConfig, typed: Iterable[str]) -> list[str]:
    """The command line of the plain MAC that an adaptive or gated run starts from.

    Args:
        cfg: the run's configuration.
        typed: its overrides; those of data, trainer, size and seed are kept.
    """
    size = ("model.dim", "model.max_steps", "model.embedding_dim", "model.stem_kernel")
    shape = (*size, "model.self_attention", "model.control_init", "model.dropout")
    budget = ("trainer.max_epochs", "trainer.min_epochs")
    kept = [
        text
        for text in typed
        if (key := _key(text)).startswith(("data.", "trainer", "seed", "logger", *shape))
        and key not in budget
    ]
    implied = [
        f"{name}={OmegaConf.select(cfg, name)}"
        for name in ("model.dim", "model.max_steps")
        if not any(_key(text) == name for text in kept)
        and OmegaConf.select(cfg, name) != cfg.data.network[name.removeprefix("model.")]
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
    keys = {_key(text) for text in typed}
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


def _option_names(node: Any, prefix: str = "") -> Iterable[str]:
    for name, value in vars(node).items():
        yield prefix + name
        if is_dataclass(value):
            yield from _option_names(value, f"{prefix}{name}.")


def _nearest(name: str, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(name, list(known), n=2, cutoff=0.55)
    return f": did you mean {' or '.join(close)}?" if close else ""


def _what_was_meant(message: str, arguments: Sequence[str]) -> str:
    """A line that names the option or choice that was probably meant, or nothing."""
    choice = re.search(r"Could not find '(.+)/([^/]+)'\n\nAvailable options in", message)
    if choice:
        group, name = choice.groups()
        return f"there is no {group}={name}" + _nearest(name, re.findall(r"\n\t(\S+)", message))
    known = [*_option_names(Config()), "experiment"]
    for argument in arguments:
        key = _key(argument)
        if f"'{key}'" in message or f"'{key.rpartition('.')[2]}'" in message:
            return f"there is no option {key}" + _nearest(key, known)
    return ""


def one_line_errors(main: Callable[[], Any]) -> int:
    """Run a Hydra application; a mistake of the user ends it with one line instead of a traceback.

    With HYDRA_FULL_ERROR=1 in the environment the traceback is shown after all.
    """
    if os.environ.get("HYDRA_FULL_ERROR") == "1":
        main()
        return 0
    # Makes Hydra raise instead of printing tracebacks of its own.
    os.environ["HYDRA_FULL_ERROR"] = "1"
    try:
        main()
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
    except (HydraException, OmegaConfBaseException) as error:
        cause = error.__cause__ if isinstance(error.__cause__, OmegaConfBaseException) else error
        message = str(error)
        lines = [line for line in message.splitlines() if line.strip()]
        if cause is not error:
            lines.append(str(cause).splitlines()[0])
        nearest = _what_was_meant(message, sys.argv[1:])
        print("error: " + "\n".join([*lines, nearest]).rstrip(), file=sys.stderr)
    else:
        return 0
    return 1
