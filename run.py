"""Train, evaluate and predict: `python run.py [mode=…] data=… model=… ponder=… trainer=…`.

Everything that can be set is in conf/, and `python run.py --help` lists it.
"""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import hydra
import pytorch_lightning as pl
import torch
from filelock import FileLock, Timeout
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf
from pytorch_lightning.callbacks import EMAWeightAveraging
from rich.console import Console

from dact import checkpoint as checkpoints
from dact import checks, command_line, config, run_folder, warm_start
from dact.callbacks import (
    EpochSummary,
    PredictionWriter,
    SelfDescribing,
    checkpoint_callbacks,
    progress_bar,
)
from dact.console import silence_libraries
from dact.datamodules import Vocabulary, VQADataModule, build_datamodule
from dact.errors import UserError
from dact.lit_module import VQALitModule
from dact.models import MACNetwork, build_network
from dact.report import results_table

CONF = Path(__file__).parent / "conf"


@hydra.main(config_path="conf", config_name="config", version_base="1.3")
@config.ends_in_one_line
def main(cfg: DictConfig) -> float | None:
    """One run. Returns the validation accuracy of a fit, for sweepers that optimise."""
    hydra_config = HydraConfig.get()
    folder = Path(hydra_config.runtime.output_dir)
    silence_libraries()
    try:
        return run(cfg, folder=folder, typed=list(hydra_config.overrides.task))
    except BaseException:
        run_folder.remove_if_unused(folder)
        raise


def run(cfg: DictConfig, *, folder: Path, typed: Sequence[str] = ()) -> float | None:
    """Run a composed configuration in `folder`; `typed` are the overrides that the user gave."""
    checks.check(cfg)
    checks.check_ponder_is_used(cfg, typed)
    pl.seed_everything(cfg.seed, verbose=False)
    if cfg.threads:
        torch.set_num_threads(cfg.threads)
    if cfg.mode != "fit":
        return evaluate(cfg, folder, typed)
    if pl.utilities.rank_zero_only.rank != 0:  # the first process holds the lock for all
        return fit(cfg, folder, typed)
    try:
        with FileLock(folder / ".lock").acquire(timeout=0):
            return fit(cfg, folder, typed)
    except Timeout as error:
        raise UserError(
            f"another run is training in {folder}: give another hydra.run.dir"
        ) from error


def fit(cfg: DictConfig, folder: Path, typed: Sequence[str]) -> float | None:
    """Train; start from a trained MAC or resume; leave checkpoints and a table of results."""
    data = build_datamodule(**config.data_options(cfg))
    data.prepare_data("fit")
    data.setup("fit")
    network = make_network(cfg, data)
    module = build_module(cfg, network, data)
    started_from, resume_from = None, None
    if cfg.ckpt_path:
        resume_from = run_folder.resolve_checkpoint(cfg.ckpt_path, folder, config.name_of(cfg))
        saved = checkpoints.load_resumable(resume_from, network, data.vocabulary)
        started_from = checkpoints.describe(saved).started_from
        module.results = checkpoints.results(saved)
    elif cfg.model.name != "mac" and cfg.warm_start != "none":
        started_from = start_from_mac(cfg, folder, typed, data, network)
    description = checkpoints.Description(
        config=config.plain(cfg),
        vocabulary=data.vocabulary.to_dict(),
        feature_dim=data.feature_dim,
        grid=data.feature_kind == "grid",
        type_names=list(data.type_names),
        started_from=started_from,
    )
    trainer = build_trainer(cfg, folder, fit_callbacks(cfg, folder, description))
    trainer.fit(module, data, ckpt_path=resume_from, weights_only=True)
    if not module.results:  # trainer.limit_val_batches=0
        return None
    if trainer.is_global_zero:
        finish_fit(cfg, module, data, description)
        show(module, f"{folder.name}: validation", checkpoints.started_from(description))
    return module.results["all"].accuracy


