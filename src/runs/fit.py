"""Training, from a trained MAC or from a checkpoint of its own."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import pytorch_lightning as pl
from pytorch_lightning.callbacks import EMAWeightAveraging
from pytorch_lightning.utilities.rank_zero import rank_zero_only

from dact import checkpoint as checkpoints
from dact import checks, run_folder, warm_start
from dact import config as configs
from dact.callbacks import EpochSummary, FiniteTraining, PonderBudget, SelfDescribing
from dact.datamodules import VQADataModule, build_datamodule
from dact.datamodules.prior import answer_prior
from dact.lit_module import VQALitModule
from dact.saving import RunCheckpoints
from dact.schema import Config

from .explain import log_report
from .parts import (
    at_work,
    mac_folder,
    make_module,
    make_network,
    make_trainer,
    say,
    set_up_process,
    show,
)
from .processes import started
from .start import Start, find_start


def fit(config: Config, folder: Path, typed: Sequence[str]) -> float | None:
    """Train; start from a trained MAC or resume; leave checkpoints and a table of results.

    Args:
        config: of the run.
        folder: of the run; taken while it lasts.
        typed: the user's overrides, which a MAC that has to be trained first shares.

    Returns:
        The validation accuracy, in 0..1; None if there was no validation.
    """
    with started(config.trainer, folder) as shared:
        if rank_zero_only.rank != 0:  # the first process takes the folder for all
            return _fit(config, shared, typed)
        with run_folder.taken(shared):
            run_folder.note_job(shared)
            accuracy = _fit(config, shared, typed)
            run_folder.finish(shared, asdict(config), accuracy)
            return accuracy


def _fit(config: Config, folder: Path, typed: Sequence[str]) -> float | None:
    set_up_process(config)
    data = build_datamodule(**configs.data_options(config.data, config.seed))
    data.prepare_data("fit")
    data.setup("fit")
    network = make_network(config, data)
    module = make_module(config, network, data)
    start = find_start(config, folder, typed, data, network, train=_fit)
    if start.saved is not None:
        module.results = checkpoints.results(start.saved)
    description = _describe(config, data, start)
    trainer = make_trainer(config, folder, _callbacks(config, folder, description))
    with at_work(trainer):
        trainer.fit(module, data, ckpt_path=start.resume_from, weights_only=True)
        log_report(trainer, folder)
    if not module.results:  # trainer.limit_val_batches=0
        return None
    if trainer.is_global_zero:
        if config.model.name == "mac" and not checks.is_limited(config.trainer):
            _offer(config, module, data, description, start, trainer.global_step)
        baseline = checkpoints.started_from(description)
        prior = answer_prior(*(data.dataset(split).questions for split in data.splits_of("fit")))
        show(module.results, f"{folder.name}: validation", baseline=baseline)
        say(f"without looking, the commonest answer to each kind of question: {100 * prior:.1f} %")
        if config.ponder.target_steps is not None:
            steps = module.results["all"].steps
            say(
                f"budget: {config.ponder.target_steps:g} steps, taken {steps:.2f}; τ ended at "
                f"{module.ponder_cost:.2g}"
            )
    return module.results["all"].accuracy


def _offer(
    config: Config,
    module: VQALitModule,
    data: VQADataModule,
    description: checkpoints.Description,
    start: Start,
    step: int,
) -> None:
    """Offer a trained MAC to the networks that start from one."""
    # A run that was complete already has loaded its raw weights, and averaged no more.
    trained = start.saved is None or step > start.saved["global_step"]
    weights = module.state_dict() if trained else start.saved["state_dict"]
    entry = checkpoints.entry(description, module.results)
    place = mac_folder(config, data, start.word_vectors)
    warm_start.offer(place, {"state_dict": weights, checkpoints.ENTRY: entry})


def _describe(config: Config, data: VQADataModule, start: Start) -> checkpoints.Description:
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
    ponder = config.ponder
    budget = []
    if ponder.target_steps is not None:
        budget = [PonderBudget(ponder.target_steps, ponder.target_rate, ponder.target_gain)]
    return [
        *budget,
        EMAWeightAveraging(decay=config.optimizer.ema_decay),
        FiniteTraining(),
        SelfDescribing(description),
        EpochSummary(),
        RunCheckpoints(
            folder / run_folder.CHECKPOINTS,
            keep=config.keep_checkpoints,
            every_n_steps=config.checkpoint_every,
        ),
    ]
