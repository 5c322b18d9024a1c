"""Whether a run may use a checkpoint: the same features, words, answers and options."""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from torch import nn

from dact.checkpoint import (
    Description,
    check_weights,
    describe,
    embedding_options,
    network_weights,
)
from dact.datamodules.provenance import check_same
from dact.datamodules.vocabulary import Vocabulary
from dact.errors import UserError
from dact.options import CHOSEN_IN_EVALUATION, NetworkOptions, PonderOptions

_KINDS = {"model": NetworkOptions, "ponder": PonderOptions}
#: Options that a run keeps to its end, by group; None: all of `_KINDS`.
_DECIDED = {
    "model": None,
    "ponder": None,
    "data": (
        *("name", "features", "background", "train_split", "fraction", "missing_images"),
        *("batch_size", "tokenizer"),
    ),
}


def check_features(description: Description, made_by: Mapping[str, Any], source: Path) -> None:
    """Refuse features that were made otherwise than those that a network was trained on.

    Args:
        description: of the checkpoint.
        made_by: what made the features.
        source: the checkpoint, for the message.

    Raises:
        UserError: naming both.
    """
    trained_on = description.features or description.backbone or {}
    check_same(
        trained_on,
        made_by,
        f"the features that {source} was trained on",
        "those of these data",
        "give the features that the network was trained on, or train it on these",
    )


def check_vocabulary(checkpoint: Mapping[str, Any], vocabulary: Vocabulary, *, source: str) -> None:
    """Refuse to go on with a network whose words or answers have other numbers.

    Raises:
        UserError: the checkpoint was trained with another vocabulary than that of the data.
    """
    known = Vocabulary.from_dict(describe(checkpoint).vocabulary)
    if known.tokenizer != vocabulary.tokenizer:
        raise UserError(
            f"{source} was trained with data.tokenizer={known.tokenizer}, not "
            f"{vocabulary.tokenizer}: give data.tokenizer={known.tokenizer}"
        )
    same = all(
        getattr(known, name) == getattr(vocabulary, name)
        for name in ("words", "answers", "lowercase")
    )
    if not same:
        raise UserError(
            f"{source} was trained with other words and answers than these data have"
            f"{_difference(known, vocabulary)}: go on with the data that it was trained on, or, to "
            "keep its words and answers and add the new ones, start a new run with "
            "warm_start=PATH data.grow_vocabulary=true"
        )


def _difference(known: Vocabulary, own: Vocabulary) -> str:
    """Examples of what only one of two vocabularies has."""
    for what in ("answers", "words"):
        new = [name for name in getattr(own, what) if name not in getattr(known, what)]
        if new:
            return f" ({len(new)} new {what}, such as {new[0]!r:.80})"
    return ""


def check_resumable(
    saved: Mapping[str, Any],
    config: Mapping[str, Any],
    network: nn.Module,
    vocabulary: Vocabulary,
    *,
    source: str,
) -> None:
    """Refuse a checkpoint that this training cannot go on from.

    Args:
        saved: the checkpoint.
        config: the resolved configuration of this run.
        network: of this run; it is not touched.
        vocabulary: of this run's data.
        source: where the checkpoint is from, for the message.

    Raises:
        UserError: it is of another network, cost, data or vocabulary, or holds weights alone.
    """
    if "optimizer_states" not in saved:
        raise UserError(f"{source} holds weights alone: start from it with warm_start=PATH")
    check_vocabulary(saved, vocabulary, source=source)  # first: it decides sizes of the network
    check_weights(network, network_weights(saved), source=source)
    for group, names in _DECIDED.items():
        before = describe(saved).config[group]
        usual = asdict(_KINDS[group]()) if group in _KINDS else {}
        for name in names or usual:
            now = config[group][name]
            was = before.get(name, usual.get(name, now))  # it may not have existed yet
            if name == "embedding":  # of word vectors, the weights hold what the file held
                name = "embedding.trainable"
                was, now = (
                    embedding_options(model)["trainable"] for model in (before, config[group])
                )
            if was != now and not name.startswith(CHOSEN_IN_EVALUATION):
                raise UserError(
                    f"{source} was trained with {group}.{name}={was}, not {now}: go on with that, "
                    "or start a run of its own without ckpt_path"
                )
