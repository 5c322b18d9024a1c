"""What a checkpoint holds, ready to be used without a configuration of one's own."""

from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any, NamedTuple

import pytorch_lightning as pl
from pytorch_lightning.plugins.environments import LightningEnvironment

from dact import checkpoint as checkpoints
from dact.callbacks import progress_bar
from dact.datamodules import Vocabulary, VQADataModule, build_datamodule
from dact.datamodules.vocabulary import choose_tokenizer
from dact.errors import UserError
from dact.explain.survey import Survey, survey
from dact.lit_module import VQALitModule
from dact.models import MACNetwork, build_network
from dact.options import PonderOptions

from .parts import check_data
from .place import place_of

#: Options of a dataset that a checkpoint's own run decides.
_DATA = (
    *("name", "root", "cache_dir", "train_split", "val_split"),
    *("features", "background", "feature_dataset", "feature_axes", "missing_images"),
)


class Restored(NamedTuple):
    """A trained network and what explains it."""

    path: Path
    """Of the checkpoint."""
    network: MACNetwork
    """In evaluation mode."""
    vocabulary: Vocabulary
    description: checkpoints.Description
    results: dict[str, Any]
    """`GroupMeans` of its last validation, by group; may be empty."""
    epochs_left: int
    """Epochs that its training still had to go, one that was begun among them."""
    tokenizer: str | None = None
    """What the user names, see `choose_tokenizer`."""

    @property
    def checked_vocabulary(self) -> Vocabulary:
        """The vocabulary, for questions that it shall cut into words.

        Raises:
            UserError: see `choose_tokenizer`.
        """
        choose_tokenizer(self.tokenizer, self.vocabulary)
        return self.vocabulary

    @property
    def data_name(self) -> str:
        """The dataset it was trained on."""
        return self.description.config["data"]["name"]

    @property
    def model(self) -> str:
        """Name of the kind of network."""
        return self.description.config["model"]["name"]

    @property
    def run(self) -> str:
        """Name of its run, or of the file if it is in no run folder."""
        folder = self.path.absolute().parent
        return folder.parent.name if folder.name == "checkpoints" else self.path.stem


def restore(path: Path, tokenizer: str | None = None) -> Restored:
    """Load a checkpoint and build its network.

    Args:
        path: of the checkpoint.
        tokenizer: that of the network; needed where words are cut by a function of one's own.

    Raises:
        UserError: it is none of ours, damaged, or of another network than it says.
    """
    saved = checkpoints.load(Path(path).expanduser())
    description = checkpoints.describe(saved)
    vocabulary = Vocabulary.from_dict(description.vocabulary)
    known = {entry.name for entry in fields(PonderOptions)}
    ponder = {key: value for key, value in description.config["ponder"].items() if key in known}
    network = build_network(
        checkpoints.network_options(description.config),
        ponder=PonderOptions(**ponder),
        **checkpoints.sizes(description, vocabulary),
    )
    checkpoints.load_weights(network, checkpoints.network_weights(saved), source=str(path))
    results = checkpoints.results(saved)
    left = _epochs_left(saved, description.config)
    parts = (network.eval(), vocabulary, description, results, left, tokenizer)
    return Restored(Path(path), *parts)


def _epochs_left(saved: Mapping[str, Any], config: Mapping[str, Any]) -> int:
    """0 of weights alone, and of a training without a number of epochs."""
    wanted = config.get("trainer", {}).get("max_epochs")
    return max(wanted - place_of(saved).epochs, 0) if wanted and "loops" in saved else 0


def open_data(restored: Restored, root: Path | None = None, split: str | None = None) -> Any:
    """The dataset of a checkpoint, or another folder of its kind, set up with one split.

    Args:
        restored: the checkpoint.
        root: another folder.
        split: another split than the one it was validated on.

    Returns:
        The data module, a `VQADataModule`; `data.splits_of("predict")` has the split.

    Raises:
        UserError: nobody says where the data are, they are not there, or of other features.
    """
    stored: Mapping[str, Any] = restored.description.config["data"]
    options = {name: stored.get(name) for name in _DATA}
    if root is not None:
        if not root.is_dir():
            raise UserError(f"--root {root}: no such folder")
        options |= {"root": root, "cache_dir": None}
    if options["root"] is None:
        raise UserError(f"{restored.path} does not say where its data are: give --root")
    recipe = {key: v for key, v in (stored.get("generate") or {}).items() if v is not None}
    data: VQADataModule = build_datamodule(
        **options,
        split=split,
        generate=recipe,
        batch_size=stored.get("eval_batch_size") or 64,
        vocabulary=restored.vocabulary,
        tokenizer=restored.tokenizer,
    )
    data.prepare_data("predict")
    data.setup("predict")
    check_data(restored.description, data, restored.path)
    return data


def answer_split(
    restored: Restored, data: VQADataModule, limit: int | None = None, *, accelerator: Any = "auto"
) -> Survey:
    """Have a network answer the split that `data` was set up with.

    Args:
        restored: the network.
        data: of `open_data`.
        limit: no more than so many questions, rounded up to a whole batch.
        accelerator: as of Lightning's Trainer.

    Raises:
        UserError: the split has no answers to compare with.
    """
    (split,) = data.splits_of("predict")
    if not data.has_answers(split):
        raise UserError(f"split {split} has no answers to compare with: choose another --split")
    module = VQALitModule(restored.network, ponder_cost=0.0, type_names=data.type_names)
    bars = progress_bar(None)
    trainer = pl.Trainer(
        accelerator=accelerator,
        devices=1,
        plugins=LightningEnvironment(),  # whatever SLURM or torchrun say: it is this process alone
        logger=False,
        enable_checkpointing=False,
        enable_model_summary=False,
        enable_progress_bar=bool(bars),
        callbacks=bars,
        limit_predict_batches=None if limit is None else -(-limit // data.eval_batch_size),
    )
    return survey(trainer.predict(module, data), data.dataset(split).questions)
