"""The parts of a run, made from its configuration."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.utilities.rank_zero import rank_zero_only
from rich.console import Console

from dact import checkpoint as checkpoints
from dact import checkpoint_checks, warm_start
from dact import config as configs
from dact.allocator import keep_freed_memory
from dact.callbacks import progress_bar
from dact.checkpoint_file import WholeFiles
from dact.datamodules import Vocabulary, VQADataModule
from dact.datamodules.loaders import dead_workers_in_one_line
from dact.errors import UserError
from dact.lit_module import VQALitModule
from dact.metrics import GroupMeans
from dact.models import MACNetwork, build_network
from dact.report import results_table
from dact.schema import Config, TrainerConfig
from dact.word_vectors import read_word_vectors

from .processes import REFUSALS, refused_in_one_line, refused_options

#: Where the errors of PyTorch's compilers are defined.
_COMPILERS = ("torch._dynamo", "torch._inductor", "torch._functorch", "triton")


def set_up_process(config: Config) -> None:
    """What must be set before anything is made."""
    keep_freed_memory()
    pl.seed_everything(config.seed, verbose=False)
    if config.threads:
        torch.set_num_threads(config.threads)


def make_network(config: Config, data: VQADataModule) -> MACNetwork:
    """The configured network, of the size that the data ask for."""
    network = build_network(config.model, ponder=config.ponder, **sizes(data))
    if config.model.compile:
        network.compile_parts(mode=config.model.compile_mode)
    return network


def sizes(data: VQADataModule) -> dict[str, Any]:
    """What a network must know of the data."""
    return {
        "num_words": data.vocabulary.num_words,
        "num_answers": data.vocabulary.num_answers,
        "feature_dim": data.feature_dim,
        "grid": data.feature_kind == "grid",
    }


def num_tokens(data: VQADataModule) -> int | None:
    """T, where knowledge cells are tokens of a vision transformer."""
    return data.store.num_cells if data.feature_kind == "tokens" else None


def check_data(description: checkpoints.Description, data: VQADataModule, path: Path) -> None:
    """Refuse data that a checkpoint's network was not made for.

    Args:
        description: of the checkpoint.
        data: set up, with its vocabulary.
        path: of the checkpoint.

    Raises:
        UserError: they have other sizes, or features that were made otherwise.
    """
    expected, found = checkpoints.sizes(description, data.vocabulary), sizes(data)
    expected |= {"num_tokens": description.num_tokens}
    found |= {"num_tokens": num_tokens(data)}
    if found != expected:
        raise UserError(f"{path} was trained on other features: {expected}, not {found}")
    checkpoint_checks.check_features(description, data.store.made_by, path)


def make_module(config: Config, network: MACNetwork, data: VQADataModule) -> VQALitModule:
    """The network with its loss, optimizer and metrics."""
    optimizer = asdict(config.optimizer)
    del optimizer["ema_decay"]  # a callback's
    return VQALitModule(
        network,
        ponder_cost=config.ponder.cost,
        type_names=data.type_names,
        max_steps=config.trainer.max_steps,
        seed=config.seed,
        **optimizer,
    )


def make_trainer(
    config: Config, folder: Path, callbacks: Sequence[pl.Callback], *, log: bool = True
) -> pl.Trainer:
    """Lightning's Trainer.

    Raises:
        UserError: Lightning refuses one of its options, for instance a device that is not there,
            or the logger one of its own.
    """
    logger = None
    if log and config.logger:
        logger = configs.instantiate("logger", config.logger, save_dir=str(folder))
    arguments = _arguments(config.trainer)
    arguments["default_root_dir"] = arguments["default_root_dir"] or str(folder)
    bars = progress_bar(arguments.pop("enable_progress_bar"))
    plugins = arguments.pop("plugins") or []
    arguments["plugins"] = [*(plugins if isinstance(plugins, list) else [plugins]), WholeFiles()]
    try:
        trainer = pl.Trainer(
            **arguments,
            enable_progress_bar=bool(bars),
            logger=logger or False,
            callbacks=[*callbacks, *bars],
        )
    except REFUSALS as error:
        raise refused_options(error) from error
    for known in trainer.loggers:  # which begin their runs only now that nothing is refused
        known.log_hyperparams(asdict(config))
    return trainer


def _arguments(trainer: TrainerConfig) -> dict[str, Any]:
    """Those of Lightning's Trainer, without what is done in its place.

    `RunCheckpoints` stops at numbers of steps and times, where the run can be resumed. Lightning
    would put a sampler of its own into the loaders for `overfit_batches`; the data module orders
    the examples for it.
    """
    arguments = asdict(trainer)
    limited = trainer.max_steps != -1 or trainer.max_time is not None
    if trainer.max_epochs is None and limited:
        arguments["max_epochs"] = -1
    arguments |= {"max_steps": -1, "max_time": None}
    if trainer.overfit_batches:
        batches = trainer.overfit_batches
        arguments |= {"limit_train_batches": batches, "limit_val_batches": batches}
        arguments["overfit_batches"] = 0.0
    return arguments


@contextmanager
def at_work(trainer: pl.Trainer) -> Iterator[None]:
    """End the trackers' runs with what happens inside, as failed after an exception.

    The next run in this process, as in a sweep, is then a run of its own.

    Raises:
        UserError: a process that makes batches died, Lightning refuses one of its options, or the
            network cannot be compiled here.
    """
    try:
        with dead_workers_in_one_line(), refused_in_one_line(), failed_compilers_in_one_line():
            yield
    except BaseException as error:
        # Lightning makes a SystemExit of an interrupt. The codes are those of W&B's own hooks.
        stopped = KeyboardInterrupt in (type(error), type(error.__context__))
        finish_logging(trainer, 255 if stopped else 1)
        raise
    finish_logging(trainer)


@contextmanager
def failed_compilers_in_one_line() -> Iterator[None]:
    """Around all that runs a network which PyTorch may have to compile.

    Raises:
        UserError: instead of the errors of PyTorch's compilers.
    """
    try:
        yield
    except Exception as error:
        if not type(error).__module__.startswith(_COMPILERS):
            raise
        reason = " ".join(str(error).strip().partition("\n")[0].split())
        raise UserError(
            f"model.compile=true does not work here ({reason}): install a C++ "
            "compiler such as g++, or name one in the environment variable CXX; on a GPU Triton "
            "and a C compiler, CC, too. Or give model.compile=false"
        ) from error


def finish_logging(trainer: pl.Trainer, exit_code: int = 0) -> None:
    """End the trackers' runs; other codes than 0 mean that they have failed."""
    for logger in trainer.loggers:
        if hasattr(logger, "finish"):
            logger.finish(exit_code)


