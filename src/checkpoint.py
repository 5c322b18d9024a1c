"""Self-describing checkpoints: weights with the configuration and vocabulary that explain them."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, fields
from itertools import zip_longest
from pathlib import Path
from typing import Any, NamedTuple

from pytorch_lightning.utilities.rank_zero import rank_zero_warn
from torch import Tensor, nn

from dact import checkpoint_file
from dact.datamodules.vocabulary import Vocabulary
from dact.errors import UserError
from dact.metrics import GroupMeans
from dact.options import (
    DropoutOptions,
    EmbeddingOptions,
    GateOptions,
    NetworkOptions,
)

#: Key of our entry in a checkpoint.
ENTRY = "dact"
#: Prefix of the network's weights in a Lightning module's state dict.
PREFIX = "network."


class Description(NamedTuple):
    """What makes a checkpoint usable without anything else."""

    config: dict[str, Any]
    """The resolved configuration of the run, in plain containers."""
    vocabulary: dict[str, Any]
    """Words and answers, from `Vocabulary.to_dict`."""
    feature_dim: int
    """C."""
    grid: bool
    """Whether knowledge is a feature map."""
    type_names: list[str]
    """Question types, by id."""
    started_from: dict[str, Any] | None = None
    """Accuracy and steps, by group, of the MAC that this network started from."""
    word_vectors: str | None = None
    """`word_vectors.identity` of the file that the embedding started from."""
    backbone: dict[str, Any] | None = None
    """What made the image features of training, where their file says so."""
    features: dict[str, Any] | None = None
    """What is known of the features of training: see `dact.datamodules.provenance`."""
    num_tokens: int | None = None
    """T, where knowledge cells are tokens of a vision transformer."""


def network_options(config: Mapping[str, Any]) -> NetworkOptions:
    """The network of a resolved configuration."""
    known = {entry.name for entry in fields(NetworkOptions)}
    options = {key: value for key, value in config["model"].items() if key in known}
    options["gate"] = GateOptions(**options["gate"])
    options["dropout"] = DropoutOptions(**options["dropout"])
    options["embedding"] = EmbeddingOptions(**embedding_options(options))
    return NetworkOptions(**options)


def embedding_options(model: Mapping[str, Any]) -> dict[str, Any]:
    """Options of the embedding, which older checkpoints do not have."""
    return asdict(EmbeddingOptions()) | dict(model.get("embedding", {}))


def plain_options(options: NetworkOptions) -> dict[str, Any]:
    """Options as plain containers."""
    return asdict(options)


def load(path: Path) -> dict[str, Any]:
    """Read a checkpoint, running nothing that it contains.

    Raises:
        UserError: missing, damaged, malicious, or not one of ours.
    """
    checkpoint = checkpoint_file.read(path)
    if not isinstance(checkpoint, dict) or not isinstance(checkpoint.get(ENTRY), dict):
        raise UserError(
            f"{path} is no checkpoint of this program; for one of the authors' released code "
            "run scripts/import_reference.py first"
        )
    needed = set(Description._fields) - set(Description._field_defaults)
    missing = [name for name in sorted(needed) if name not in checkpoint[ENTRY]]
    missing += [] if "state_dict" in checkpoint else ["state_dict"]
    if missing:
        raise UserError(f"{path} is half a checkpoint, without {missing[0]}: use an earlier one")
    return checkpoint


def load_first_whole(paths: Sequence[Path]) -> tuple[Path, dict[str, Any]]:
    """The first of some checkpoints that is whole, and its path; others are warned of.

    Raises:
        UserError: none of them is.
    """
    for path, following in zip_longest(paths, paths[1:]):
        try:
            return path, load(path)
        except UserError as error:
            if following is None:
                raise
            rank_zero_warn(f"{error}; taking {following}")
    raise UserError("there is no checkpoint")


def describe(checkpoint: Mapping[str, Any]) -> Description:
    """The description in a loaded checkpoint.

    One that does not say whether its scenes had a background row is from before there was one.
    """
    entry = {name: checkpoint[ENTRY].get(name) for name in Description._fields}
    data = (entry["config"] or {}).get("data", {})
    if data.get("features") == "state":
        entry["config"] = entry["config"] | {"data": {"background": False} | data}
    return Description(**entry)


def sizes(description: Description, vocabulary: Vocabulary) -> dict[str, Any]:
    """The data's sizes that the checkpoint's network was built for."""
    return {
        "num_words": vocabulary.num_words,
        "num_answers": vocabulary.num_answers,
        "feature_dim": description.feature_dim,
        "grid": description.grid,
    }


def started_from(description: Description) -> dict[str, GroupMeans]:
    """Results by group of the MAC that a network started from; may be empty."""
    stored = description.started_from or {}
    return {name: GroupMeans(*values) for name, values in stored.items()}


def results(checkpoint: Mapping[str, Any]) -> dict[str, GroupMeans]:
    """Validation results by group at the time of the checkpoint; may be empty."""
    stored = checkpoint[ENTRY].get("results") or {}
    return {name: GroupMeans(*values) for name, values in stored.items()}


def note_results_at_stop(path: Path, found: Mapping[str, GroupMeans]) -> None:
    """Put into a checkpoint the results of the validation where its run was stopped.

    Raises:
        UserError: it cannot be read.
        OSError: it cannot be written; it is as it was.
    """
    saved = load(path)
    saved[ENTRY] |= {"results": {name: list(row) for name, row in found.items()}, "stopped": True}
    checkpoint_file.write(path.resolve(), saved)


def was_stopped(checkpoint: Mapping[str, Any]) -> bool:
    """Whether its results are of a validation where a limit of steps or time stopped the run."""
    return bool(checkpoint[ENTRY].get("stopped"))


def entry(description: Description, found: Mapping[str, GroupMeans]) -> dict[str, Any]:
    """Our entry of a checkpoint, in plain containers."""
    return {**description._asdict(), "results": {name: list(row) for name, row in found.items()}}


def network_weights(checkpoint: Mapping[str, Any]) -> dict[str, Tensor]:
    """The network's own (averaged) weights."""
    return {
        name.removeprefix(PREFIX): value
        for name, value in checkpoint["state_dict"].items()
        if name.startswith(PREFIX)
    }


