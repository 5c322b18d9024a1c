"""What Hydra has to know, and what we have to know of Hydra; loads no PyTorch.

Types are in `dact.schema`, values in `conf/`, checks in `dact.checks`.
"""

import netrc
import os
from collections.abc import Collection, Iterable, Mapping
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import hydra
from hydra.core.config_store import ConfigStore
from hydra.core.hydra_config import HydraConfig
from hydra.errors import InstantiationException
from omegaconf import DictConfig, OmegaConf

from dact import command_line, run_folder, sweeps
from dact.errors import UserError
from dact.options import (
    BEYOND_THE_MAC,
    CHOSEN_IN_EVALUATION,
    FUNCTION_IN_CHECKPOINT,
    BackboneOptions,
    NetworkOptions,
)
from dact.schema import Config, DataConfig, DownloadConfig, ExtractionConfig, GenerateOptions

#: Options of loggers that name one run.
NAMES_OF_A_RUN = tuple(
    f"logger.{name}"
    for name in ("id", "name", "version", "resume", "run_id", "run_name", "experiment_key")
)


def register() -> None:
    """Make the schema and our resolvers known to Hydra."""
    ConfigStore.instance().store(name="schema", node=Config)
    ConfigStore.instance().store(name="extraction_schema", node=ExtractionConfig)
    ConfigStore.instance().store(name="download_schema", node=DownloadConfig)
    for name, resolver in (
        ("run_name", run_folder.run_name),
        ("run_folder", run_folder.allocate),
        ("wandb_offline", _without_wandb_key),
    ):
        OmegaConf.register_new_resolver(name, resolver, replace=True)
    sweeps.register()


#: Where `wandb login` says it was; newer versions write the first of them.
_WANDB_HOSTS = ("api.forge.coreweave.com", "api.wandb.ai")


def _without_wandb_key() -> bool:
    if os.environ.get("WANDB_API_KEY") or os.environ.get("WANDB_MODE") == "online":
        return False
    own = urlsplit(os.environ.get("WANDB_BASE_URL", "")).netloc
    try:
        known = netrc.netrc(os.environ.get("NETRC"))
    except (OSError, netrc.NetrcParseError):
        return True
    return not any(known.authenticators(host) for host in ([own] if own else _WANDB_HOSTS))


def resolve(cfg: DictConfig) -> Config:
    """The configuration as plain dataclasses, every interpolation resolved."""
    return OmegaConf.to_object(cfg)


def compose(overrides: Iterable[str]) -> Config:
    """What these overrides would have given on the command line; only while Hydra is running."""
    running = HydraConfig.initialized()
    name = HydraConfig.get().job.config_name if running else "config"
    return resolve(hydra.compose(name, overrides=list(overrides)))


def read_backbone(conf: Path, name: str) -> BackboneOptions:
    """A choice of the group `backbone`, for programs that are no Hydra applications.

    Args:
        conf: folder of the config groups.
        name: of the choice.

    Raises:
        UserError: there is no such choice.
    """
    known = sorted(path.stem for path in (conf / "backbone").glob("*.yaml"))
    if name not in known:
        raise UserError(f"there is no backbone {name}: choose one of {', '.join(known)}")
    register()
    with hydra.initialize_config_dir(str(conf), version_base="1.3"):
        cfg = hydra.compose("extract", overrides=[f"backbone={name}"])
    return OmegaConf.to_object(cfg.backbone)


def instantiate(name: str, target: Mapping[str, Any], **arguments: Any) -> Any:
    """What `_target_` names, made with its own and further arguments, in plain containers.

    Args:
        name: of the group in the configuration.
        target: what the group says.
        arguments: what it does not say.

    Raises:
        UserError: there is no such thing, it cannot be imported, or refuses its arguments.
    """
    if "_target_" not in target:
        raise UserError(f"{name} has no _target_, so nothing takes {', '.join(map(str, target))}")
    try:
        return hydra.utils.instantiate({**target, "_convert_": "all"}, **arguments)
    except InstantiationException as error:
        cause = error.__cause__ or error
        if isinstance(cause, UserError):
            raise cause from error
        reason = " ".join(str(cause).split())
        raise UserError(f"{name}: {target['_target_']} cannot be made: {reason}") from error


def data_options(data: DataConfig, seed: int) -> dict[str, Any]:
    """Arguments of `build_datamodule`."""
    names = ("name", "root", "cache_dir", "features", "background", "split", "fraction")
    files = ("feature_dataset", "feature_axes", "tokenizer")
    splits = ("train_split", "val_split")
    loading = (
        "batch_size",
        "eval_batch_size",
        "num_workers",
        "group_by_length",
        "questions_per_image",
        "missing_images",
    )
    options = asdict(data)
    recipe = {k: v for k, v in (options["generate"] or {}).items() if v is not None}
    taken = {name: options[name] for name in (*names, *files, *splits, *loading)}
    return {**taken, "generate": recipe or None, "seed": seed}


def name_of(config: Config) -> str:
    """What the run folder of this configuration is called."""
    ponder = config.ponder
    return run_folder.run_name(
        config.data.name, config.model.name, ponder.cost, config.seed, ponder.target_steps
    )