def mac_folder(config: Config, data: VQADataModule, word_vectors: str | None) -> Path:
    """Where the plain MAC for these data, this shape of network and word vectors is kept."""
    options = checkpoints.network_options(asdict(config))
    return warm_start.folder(data.cache_dir, data.fingerprint, options, word_vectors)


def load_word_vectors(network: MACNetwork, path: str, vocabulary: Vocabulary) -> None:
    """Start the embedding from a file; other words, padding and unknown word stay as they are.

    Raises:
        UserError: the file is missing or broken, or has vectors of another size.
    """
    embedding = network.encoder.embedding
    words = vocabulary.words
    ids, vectors, missing = read_word_vectors(path, words, embedding.embedding_dim)
    with torch.no_grad():
        embedding.weight[torch.from_numpy(ids)] = torch.from_numpy(vectors)
    named = ", ".join(map(repr, missing[:5])) + (", …" if len(missing) > 5 else "")
    rest = f"; not in it: {named}" if missing else ""
    say(f"{len(ids)} of {len(words)} words start from the vectors in {path}{rest}")


def show(
    results: Mapping[str, GroupMeans],
    title: str,
    **options: Any,
) -> None:
    """Print the table of results; arguments as of `results_table`."""
    Console().print(results_table(results, title=title, **options))


def say(text: str) -> None:
    """Print a line as it is, paths unbroken; once for all processes."""
    if rank_zero_only.rank == 0:
        Console().print(text, soft_wrap=True, highlight=False, markup=False, emoji=False)