def check_weights(
    network: nn.Module,
    weights: Mapping[str, Tensor],
    *,
    source: str,
    may_lack: Collection[str] = (),
) -> None:
    """Compare weights with a network; every difference is an error.

    Args:
        network: to receive the weights.
        weights: by parameter name.
        source: where they are from, for the message.
        may_lack: the only parameters that may be missing.

    Raises:
        UserError: names the first missing, extra or misshapen parameter.
    """
    own = network.state_dict()
    missing = [name for name in own if name not in weights and name not in may_lack]
    extra = [name for name in weights if name not in own]
    misshapen = [
        f"{name} has shape {tuple(weights[name].shape)} instead of {tuple(own[name].shape)}"
        for name in own
        if name in weights and weights[name].shape != own[name].shape
    ]
    for what, names in (("lacks", missing), ("has the unknown", extra), ("differs:", misshapen)):
        if names:
            rest = f" and {len(names) - 1} more" if len(names) > 1 else ""
            raise UserError(
                f"{source} does not fit this network: it {what} {names[0]}{rest}; "
                "use the model options that it was trained with"
            )


def load_weights(
    network: nn.Module,
    weights: Mapping[str, Tensor],
    *,
    source: str,
    may_lack: Collection[str] = (),
) -> None:
    """Copy weights into a network, after `check_weights` (same arguments)."""
    check_weights(network, weights, source=source, may_lack=may_lack)
    network.load_state_dict(weights, strict=not may_lack)
