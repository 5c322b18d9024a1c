"""Networks cut off at a layer, with their weights checked."""

import difflib
import hashlib
import pickle
import pkgutil
import warnings
from pathlib import Path
from typing import Any

import torch
import torchvision
from torch import Tensor, nn
from torch.hub import get_dir
from torchvision.models import WeightsEnum
from torchvision.models.feature_extraction import create_feature_extractor, get_graph_node_names

from dact.datamodules.axes import doubt, spelled
from dact.errors import UserError
from dact.options import BackboneOptions


class Backbone(nn.Module):
    """Images → features of one layer, frozen and in evaluation mode.

    Args:
        network: images (B, 3, H, W) → anything.
        layer: node of the network whose output is taken, (B, C, h, w) of a convolutional one or
            (B, T, C) of a vision transformer; None: its own output.
        mean: (3,) subtracted from the channels in 0..1.
        std: (3,) by which they are divided then.

    Raises:
        UserError: there is no such layer, or the network cannot be cut.
    """

    def __init__(
        self, network: nn.Module, layer: str | None, mean: list[float], std: list[float]
    ) -> None:
        super().__init__()
        self.body = network if layer is None else _cut(network, layer)
        self.register_buffer("mean", torch.tensor(mean).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(3, 1, 1), persistent=False)
        self.eval().requires_grad_(False)

    def forward(self, images: Tensor) -> Tensor:
        """Features (B, C, h, w) or (B, T, C) float32 of images (B, 3, H, W) uint8.

        Raises:
            UserError: the layer gives something of another shape, or with its axes in another
                order.
        """
        features = self.body((images / 255 - self.mean) / self.std)
        if isinstance(features, dict):
            features = features["features"]
        if not isinstance(features, Tensor) or features.ndim not in (3, 4):
            shape = tuple(getattr(features, "shape", ())) or type(features).__name__
            raise UserError(
                f"backbone.layer gives {shape}, not (images, channels, height, width) or (images, "
                "tokens, channels): choose a layer before pooling"
            )
        if found := doubt(features.shape):
            raise UserError(
                f"backbone.layer gives {tuple(features.shape)}, which looks like "
                f"({spelled(found[1])}) instead of ({spelled(found[0])}): choose another layer, or "
                "give a function as backbone.model that permutes the axes"
            )
        return features.float()

    def fingerprint(self) -> str:
        """12 hex digits of the weights, the same on every machine."""
        digest = hashlib.sha256()
        for name, value in sorted(self.body.state_dict().items()):
            digest.update(name.encode())
            digest.update(value.cpu().contiguous().numpy().tobytes())
        return digest.hexdigest()[:12]


def load_backbone(options: BackboneOptions) -> Backbone:
    """The network with its weights, ready to run.

    Torchvision's weights are taken from its cache, and downloaded into it if they are not there.

    Raises:
        UserError: no such network or layer; weights that are missing, damaged, or of another
            network.
    """
    network = _make(options.model)
    if options.weights is not None:
        source, weights = _read_weights(options)
        _load(network, weights, source)
    return Backbone(network, options.layer, options.mean, options.std)


def _make(model: str) -> nn.Module:
    """A network with the weights that it is made with."""
    if ":" not in model:
        try:
            return torchvision.models.get_model(model)
        except ValueError as error:
            near = difflib.get_close_matches(model, torchvision.models.list_models(), n=2)
            meant = f"did you mean {' or '.join(near)}" if near else "give package.module:function"
            raise UserError(f"backbone.model={model} is none of torchvision's: {meant}") from error
    try:
        network = pkgutil.resolve_name(model)()
    except (ImportError, AttributeError, ValueError, TypeError) as error:
        raise UserError(f"backbone.model={model} cannot be made: {error}") from error
    if not isinstance(network, nn.Module):
        kind = type(network).__name__
        raise UserError(f"backbone.model={model} makes a {kind}, not a torch.nn.Module")
    return network


def _read_weights(options: BackboneOptions) -> tuple[str, dict[str, Any]]:
    """Where weights are from, and the weights."""
    path = Path(options.weights).expanduser()
    if path.suffix or path.exists():
        return str(path), _read_file(path)
    known = _torchvision_weights(options.model)
    if options.weights not in known:
        names = ", ".join(known) or "none"
        raise UserError(
            f"backbone.weights={options.weights} is no file, and none of torchvision's weights of "
            f"{options.model}: {names}"
        )
    chosen = known[options.weights]
    cached = Path(get_dir()) / "checkpoints" / Path(chosen.url).name
    if cached.is_file():
        _check_hash(cached)
        return str(cached), _read_file(cached)
    try:
        return str(cached), chosen.get_state_dict(progress=True, check_hash=True)
    except (OSError, RuntimeError) as error:  # no network, no room, or not what it should be
        raise UserError(
            f"the weights of {options.model} are not in {cached} and cannot be downloaded "
            f"({error}): fetch {chosen.url} on another machine and give backbone.weights=FILE"
        ) from error


def _torchvision_weights(model: str) -> dict[str, WeightsEnum]:
    if ":" in model:
        return {}
    return dict(torchvision.models.get_model_weights(model).__members__)


def _check_hash(path: Path) -> None:
    """Compare a file of torchvision's cache with the hash that its name ends in."""
    wanted = path.stem.rpartition("-")[2]
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if not found.startswith(wanted):
        raise UserError(f"{path} is damaged: delete it, and it is downloaded again")


def _read_file(path: Path) -> dict[str, Any]:
    try:
        weights = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise UserError(f"backbone.weights={path}: no such file") from error
    except pickle.UnpicklingError as error:
        raise UserError(
            f"{path} is damaged or holds something other than plain tensors: refused"
        ) from error
    except Exception as error:  # a damaged file raises nearly anything
        raise UserError(f"{path} cannot be read as weights: {error}") from error
    if isinstance(weights, dict) and isinstance(weights.get("state_dict"), dict):
        weights = weights["state_dict"]
    if not isinstance(weights, dict):
        raise UserError(f"{path} holds no state dict but a {type(weights).__name__}")
    return weights


def _load(network: nn.Module, weights: dict[str, Any], source: str) -> None:
    try:
        network.load_state_dict(weights)
    except RuntimeError as error:
        reasons = [line.strip() for line in str(error).splitlines()[1:]]
        rest = f" (and {len(reasons) - 1} more such lines)" if len(reasons) > 1 else ""
        raise UserError(f"{source} is of another network: {reasons[0]:.200}{rest}") from error


def _cut(network: nn.Module, layer: str) -> nn.Module:
    with warnings.catch_warnings(action="ignore"):  # about training mode, which is never used
        try:
            return create_feature_extractor(network.eval(), {layer: "features"})
        except ValueError as error:
            known = get_graph_node_names(network.eval())[1]
            near = difflib.get_close_matches(layer, known, n=3, cutoff=0.3) or known[-3:]
            raise UserError(
                f"there is no backbone.layer={layer}: did you mean {', '.join(near)}?"
            ) from error
        except Exception as error:  # tracing runs the network's own code
            reason = str(error).splitlines()[0]
            raise UserError(
                f"the network cannot be cut at a layer ({reason}): give a function that returns "
                "the part you want, and backbone.layer=null"
            ) from error