def mac_overrides(config: Config, typed: Iterable[str]) -> list[str]:
    """The command line of the plain MAC that an adaptive or gated run starts from.

    Numbers of epochs and steps are those of the run's own training, and not of the MAC's. Where
    the vocabulary grows it is trained on the dataset that comes first, `data.trained_first`.

    Args:
        config: the run's configuration.
        typed: its overrides; those of data, trainer, shape, dropout and seed are kept.

    Word vectors and whether they are trained are part of the shape.
    """
    other = (*BEYOND_THE_MAC, "embedding")
    shape = [field.name for field in fields(NetworkOptions) if field.name not in other]
    parts = ("data.", "trainer", "seed", "logger", "model.dropout.")
    lengths = ("max_epochs", "min_epochs", "max_steps", "min_steps")
    dropped = (*(f"trainer.{name}" for name in lengths), *NAMES_OF_A_RUN)
    data = config.data.name
    if config.data.grow_vocabulary:
        data = config.data.trained_first or data
        dropped += ("data.grow_vocabulary", "data.trained_first")
    kept = [
        text
        for text in typed
        if (key := command_line.key_of(text)).startswith(parts) and key not in dropped
    ]
    default = asdict(NetworkOptions()) | asdict(config.data.network)
    implied = [
        f"model.{name}={value}"
        for name in shape
        if (value := getattr(config.model, name)) != default[name]
    ]
    embedding = config.model.embedding
    if embedding.path:
        implied.append(command_line.quote_path(f"model.embedding.path={embedding.path}"))
    if not embedding.trainable:
        implied.append("model.embedding.trainable=false")
    return [f"data={data}", "model=mac", *implied, *kept]


def _check_decided(config: Config, saved: Mapping[str, Any], keys: Collection[str]) -> None:
    """Refuse what was typed of a network that is not the checkpoint's."""
    free = (*CHOSEN_IN_EVALUATION, "compile")
    for key in sorted(keys):
        if key.startswith("model.") and not key.removeprefix("model.").startswith(free):
            raise UserError(f"{key} is decided by the checkpoint: leave it out")
    for option in ("name", "dim", "max_steps") if "experiment" in keys else ():
        was, now = saved["model"][option], getattr(config.model, option)
        if was != now:
            raise UserError(f"experiment: its model.{option} is {now}, but the checkpoint's {was}")
    name, own_name = config.model.name, saved["model"]["name"]
    if "model" in keys and name != own_name:
        raise UserError(f"model={name}: the checkpoint holds a {own_name}; leave it out")
    ponder = {key for key in keys if key.partition(".")[0] == "ponder"}
    for option, was in saved["ponder"].items():
        now = getattr(config.ponder, option)
        if now != was and ponder & {"ponder", f"ponder.{option}"}:
            raise UserError(f"ponder.{option}={now}: the checkpoint's is {was}; leave ponder out")
    was, now = saved["data"].get("background"), config.data.background
    if "data.background" in keys and now != was:
        raise UserError(f"data.background={now}: the checkpoint's is {was}; leave it out")


def _tokenizer(config: Config, saved: Mapping[str, Any], keys: Collection[str]) -> str:
    """The checkpoint's, like its words; older ones do not name it.

    Raises:
        UserError: another one was typed, or it is a function and was not.
    """
    known, typed = saved["data"].get("tokenizer", DataConfig.tokenizer), config.data.tokenizer
    if "data.tokenizer" in keys and typed != known:
        raise UserError(f"data.tokenizer={typed}: the checkpoint's is {known}; leave it out")
    if ":" in known and typed != known:
        raise UserError(FUNCTION_IN_CHECKPOINT.format(known))
    return known


def _chooses_nothing(override: str) -> bool:
    return command_line.key_of(override) == "experiment" and override.endswith(("=none", "='none'"))


def for_evaluation(config: Config, saved: Mapping[str, Any], typed: Iterable[str]) -> Config:
    """The configuration to evaluate a checkpoint with: its own network, the typed data.

    Args:
        config: as composed from the command line.
        saved: configuration in the checkpoint.
        typed: the user's overrides.

    Raises:
        UserError: an option of the network was typed that the checkpoint decides.
    """
    keys = {command_line.key_of(text) for text in typed if not _chooses_nothing(text)}
    _check_decided(config, saved, keys)
    # What a checkpoint of before does not say was not there yet, whatever its default is today.
    taken: dict[str, Any] = {
        "model": asdict(NetworkOptions()) | saved["model"],
        "ponder": saved["ponder"],
    }
    taken["model"] |= {"compile": config.model.compile, "compile_mode": config.model.compile_mode}
    for key in keys:
        if key.startswith("model."):
            option = key.removeprefix("model.")
            taken["model"][option] = getattr(config.model, option)
    if not keys & {"data", "experiment"}:
        typed_data = {key.removeprefix("data.").partition(".")[0] for key in keys}
        own = {name: value for name, value in saved["data"].items() if name not in typed_data}
        if own.get("generate"):
            own["generate"] = (
                dict.fromkeys(f.name for f in fields(GenerateOptions)) | own["generate"]
            )
        taken["data"] = own
        if "threads" not in keys:
            taken["threads"] = own.get("threads", config.threads)
    elif "data.features" not in keys:
        taken["data"] = {"features": saved["data"]["features"]}
    taken.setdefault("data", {})["tokenizer"] = _tokenizer(config, saved, keys)
    if "background" not in taken["data"]:
        background = None if config.data.background is None else saved["data"].get("background")
        taken["data"]["background"] = background
    if taken["data"].get("generate"):  # as it is, without what another dataset's has besides
        config = replace(config, data=replace(config.data, generate=None))
    return resolve(OmegaConf.merge(OmegaConf.structured(config), taken))