def fit_callbacks(
    cfg: DictConfig, folder: Path, description: checkpoints.Description
) -> list[pl.Callback]:
    """What a fit does besides fitting: averages weights, saves checkpoints, reports epochs."""
    return [
        EMAWeightAveraging(decay=cfg.optimizer.ema_decay),
        SelfDescribing(description),
        EpochSummary(),
        *checkpoint_callbacks(
            folder / run_folder.CHECKPOINTS,
            keep=cfg.keep_checkpoints,
            every_n_steps=cfg.checkpoint_every,
        ),
    ]


def finish_fit(
    cfg: DictConfig, module: VQALitModule, data: VQADataModule, description: checkpoints.Description
) -> None:
    """Keep a whole plain MAC for later gated and adaptive networks to start from."""
    if cfg.model.name == "mac" and not checks.is_limited(cfg.trainer):
        entry = checkpoints.entry(description, module.results)
        weights = {"state_dict": module.state_dict(), checkpoints.ENTRY: entry}
        warm_start.offer(mac_folder(cfg, data), weights)


def start_from_mac(
    cfg: DictConfig,
    folder: Path,
    typed: Sequence[str],
    data: VQADataModule,
    network: MACNetwork,
) -> dict[str, Any]:
    """Load a trained MAC into `network`, training it first where that is quick.

    Returns its results by group, in plain containers.
    """
    path = Path(cfg.warm_start).expanduser()
    if cfg.warm_start == "auto":
        found = warm_start.find(mac_folder(cfg, data))
        path = train_mac(cfg, folder, typed, data) if found is None else found.path
    start = warm_start.load_into(network, path, data.vocabulary)
    accuracy = start.results.get("all")
    known = f"{100 * accuracy.accuracy:.1f} % on validation" if accuracy else "unknown accuracy"
    Console().print(f"starting from the MAC in {path} ({known})", soft_wrap=True, highlight=False)
    return {name: list(means) for name, means in start.results.items()}


def train_mac(cfg: DictConfig, folder: Path, typed: Sequence[str], data: VQADataModule) -> Path:
    """Train the plain MAC that is missing and return its checkpoint."""
    arguments = config.mac_overrides(cfg, typed)
    if cfg.data.generate is None:
        raise UserError(
            f"no trained MAC to start from in {mac_folder(cfg, data)}: train it with "
            f"`python run.py {command_line.for_shell(arguments)}`, "
            "or give warm_start=PATH or warm_start=none"
        )
    Console().print("no trained MAC yet: training it first", highlight=False)
    mac_cfg = hydra.compose("config", overrides=command_line.rewrite(arguments, ponder_files()))
    mac_run = folder / "warm_start"
    mac_run.mkdir(exist_ok=True)
    run(mac_cfg, folder=mac_run, typed=arguments)
    found = warm_start.find(mac_folder(cfg, data))
    return found.path if found else run_folder.checkpoints_in(mac_run)[0]


def evaluate(cfg: DictConfig, folder: Path, typed: Sequence[str]) -> float | None:
    """Validate, test or predict with a checkpoint, which says what network it is."""
    if not cfg.ckpt_path:
        raise UserError(f"mode={cfg.mode} needs a checkpoint: ckpt_path=PATH or ckpt_path=last")
    path = run_folder.resolve_checkpoint(cfg.ckpt_path, folder, config.name_of(cfg))
    saved = checkpoints.load(path)
    description = checkpoints.describe(saved)
    cfg = config.for_evaluation(cfg, description.config, typed)
    data = build_datamodule(
        **config.data_options(cfg), vocabulary=Vocabulary.from_dict(description.vocabulary)
    )
    data.prepare_data(cfg.mode)
    data.setup(cfg.mode)
    split = data.splits_of(cfg.mode)[-1]
    expected = checkpoints.sizes(description, data.vocabulary)
    if sizes(data) != expected:
        raise UserError(f"{path} was trained on other features: {expected}, not {sizes(data)}")
    network = make_network(cfg, data)
    checkpoints.load_weights(network, checkpoints.network_weights(saved), source=str(path))
    module = build_module(cfg, network, data)
    if cfg.mode == "predict":
        return predict(cfg, folder, module, data, split)
    if not data.has_answers(split):
        raise UserError(f"split {split} has no answers to compare with: use mode=predict")
    trainer = build_trainer(cfg, folder, [])
    entry = trainer.validate if cfg.mode == "validate" else trainer.test
    entry(module, data, verbose=False)
    if trainer.is_global_zero:
        show(module, f"{path.name} on {cfg.data.name} {split}", None, lengths=True)
    return module.results["all"].accuracy


