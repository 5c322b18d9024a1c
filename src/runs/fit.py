"""Training, from a trained MAC or from a checkpoint of its own."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import EMAWeightAveraging
from pytorch_lightning.utilities.rank_zero import rank_zero_only

from dact import checkpoint as checkpoints
from dact import checks, command_line, records, run_folder, warm_start
from dact import config as configs
from dact.callbacks import EpochSummary, FiniteTraining, PonderBudget, SelfDescribing
from dact.datamodules import VQADataModule, build_datamodule
from dact.datamodules.prior import answer_priors
from dact.errors import UserError
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
from .processes import agreed, started
from .scene_rows import with_rows_of_start
from .start import Start, base_vocabulary, find_start


def fit(config: Config, folder: Path, typed: Sequence[str], *, go_on: bool = False) -> float | None:
    """Train; start from a trained MAC or resume; leave checkpoints and a table of results.

    Args:
        config: of the run.
        folder: of the run; taken while it lasts.
        typed: the user's overrides, which a MAC that has to be trained first shares.
        go_on: whether a run that was begun in the folder is gone on with, also unasked.

    Returns:
        The validation accuracy, in 0..1; None if there was no validation.

    Raises:
        UserError: there is a run in the folder already.
    """
    with started(config.trainer, folder) as shared:
        if config.ckpt_path is None and agreed(run_folder.has_begun(shared)):
            if not go_on:
                raise UserError(
                    f"{shared} holds a run already: go on with it by ckpt_path=last, or give "
                    "another hydra.run.dir"
                )
            config = replace(config, ckpt_path="last")
        config = with_rows_of_start(config, shared, typed)
        if rank_zero_only.rank != 0:  # the first process takes the folder for all
            return _fit(config, shared, typed)
        with run_folder.taken(shared):
            run_folder.note_job(shared)
            begin = partial(records.write_options, shared, config, typed)
            finish = partial(run_folder.finish, shared)
            if not run_folder.has_begun(shared):
                begin()
                return _fit(config, shared, typed, finish=finish)
            return _fit(config, shared, typed, begin, finish)  # if it is known to be the same run


def _fit(
    config: Config,
    folder: Path,
    typed: Sequence[str],
    begin: Callable[[], None] | None = None,
    finish: Callable[[Mapping[str, Any], float | None], None] | None = None,
) -> float | None:
    """Train; `begin` is called when nothing is refused any more, and `finish` gets the options and
    the accuracy once everything is there.
    """
    set_up_process(config)
    base = base_vocabulary(config, folder, typed)
    data = build_datamodule(**configs.data_options(config.data, config.seed), base=base)
    data.prepare_data("fit")
    data.setup("fit")
    network = make_network(config, data)
    module = make_module(config, network, data)
    start = find_start(config, folder, typed, data, network, train=_fit)
    if start.saved is not None:
        module.results = checkpoints.results(start.saved)
    description = _describe(config, data, start)
    saver = _saver(config, folder)
    trainer = make_trainer(config, folder, [*_callbacks(config, description), saver])
    if begin is not None:
        begin()
    with at_work(trainer):
        trainer.fit(module, data, ckpt_path=start.resume_from, weights_only=True)
        log_report(trainer, folder)
    accuracy = module.results["all"].accuracy if module.results else None
    if trainer.is_global_zero and accuracy is not None:
        if not checks.is_limited(config.trainer):
            _offer(config, module, data, description, start, trainer.global_step)
        _report(config, folder, module, data, description)
        _report_budget(trainer, module)
    if finish is not None:
        finish(asdict(config), accuracy)
    saver.obey(trainer)
    return accuracy


def _report(
    config: Config,
    folder: Path,
    module: VQALitModule,
    data: VQADataModule,
    description: checkpoints.Description,
) -> None:
    """Print the results, and how to get those that training has not asked for."""
    baseline = checkpoints.started_from(description)
    floors = answer_priors(*(data.dataset(split).questions for split in data.splits_of("fit")))
    show(module.results, f"{folder.name}: validation", baseline=baseline, floors=floors)
    say(f"the commonest answer to each type of question: {100 * floors['all']:.1f} % right")
    last = folder / run_folder.CHECKPOINTS / run_folder.LAST
    if data.other_split and data.other_split != data.val_split and last.exists():
        typed = command_line.for_shell([command_line.quote_path(f"ckpt_path={last}")])
        say(
            f"the same on {data.other_split}: `python run.py mode=validate {typed} "
            f"data.split={data.other_split}`"
        )


def _report_budget(trainer: pl.Trainer, module: VQALitModule) -> None:
    """Print how many steps came out, where so many were asked for."""
    for one in trainer.callbacks:
        if isinstance(one, PonderBudget):
            say(
                f"budget: {one.target_steps:g} steps, taken: {module.results['all'].steps:.2f}; "
                f"τ ended at {one.cost:.2g}"
            )


def _offer(
    config: Config,
    module: VQALitModule,
    data: VQADataModule,
    description: checkpoints.Description,
    start: Start,
    step: int,
) -> None:
    """Offer a trained MAC to the networks that start from one with the same words."""
    if config.model.name != "mac" or config.data.grow_vocabulary:
        return
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


def _callbacks(config: Config, description: checkpoints.Description) -> list[pl.Callback]:
    """What a fit does besides fitting and saving: averages weights, reports epochs."""
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
    ]


def _saver(config: Config, folder: Path) -> RunCheckpoints:
    return RunCheckpoints(
        folder / run_folder.CHECKPOINTS,
        keep=config.keep_checkpoints,
        every_n_steps=config.checkpoint_every,
    )
