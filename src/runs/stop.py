"""A training that a limit of steps or time stops before it is over."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytorch_lightning as pl

from dact import checkpoint as checkpoints
from dact import run_folder
from dact.datamodules import VQADataModule
from dact.lit_module import VQALitModule
from dact.saving import RunCheckpoints, epoch_is_whole
from dact.schema import Config

from .parts import at_work, make_trainer, say, show
from .place import place_of
from .start import Start

#: Notes the accuracy, and where a run was stopped if it was.
Finish = Callable[[float | None, Mapping[str, Any] | None], None]
GO_ON = "the same command without it, or with more, and ckpt_path=last goes on from there"


def accuracy_of(module: VQALitModule) -> float | None:
    """Accuracy of the last validation, if there was one."""
    return module.results["all"].accuracy if module.results else None


def train_or_stop(
    trainer: pl.Trainer,
    module: VQALitModule,
    data: VQADataModule,
    start: Start,
    saver: RunCheckpoints,
) -> None:
    """Fit; where a limit of steps or time stops the run, answer the validation questions there.

    That validation is no part of the run that goes on: it changes no learning rate that is saved.
    """
    if start.saved is not None and not checkpoints.was_stopped(start.saved):
        module.results = checkpoints.results(start.saved)
    if module.schedule == "trapezoid" and trainer.max_epochs == module.max_steps == -1:
        say(
            "optimizer.schedule=trapezoid has no end without trainer.max_epochs or max_steps: the "
            "learning rate stays constant"
        )
    trainer.fit(module, data, ckpt_path=start.resume_from, weights_only=True)
    if saver.stopped_by is None:
        return
    saver.obey(trainer)
    if trainer.limit_val_batches and not (module.results and epoch_is_whole(trainer)):
        trainer.validate(module, data.val_dataloader(), verbose=False)
    if trainer.is_global_zero:
        checkpoints.note_results_at_stop(saver.folder / run_folder.LAST, module.results)


def say_stopped(stopped: Mapping[str, Any] | None) -> None:
    """Say what stopped a run, if something did, and how to go on."""
    if stopped is not None:
        say(f"stopped by {stopped['by']} after step {stopped['step']}; {GO_ON}")


def is_done(config: Config, saved: Mapping[str, Any]) -> bool:
    """Whether a checkpoint is at `trainer.max_steps` already, and not at the end of its epochs."""
    steps, place = config.trainer.max_steps, place_of(saved)
    return 0 <= steps <= place.step and place.epochs != config.trainer.max_epochs


def stay(
    config: Config,
    folder: Path,
    data: VQADataModule,
    module: VQALitModule,
    start: Start,
    finish: Finish | None,
) -> float | None:
    """Report on a checkpoint that is at `trainer.max_steps` already; returns its accuracy."""
    module.results = checkpoints.results(start.saved)
    if not module.results and config.trainer.limit_val_batches != 0:  # killed before it was there
        weights = checkpoints.network_weights(start.saved)
        checkpoints.load_weights(module.network, weights, source=str(start.resume_from))
        trainer = data.trainer = make_trainer(config, folder, [], log=False)
        with at_work(trainer):
            trainer.validate(module, data.val_dataloader(), verbose=False)
    step, most = start.saved["global_step"], config.trainer.max_steps
    stopped = {"by": f"trainer.max_steps={most}", "step": step, "steps": None}
    known = run_folder.result_in(folder) or {}
    if (known.get("stopped") or {}).get("step") == step:
        stopped["steps"] = known["stopped"]["steps"]
    if module.results:
        show(module.results, f"{folder.name}: validation")
    say(f"nothing to train: {start.resume_from} is at step {step}, and {stopped['by']}; {GO_ON}")
    accuracy = accuracy_of(module)
    if finish is not None:
        finish(accuracy, None if config.trainer.max_epochs == -1 else stopped)
    return accuracy
