"""Which configurations make sense; loads no PyTorch.

A configuration here is anything of the shape of `dact.schema.Config`.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import is_dataclass
from typing import Any

from dact import command_line
from dact.errors import UserError
from dact.options import (
    ADAPTIVE_NETWORKS,
    BOUNDS,
    CONTROL_INITS,
    EMBEDDING_INITS,
    EXITS,
    GATE_INPUTS,
    HALTING_MODES,
    LARGEST_ADAPTED_COST,
    MISSING_IMAGES,
    NETWORKS,
    PENALTIES,
    READ_DROPOUT_MODES,
    USED_BY,
)
from dact.schema import (
    COMPILE_MODES,
    MODES,
    SCHEDULES,
    Config,
    DownloadConfig,
    ExtractionConfig,
    ModelConfig,
    OptimizerConfig,
    TrainerConfig,
)
from dact.trainer_checks import check_trainer


def _one_of(name: str, value: Any, choices: Sequence[Any]) -> None:
    if value not in choices:
        known = ", ".join("null" if choice is None else str(choice) for choice in choices)
        raise UserError(f"{name}={value} is unknown: choose one of {known}")


def _number(name: str, value: float | None, low: float, high: float = math.inf) -> None:
    if value is not None and not (math.isfinite(value) and low <= value <= high):
        limit = f"at least {low:g}" if high == math.inf else f"in {low:g}..{high:g}"
        raise UserError(f"{name}={value:g} is not possible: it must be a number {limit}")


def check(cfg: Config) -> None:
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
    _number("ponder.target_rate", cfg.ponder.target_rate, 0)
    _number("ponder.target_gain", cfg.ponder.target_gain, 0)
    if cfg.mode == "fit":  # else the checkpoint says what network it is
        check_budgets(cfg)
    if not 0 < cfg.data.fraction <= 1:
        raise UserError(f"data.fraction={cfg.data.fraction:g} is not possible: it is in (0, 1]")
    for name in ("batch_size", "eval_batch_size"):
        _number(f"data.{name}", getattr(cfg.data, name), 1)
    _number("data.questions_per_image", cfg.data.questions_per_image, 1)
    _number("data.num_workers", cfg.data.num_workers, 0)
    _one_of("data.missing_images", cfg.data.missing_images, MISSING_IMAGES)
    _check_model(cfg.model)
    if cfg.model.background and cfg.data.features == "state":
        raise UserError(
            "model.background=true is not for data.features=state, whose scenes have a background "
            "row of their own: give data.background=true instead"
        )
    _check_optimizer(cfg.optimizer)
    check_trainer(cfg.trainer, cfg.mode)


def check_budgets(cfg: Config) -> None:
    """Refuse numbers of steps that the network cannot take.

    Raises:
        UserError: names the option, its value and what it may be.
    """
    model, target = cfg.model, cfg.ponder.target_steps
    _number("model.halting_budget", model.halting_budget, 1, model.max_steps)
    if model.halting_bound == "budget" and model.halting_budget is None:
        raise UserError(
            "model.halting_bound=budget needs model.halting_budget, the most steps that a question "
            f"may take: a number in 1..{model.max_steps}"
        )
    _number("ponder.target_steps", target, 1, model.max_steps)
    if cfg.mode != "fit" or target is None:
        return
    _number("with ponder=budget ponder.cost", cfg.ponder.cost, 0, LARGEST_ADAPTED_COST)
    if model.name != "dact":
        return
    if model.halting_bound is None:
        raise UserError(
            "ponder=budget has no effect with model.halting_bound=null, with which all questions "
            f"take all {model.max_steps} steps: leave one of them out"
        )
    if model.halting_bound == "budget" and target > model.halting_budget:
        raise UserError(
            f"ponder.target_steps={target:g} cannot be met: with model.halting_bound=budget all "
            f"questions take at most {model.halting_budget} steps"
        )


def _check_names(cfg: Any, schema: Any, prefix: str = "") -> None:
    """Refuse options that were added with '+' and that nothing would read."""
    for name in cfg:
        if name not in vars(schema):
            raise UserError(command_line.no_such_option(f"{prefix}{name}"))
        if is_dataclass(known := getattr(schema, name)):
            _check_names(cfg[name], known, f"{prefix}{name}.")


def _check_model(model: ModelConfig) -> None:
    _one_of("model.name", model.name, NETWORKS)
    _one_of("model.embedding_init", model.embedding_init, EMBEDDING_INITS)
    _one_of("model.control_init", model.control_init, CONTROL_INITS)
    _one_of("model.halting_bound", model.halting_bound, (*BOUNDS, None))
    _one_of("model.halting_mode", model.halting_mode, HALTING_MODES)
    _number("model.halting_eps", model.halting_eps, 0, 1)
    _number("model.prior", model.prior, 1e-3, 0.999)
    _one_of("model.halting_exit", model.halting_exit, EXITS)
    _one_of("model.read_dropout_mode", model.read_dropout_mode, READ_DROPOUT_MODES)
    _one_of("model.compile_mode", model.compile_mode, COMPILE_MODES)
    _number("model.train_halt_eps", model.train_halt_eps, 0, 1)
    _number("model.step_loss", model.step_loss, 0, 1)
    _number("model.eval_steps", model.eval_steps, 1, 1000)
    for name in ("max_steps", "embedding_dim", "stem_kernel"):
        _number(f"model.{name}", getattr(model, name), 1)
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
    for name in ("stem", "question", "memory", "read", "output"):
        rates[f"model.dropout.{name}"] = getattr(model.dropout, name)
    for name, rate in rates.items():
        _number(name, rate, 0, 1)


def _check_optimizer(optimizer: OptimizerConfig) -> None:
    _one_of("optimizer.schedule", optimizer.schedule, SCHEDULES)
    _number("optimizer.learning_rate", optimizer.learning_rate, 0)
    _number("optimizer.gate_learning_rate", optimizer.gate_learning_rate, 0)
    _number("optimizer.warmup", optimizer.warmup, 0, 1)
    _number("optimizer.decay", optimizer.decay, 0, 1)
    _number("optimizer.ema_decay", optimizer.ema_decay, 0, 1)


def check_typed_is_used(cfg: Config, overrides: Iterable[str]) -> None:
    """Refuse options that were typed for a network that has no use for them.

    Args:
        cfg: the composed configuration, or that of a checkpoint.
        overrides: what the user typed, such as `ponder.cost=0.003`.

    Raises:
        UserError: names the option, and the networks that have it.
    """
    typed = {command_line.key_of(text) for text in overrides}
    name, costs = cfg.model.name, cfg.ponder.cost != 0 and typed & {"ponder", "ponder.cost"}
    if name not in ADAPTIVE_NETWORKS and costs:
        raise UserError(
            f"model={name} takes a fixed number of steps and has no ponder cost: leave ponder out, "
            f"or choose model={' or model='.join(ADAPTIVE_NETWORKS)}"
        )
    if name == "pondernet" and cfg.ponder.target_steps is not None:
        raise UserError(
            "ponder=budget is not for model=pondernet, whose number of steps follows its prior: "
            "set model.prior"
        )
    for option, networks in USED_BY.items():
        if option in typed and name not in networks:
            raise UserError(
                f"{option} is not for model={name}: leave it out, or choose model="
                f"{' or model='.join(networks)}"
            )
    for option, bound in (("halting_eps", "probability"), ("halting_budget", "budget")):
        if f"model.{option}" in typed and cfg.model.halting_bound != bound:
            raise UserError(f"model.{option} needs model.halting_bound={bound}")
    if cfg.data.background and "data.background" in typed and cfg.data.features != "state":
        raise UserError(
            "data.background=true is for data.features=state, not for "
            f"data={cfg.data.name} with data.features={cfg.data.features}: leave it out"
        )


def check_extraction(cfg: ExtractionConfig) -> None:
    """Refuse an extraction of features that cannot work, before anything is loaded.

    Raises:
        UserError: names the option, its value and what it may be.
    """
    _one_of("dtype", cfg.dtype, ("float16", "float32"))
    _number("batch_size", cfg.batch_size, 1)
    _number("num_workers", cfg.num_workers, 0)
    for name, count, low in (("size", 2, 1), ("mean", 3, -math.inf), ("std", 3, 1e-6)):
        values = getattr(cfg.backbone, name)
        if len(values) != count:
            raise UserError(f"backbone.{name}={values} has {len(values)} numbers, not {count}")
        for value in values:
            _number(f"backbone.{name}", value, low)
    _number("backbone.white", cfg.backbone.white, 1e-6)


def check_download(cfg: DownloadConfig) -> None:
    """Refuse a download that cannot work.

    Raises:
        UserError: names the option and its value.
    """
    _number("retries", cfg.retries, 0)
    _number("timeout", cfg.timeout, 1e-3)


def is_limited(trainer: TrainerConfig) -> bool:
    """Whether a fit sees less than its epochs: a trial, whose result is no trained network.

    Whether `max_time` was short, only the fit itself can tell.
    """
    limits = ("limit_train_batches", "limit_val_batches", "overfit_batches")
    return trainer.max_steps != -1 or any(
        getattr(trainer, name) for name in (*limits, "fast_dev_run")
    )
