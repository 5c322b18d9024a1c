"""Training, from a trained MAC or from a checkpoint of its own."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import pytorch_lightning as pl
from pytorch_lightning.callbacks import EMAWeightAveraging
from pytorch_lightning.utilities.rank_zero import rank_zero_only

from dact import checkpoint as checkpoints
from dact import checks, command_line, run_folder, warm_start, word_vectors
from dact import config as configs
from dact.callbacks import EpochSummary, SelfDescribing
from dact.datamodules import VQADataModule, build_datamodule
from dact.datamodules.prior import answer_prior
from dact.errors import UserError
from dact.models import MACNetwork
from dact.saving import RunCheckpoints
from dact.schema import Config

from .parts import (
    finish_logging,
    load_word_vectors,
    mac_folder,
    make_module,
    make_network,
    make_trainer,
    say,
    set_up_process,
    show,
)


class _Start(NamedTuple):
    """What a fit starts from."""

    resume_from: Path | None = None
    """A checkpoint of its own."""
    saved: dict[str, Any] | None = None
    """That checkpoint, loaded."""
    started_from: dict[str, Any] | None = None
    """Results of the MAC that it started from, as in the description of a checkpoint."""
    word_vectors: str | None = None
    """Which word vectors it started from, as in the description of a checkpoint."""


def fit(config: Config, folder: Path, typed: Sequence[str]) -> float | None:
    """Train; start from a trained MAC or resume; leave checkpoints and a table of results.

    Args:
        config: of the run.
        folder: of the run; taken while it lasts.
        typed: the user's overrides, which a MAC that has to be trained first shares.

    Returns:
        The validation accuracy, in 0..1; None if there was no validation.
    """
    if rank_zero_only.rank != 0:  # the first process takes the folder for all
        return _fit(config, folder, typed)
    with run_folder.taken(folder):
        return _fit(config, folder, typed)


def _fit(config: Config, folder: Path, typed: Sequence[str]) -> float | None:
    set_up_process(config)
    data = build_datamodule(**configs.data_options(config.data, config.seed))
    data.prepare_data("fit")
    data.setup("fit")
    network = make_network(config, data)
    module = make_module(config, network, data)
    start = _start(config, folder, typed, data, network)
    if start.saved is not None:
        module.results = checkpoints.results(start.saved)
    description = _describe(config, data, start)
    trainer = make_trainer(config, folder, _callbacks(config, folder, description))
    trainer.fit(module, data, ckpt_path=start.resume_from, weights_only=True)
    finish_logging(trainer)
    if not module.results:  # trainer.limit_val_batches=0
        return None
    if trainer.is_global_zero:
        # A run that was complete already has loaded its raw weights, and averaged no more.
        trained = start.saved is None or trainer.global_step > start.saved["global_step"]
        weights = module.state_dict() if trained else start.saved["state_dict"]
        if config.model.name == "mac" and not checks.is_limited(config.trainer):
            entry = checkpoints.entry(description, module.results)
            place = mac_folder(config, data, start.word_vectors)
            warm_start.offer(place, {"state_dict": weights, checkpoints.ENTRY: entry})
        baseline = checkpoints.started_from(description)
        prior = answer_prior(*(data.dataset(split).questions for split in data.splits_of("fit")))
        show(module.results, f"{folder.name}: validation", baseline=baseline)
        say(f"without looking, the commonest answer to each kind of question: {100 * prior:.1f} %")
    return module.results["all"].accuracy


def _start(
    config: Config, folder: Path, typed: Sequence[str], data: VQADataModule, network: MACNetwork
) -> _Start:
    """Load what a fit starts from, or find what it goes on from.

    Word vectors are read only where nothing else gives the weights: a checkpoint of this run and
    a trained MAC bring their own, which were trained since.
    """
    if config.ckpt_path:
        return _resume(config, folder, data, network)
    path = config.model.embedding.path
    vectors = word_vectors.identity(path) if path else None
    if config.model.name != "mac" and config.warm_start != "none":
        mac = _start_from_mac(config, folder, typed, data, network, vectors)
        return _Start(started_from=mac, word_vectors=vectors)
    if path:
        load_word_vectors(network, path, data.vocabulary)
    return _Start(word_vectors=vectors)


def _resume(config: Config, folder: Path, data: VQADataModule, network: MACNetwork) -> _Start:
    """Find the newest whole checkpoint; Lightning loads it."""
    files = run_folder.candidates(config.ckpt_path, folder, configs.name_of(config))
    path, saved = checkpoints.load_first_whole(files)
    checkpoints.check_resumable(saved, asdict(config), network, data.vocabulary, source=str(path))
    known = checkpoints.describe(saved)
    _check_word_vectors(config.model.embedding.path, known.word_vectors, source=path)
    say(f"going on from {path}")
    return _Start(path, saved, known.started_from, known.word_vectors)


def _check_word_vectors(path: str | None, known: str | None, *, source: Path) -> None:
    """Refuse other word vectors than a run began with; their file may be anywhere, or gone."""
    if not path or (known and not Path(path).expanduser().exists()):
        return
    if known is None or word_vectors.identity(path) != known:
        raise UserError(
            f"{source} did not begin with the word vectors in {path}: leave "
            "model.embedding.path out, or start a run of its own without ckpt_path"
        )


def _describe(config: Config, data: VQADataModule, start: _Start) -> checkpoints.Description:
    return checkpoints.Description(
        config=asdict(config),
        vocabulary=data.vocabulary.to_dict(),
        feature_dim=data.feature_dim,
        grid=data.feature_kind == "grid",
        type_names=list(data.type_names),
        started_from=start.started_from,
        word_vectors=start.word_vectors,
        backbone=data.backbone,
    )


def _callbacks(
    config: Config, folder: Path, description: checkpoints.Description
) -> list[pl.Callback]:
    """What a fit does besides fitting: averages weights, saves checkpoints, reports epochs."""
    return [
        EMAWeightAveraging(decay=config.optimizer.ema_decay),
        SelfDescribing(description),
        EpochSummary(),
        RunCheckpoints(
            folder / run_folder.CHECKPOINTS,
            keep=config.keep_checkpoints,
            every_n_steps=config.checkpoint_every,
        ),
    ]


def _start_from_mac(
    config: Config,
    folder: Path,
    typed: Sequence[str],
    data: VQADataModule,
    network: MACNetwork,
    vectors: str | None,
) -> dict[str, Any]:
    """Load a trained MAC into `network`, training it first where that is quick.

    Returns its results by group, in plain containers.
    """
    path = Path(config.warm_start).expanduser()
    if config.warm_start == "auto":
        place = mac_folder(config, data, vectors)
        found = warm_start.find(place)
        path = _train_mac(config, folder, typed, place) if found is None else found.path
    start = warm_start.load_into(network, path, data.vocabulary)
    accuracy = start.results.get("all")
    known = f"{100 * accuracy.accuracy:.1f} % on validation" if accuracy else "unknown accuracy"
    say(f"starting from the MAC in {path} ({known})")
    if vectors not in (None, start.word_vectors):
        say("its words, which are not those of model.embedding.path, stay as they are")
    return {name: list(means) for name, means in start.results.items()}


def _train_mac(config: Config, folder: Path, typed: Sequence[str], place: Path) -> Path:
    """Train the plain MAC that is missing and return its checkpoint."""
    arguments = configs.mac_overrides(config, typed)
    if config.data.generate is None:
        raise UserError(
            f"no trained MAC to start from in {place}: train it with "
            f"`python run.py {command_line.for_shell(arguments)}`, "
            "or give warm_start=PATH or warm_start=none"
        )
    say("no trained MAC yet: training it first")
    mac_run = folder / "warm_start"
    mac_run.mkdir(exist_ok=True)
    _fit(configs.compose(arguments), mac_run, arguments)
    set_up_process(config)  # as if it had been there
    found = warm_start.find(place)
    trial = run_folder.checkpoints_in(mac_run)  # of a limited run, which is not kept for others
    if found is None and not trial:
        raise UserError("the trial of a MAC left nothing to start from: give warm_start=none")
    return found.path if found else trial[0]
