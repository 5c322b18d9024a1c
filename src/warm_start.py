"""Gated and adaptive networks start from the averaged weights of a trained plain MAC.

Every finished plain-MAC fit is offered to a cache beside the data; the better one stays. Where the
vocabulary grows, any network goes on from one that was trained on other questions.
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from pytorch_lightning.utilities.rank_zero import rank_zero_warn

from dact import checkpoint as checkpoints
from dact import checkpoint_checks, checkpoint_file
from dact.datamodules.vocabulary import Vocabulary
from dact.errors import UserError
from dact.growth import widened
from dact.locks import waiting_for
from dact.metrics import GroupMeans
from dact.models.network import MACNetwork
from dact.options import BEYOND_THE_MAC, NetworkOptions

FILE = "mac.ckpt"


class StartingPoint(NamedTuple):
    """A trained network."""

    path: Path
    model: str
    """Name of its kind."""
    vocabulary: dict[str, Any]
    """Its words and answers, from `Vocabulary.to_dict`."""
    results: dict[str, GroupMeans]
    """Its validation results by group; empty if unknown."""
    word_vectors: str | None
    """`word_vectors.identity` of the file that its embedding started from."""


def folder(
    cache_dir: Path,
    data_fingerprint: str,
    options: NetworkOptions,
    word_vectors: str | None = None,
) -> Path:
    """Where the MAC for these data, this shape of network and these word vectors is kept.

    The gate, halting and dropout do not matter: they are what may differ from the MAC. Neither
    does where the word vectors lie, but which they are (`word_vectors.identity`) does.
    """
    shape = checkpoints.plain_options(options)
    for name in BEYOND_THE_MAC:
        del shape[name]
    trainable = shape.pop("embedding")["trainable"]
    parts: list[Any] = [data_fingerprint, shape]
    if word_vectors is not None or not trainable:  # else the folder of before there were any
        parts.append([word_vectors, trainable])
    if not shape["background"]:  # likewise: before there was this option
        del shape["background"]
    text = json.dumps(parts, sort_keys=True)
    return cache_dir / "warm_start" / hashlib.sha256(text.encode()).hexdigest()[:16]


def find(place: Path) -> StartingPoint | None:
    """The cached MAC, or None; one that is of no use counts as none, with a warning."""
    path = place / FILE
    if not path.exists():
        return None
    try:
        checkpoint = checkpoints.load(path)
    except UserError as error:
        rank_zero_warn(f"the MAC that was kept is of no use: {error}")
        return None
    if not _is_finite(checkpoint):
        rank_zero_warn(f"the MAC that was kept is of no use: {path} holds NaN or infinity")
        return None
    return _starting_point(path, checkpoint)


def offer(place: Path, checkpoint: dict[str, Any]) -> bool:
    """Cache a trained MAC unless a better one is there; returns whether it was kept.

    One with weights that are no numbers is not kept.
    """
    if not _is_finite(checkpoint):
        return False
    place.mkdir(parents=True, exist_ok=True)
    with waiting_for(place / "lock", "data.cache_dir=PATH"):
        known = find(place)
        new = checkpoints.results(checkpoint)["all"].accuracy
        if known is not None and "all" in known.results and known.results["all"].accuracy >= new:
            return False
        checkpoint_file.write(place / FILE, checkpoint)
        return True


def load_into(
    network: MACNetwork,
    path: Path,
    vocabulary: Vocabulary,
    *,
    grown_for: str | None = None,
    made_by: Mapping[str, Any] | None = None,
) -> StartingPoint:
    """Start a network from a trained MAC; only its gate may be missing there.

    Args:
        network: gets the weights.
        path: of the MAC's checkpoint.
        vocabulary: of the network.
        grown_for: kind of the network, if its vocabulary may have grown since the checkpoint, which
            may then be of its own kind too: such a one lacks nothing.
        made_by: what made the features that the network gets; the size of the grid may differ.

    Raises:
        UserError: the MAC has another shape or other words, is a different kind of network, was
            trained on features of another backbone, or only one of the two has a background.
    """
    checkpoint = checkpoints.load(path)
    start = _starting_point(path, checkpoint)
    if start.model not in ("mac", grown_for):
        other = f" or another {grown_for}" if grown_for not in (None, "mac") else ""
        raise UserError(f"warm_start={path} holds a {start.model}: start from a plain mac{other}")
    _check_background(checkpoint, network, path)
    made = {name: value for name, value in (made_by or {}).items() if name != "grid_size"}
    checkpoint_checks.check_features(checkpoints.describe(checkpoint), made, path)
    weights = checkpoints.network_weights(checkpoint)
    known = Vocabulary.from_dict(start.vocabulary)
    if grown_for is not None and vocabulary.extends(known):
        weights = widened(weights, network, known, vocabulary)
    else:
        checkpoint_checks.check_vocabulary(checkpoint, vocabulary, source=str(path))
    may_lack = _gate_names(network) if start.model == "mac" else set()
    checkpoints.load_weights(network, weights, source=str(path), may_lack=may_lack)
    return start


def _check_background(checkpoint: Mapping[str, Any], network: MACNetwork, path: Path) -> None:
    """Refuse weights that know another set of knowledge cells, which their names do not tell."""
    model = checkpoints.describe(checkpoint).config["model"]
    was = model.get("background", NetworkOptions.background)
    if was != network.background:
        option = f"model.background={str(was).lower()}"
        raise UserError(f"warm_start={path} was trained with {option}: give that")


def _gate_names(network: MACNetwork) -> set[str]:
    if network.gate is None:
        return set()
    own = {id(parameter) for parameter in network.gate.parameters()}
    return {name for name, p in network.named_parameters() if id(p) in own}


def _is_finite(checkpoint: dict[str, Any]) -> bool:
    return all(bool(value.isfinite().all()) for value in checkpoint["state_dict"].values())


def _starting_point(path: Path, checkpoint: dict[str, Any]) -> StartingPoint:
    known = checkpoints.describe(checkpoint)
    name, results = known.config["model"]["name"], checkpoints.results(checkpoint)
    return StartingPoint(path, name, known.vocabulary, results, known.word_vectors)
