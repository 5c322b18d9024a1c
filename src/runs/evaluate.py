"""Validation, testing and prediction with a checkpoint, which says what network it is."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pytorch_lightning.utilities.rank_zero import rank_zero_only

from dact import checkpoint as checkpoints
from dact import checks, command_line, records, run_folder
from dact import config as configs
from dact.datamodules import GQADataModule, Vocabulary, VQADataModule, build_datamodule
from dact.errors import UserError
from dact.lit_module import VQALitModule
from dact.metrics import Agreement
from dact.options import INEXACT_BOUNDS
from dact.predictions import AttentionWriter
from dact.schema import Config

from . import official
from .parts import (
    at_work,
    check_data,
    make_module,
    make_network,
    make_trainer,
    say,
    set_up_process,
    show,
)
from .processes import started

#: How much of a split is evaluated, by mode.
_LIMITS = {
    "validate": "limit_val_batches",
    "test": "limit_test_batches",
    "predict": "limit_predict_batches",
}


def evaluate(config: Config, folder: Path, typed: Sequence[str]) -> float | None:
    """Validate, test or predict.

    A fresh Trainer does it, without the averaging callback, which would put the raw weights back.

    Args:
        config: of the run.
        folder: of the run; where it keeps its records is taken while it lasts.
        typed: the user's overrides, of which the network allows few.

    Returns:
        The accuracy, in 0..1; None of a prediction.
    """
    with started(config.trainer, folder) as shared:
        if rank_zero_only.rank != 0:  # the first process takes the folder for all
            return _evaluate(config, shared, typed)[1]
        own = records.folder_of(shared, config.mode)
        with run_folder.taken(own):
            used, accuracy = _evaluate(config, shared, typed)
            records.write_options(own, used, typed)
            run_folder.finish(own, asdict(used), accuracy)
            return accuracy


def _evaluate(config: Config, folder: Path, typed: Sequence[str]) -> tuple[Config, float | None]:
    """Returns the options of the network that was evaluated, too."""
    if not config.ckpt_path:
        raise UserError(f"mode={config.mode} needs a checkpoint: ckpt_path=PATH or ckpt_path=last")
    if getattr(config.trainer, _LIMITS[config.mode]) == 0:
        raise UserError(
            f"no questions would be evaluated: leave out trainer.{_LIMITS[config.mode]}"
        )
    files = run_folder.candidates(config.ckpt_path, folder, configs.name_of(config))
    path, saved = checkpoints.load_first_whole(files)
    description = checkpoints.describe(saved)
    config = configs.for_evaluation(config, description.config, typed)
    checks.check_budgets(config)
    checks.check_typed_is_used(config, typed)
    set_up_process(config)
    if config.ckpt_path == "last":
        say(f"the newest checkpoint is {path}")
    data = _open_data(config, description, path)
    network = make_network(config, data)
    checkpoints.load_weights(network, checkpoints.network_weights(saved), source=str(path))
    module = make_module(config, network, data)
    split = data.splits_of(config.mode)[-1]
    if config.mode != "predict" and not data.has_answers(split):
        raise UserError(f"split {split} has no answers to compare with: use mode=predict")
    if config.mode == "predict":
        return config, _predict(config, folder, module, data, split)
    chosen = any(command_line.key_of(text) == "model.halting_bound" for text in typed)
    if config.model.name == "dact" and (chosen or config.model.halting_bound in INEXACT_BOUNDS):
        module.agreement = Agreement()
    title = f"{path.name} on {config.data.name} {split}"
    beside = _beside(saved, data, split, config)
    return config, _score(config, folder, module, data, title=title, **beside)


def _beside(
    saved: Mapping[str, Any], data: VQADataModule, split: str, config: Config
) -> dict[str, Any]:
    """What to show beside the results on a split: those of the checkpoint's own validation, if that
    was on another split of the same data.
    """
    own = checkpoints.describe(saved).config["data"]
    val_split = own.get("val_split") or data.val_split
    if own["name"] != config.data.name or val_split == split:
        return {}
    return {"baseline": checkpoints.results(saved), "beside": val_split}


def _predict(
    config: Config, folder: Path, module: VQALitModule, data: VQADataModule, split: str
) -> None:
    """Write what there is to say of each question of `split`."""
    writers = official.writers(config, folder, data, split)
    module.attentive = any(isinstance(writer, AttentionWriter) for writer in writers)
    trainer = make_trainer(config, folder, writers, log=False)
    with at_work(trainer):
        trainer.predict(module, data, return_predictions=False)
    for writer in writers if trainer.is_global_zero else ():
        say(f"written: {writer.path}")


def _score(
    config: Config,
    folder: Path,
    module: VQALitModule,
    data: VQADataModule,
    *,
    title: str,
    **beside: Any,
) -> float:
    """Validate or test, print the results, and return the accuracy.

    Arguments after `data` are those of `show`.
    """
    split = data.splits_of(config.mode)[-1]
    official_too = config.mode == "validate" and isinstance(data, GQADataModule)
    own = records.folder_of(folder, config.mode)
    writers = official.writers(config, own, data, split) if official_too else []
    module.attentive = any(isinstance(writer, AttentionWriter) for writer in writers)
    trainer = make_trainer(config, own, writers)
    run_split = trainer.validate if config.mode == "validate" else trainer.test
    with at_work(trainer):
        run_split(module, data, verbose=False)
    if trainer.is_global_zero:
        show(module.results, title, lengths=True, **beside)
        if module.agreed is not None:
            _say_agreement(module)
        if official_too:
            official.report(config, own, data, split)
    return module.results["all"].accuracy


def _say_agreement(module: VQALitModule) -> None:
    """What a bound saves, and what it changes."""
    most, taken = module.network.max_steps, module.results["all"].steps
    say(
        f"against all {most} steps: the same answer to {100 * module.agreed:.2f} % of "
        f"questions, {most - taken:.2f} steps saved"
    )


def _open_data(config: Config, description: checkpoints.Description, path: Path) -> VQADataModule:
    """The data to evaluate on, in the words of the checkpoint."""
    vocabulary = Vocabulary.from_dict(description.vocabulary)
    data = build_datamodule(**configs.data_options(config.data, config.seed), vocabulary=vocabulary)
    data.prepare_data(config.mode)
    data.setup(config.mode)
    check_data(description, data, path)
    return data