def predict(
    cfg: DictConfig, folder: Path, module: VQALitModule, data: VQADataModule, split: str
) -> None:
    """Write one line for each question of `split`."""
    path = Path(cfg.predictions).expanduser() if cfg.predictions else folder / "predictions.jsonl"
    writer = PredictionWriter(
        path, lambda positions: data.records(split, positions), data.vocabulary.answer_names
    )
    trainer = build_trainer(cfg, folder, [writer], log=False)
    trainer.predict(module, data, return_predictions=False)
    if trainer.is_global_zero:
        Console().print(f"predictions are in {path}", soft_wrap=True, highlight=False)


def make_network(cfg: DictConfig, data: VQADataModule) -> MACNetwork:
    """The configured network, of the size that the data ask for."""
    plain = config.plain(cfg)
    options, ponder = checkpoints.network_options(plain), checkpoints.ponder_options(plain)
    return build_network(options, ponder=ponder, **sizes(data))


def build_module(cfg: DictConfig, network: MACNetwork, data: VQADataModule) -> VQALitModule:
    """The network with its loss, optimizer and metrics."""
    return VQALitModule(
        network,
        ponder_cost=cfg.ponder.cost,
        type_names=data.type_names,
        learning_rate=cfg.optimizer.learning_rate,
        gate_learning_rate=cfg.optimizer.gate_learning_rate,
        schedule=cfg.optimizer.schedule,
        warmup=cfg.optimizer.warmup,
        decay=cfg.optimizer.decay,
        seed=cfg.seed,
    )


def build_trainer(
    cfg: DictConfig, folder: Path, callbacks: list[pl.Callback], *, log: bool = True
) -> pl.Trainer:
    """Lightning's Trainer; for evaluation without the averaging callback, which would undo it."""
    logger = None
    if log and cfg.logger:
        logger = hydra.utils.instantiate(cfg.logger, save_dir=str(folder))
        logger.log_hyperparams(config.plain(cfg))
    arguments = OmegaConf.to_container(cfg.trainer, resolve=True)
    arguments["default_root_dir"] = arguments["default_root_dir"] or str(folder)
    bars = progress_bar(arguments.pop("enable_progress_bar"))
    return pl.Trainer(
        **arguments,
        enable_progress_bar=bool(bars),
        logger=logger or False,
        callbacks=[*callbacks, *bars],
    )


def sizes(data: VQADataModule) -> dict[str, Any]:
    """What a network must know of the data."""
    return {
        "num_words": data.vocabulary.num_words,
        "num_answers": data.vocabulary.num_answers,
        "feature_dim": data.feature_dim,
        "grid": data.feature_kind == "grid",
    }


def mac_folder(cfg: DictConfig, data: VQADataModule) -> Path:
    """Where the plain MAC for these data and this shape of network is kept."""
    options = checkpoints.network_options(config.plain(cfg))
    return warm_start.folder(data.cache_dir, data.fingerprint, options)


def ponder_files() -> list[str]:
    """Names of the ponder costs that have a file."""
    return [path.stem for path in (CONF / "ponder").glob("*.yaml")]


def show(module: VQALitModule, title: str, baseline: Any, lengths: bool = False) -> None:
    """Print the table of results."""
    table = results_table(module.results, title=title, baseline=baseline, lengths=lengths)
    Console().print(table)


if __name__ == "__main__":
    sys.argv[1:] = command_line.rewrite(sys.argv[1:], ponder_files())
    config.register()
    sys.exit(config.one_line_errors(main, CONF))
