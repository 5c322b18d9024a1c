"""Training, from a trained MAC or from a checkpoint of its own."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path

import pytorch_lightning as pl
from pytorch_lightning.callbacks import EMAWeightAveraging, LambdaCallback
from pytorch_lightning.utilities.rank_zero import rank_zero_only

from dact import checkpoint as checkpoints
from dact import checks, command_line, records, run_folder, warm_start
from dact import config as configs
from dact.callbacks import EpochSummary, FiniteTraining, PonderBudget, SelfDescribing
from dact.datamodules import VQADataModule, build_datamodule
from dact.datamodules.prior import answer_priors
from dact.datamodules.provenance import describe, has_random_weights
from dact.errors import UserError
from dact.limits import Clock, TimeIsUpError
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
    num_tokens,
    say,
    set_up_process,
    show,
)
from .place import training_order
from .processes import agreed, number_of_processes, started
from .scene_rows import with_rows_of_start
from .start import Start, base_vocabulary, find_start
from .stop import GO_ON, Finish, accuracy_of, is_done, say_stopped, stay, train_or_stop


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
            finish = partial(run_folder.finish, shared, asdict(config))
            if not run_folder.has_begun(shared):
                begin()
                return _fit(config, shared, typed, finish=finish)
            return _fit(config, shared, typed, begin, finish)  # if it is known to be the same run


def _fit(
    config: Config,
    folder: Path,
    typed: Sequence[str],
    begin: Callable[[], None] | None = None,
    finish: Finish | None = None,
    clock: Clock | None = None,
) -> float | None:
    """Train; `begin` is called when nothing is refused any more, and `finish` gets the accuracy,
    and where the run was stopped if it was, once everything is there.

    `clock` is that of the run for whose sake a MAC is trained first.
    """
    clock = clock or Clock(config.trainer.max_time)
    set_up_process(config)
    config, data = _open_data(config, folder, typed)
    network = make_network(config, data)
    module = make_module(config, network, data)
    try:
        mac = partial(_fit, clock=clock)
        start = find_start(config, folder, typed, data, network, mac, clock)
    except TimeIsUpError:
        say(f"stopped by trainer.max_time={clock.max_time} in the MAC that comes first; {GO_ON}")
        return None
    if start.saved is not None and is_done(config, start.saved):
        return stay(config, folder, data, module, start, finish)
    description = _describe(config, data, start)
    saver = _saver(config, folder, clock)
    trainer = make_trainer(config, folder, [*_callbacks(config, description, begin), saver])
    with at_work(trainer):
        train_or_stop(trainer, module, data, start, saver)
        log_report(trainer, folder)
    stopped, accuracy = saver.stopped, accuracy_of(module)
    if trainer.is_global_zero and accuracy is not None:
        if stopped is None and not checks.is_limited(config.trainer):
            _offer(config, module, data, description, start, trainer.global_step)
        _report(config, folder, module, data, description)
        _report_budget(trainer, module)
    say_stopped(stopped)
    if finish is not None:
        finish(accuracy, stopped)
    saver.obey(trainer)
    return accuracy


def _open_data(config: Config, folder: Path, typed: Sequence[str]) -> tuple[Config, VQADataModule]:
    """The data of a fit, set up, and the options without those that only the data can decide."""
    base = base_vocabulary(config, folder, typed)
    overfit = bool(config.trainer.overfit_batches)
    options = configs.data_options(config.data, config.seed)
    data = build_datamodule(**options, base=base, same_epochs=overfit)
    data.prepare_data("fit")
    data.setup("fit")
    if has_random_weights(data.store.made_by):
        say(f"the features were made by {describe(data.store.made_by)}: nobody trained it")
    return _overfitting(config, data), data


def _overfitting(config: Config, data: VQADataModule) -> Config:
    """With `trainer.overfit_batches` as a number of batches, where it is a share of them.

    Of validation, which may have far fewer batches, the same number is answered.
    """
    share = config.trainer.overfit_batches
    if not isinstance(share, float) or not 0 < share <= 1:
        return config
    _, number = training_order(data, number_of_processes(), share)
    return replace(config, trainer=replace(config.trainer, overfit_batches=max(number, 1)))


def _report(
    config: Config,
    folder: Path,
    module: VQALitModule,
    data: VQADataModule,
    description: checkpoints.Description,
) -> None:
    """Print the results, and how to get those that training has not asked for."""
    baseline = checkpoints.started_from(description)
    train, val = (data.dataset(split) for split in data.splits_of("fit"))
    floors = answer_priors(train.questions, val.questions, val.positions)
    show(module.results, f"{folder.name}: validation", baseline=baseline, floors=floors)
    guessing = 100 * floors["all"]
    say(f"guessing is to give the commonest answer to each type of question: {guessing:.1f} %")
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
        features=data.store.made_by,
        num_tokens=num_tokens(data),
    )


def _callbacks(
    config: Config, description: checkpoints.Description, begin: Callable[[], None] | None
) -> list[pl.Callback]:
    """What a fit does besides fitting and saving: averages weights, reports epochs."""
    ponder = config.ponder
    once = [] if begin is None else [LambdaCallback(on_train_start=lambda *_: begin())]
    budget = []
    if ponder.target_steps is not None:
        budget = [PonderBudget(ponder.target_steps, ponder.target_rate, ponder.target_gain)]
    return [
        *once,
        *budget,
        EMAWeightAveraging(decay=config.optimizer.ema_decay),
        FiniteTraining(),
        SelfDescribing(description),
        EpochSummary(),
    ]


def _saver(config: Config, folder: Path, clock: Clock) -> RunCheckpoints:
    return RunCheckpoints(
        folder / run_folder.CHECKPOINTS,
        keep=config.keep_checkpoints,
        every_n_steps=config.checkpoint_every,
        max_steps=config.trainer.max_steps,
        clock=clock,
    )
