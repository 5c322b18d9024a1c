"""What a network reasons about, from a picture, a scene, or an image of its own dataset."""

import json
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from dact.checkpoint import Description
from dact.datamodules import VQADataModule
from dact.datamodules.axes import token_map
from dact.datamodules.collate import collate
from dact.datamodules.provenance import has_random_weights
from dact.datamodules.scene_states import scene_state
from dact.errors import UserError
from dact.extraction import Backbone, describe_backbone, load_backbone, read_image, to_tensor
from dact.options import BackboneOptions

from .views import LARGEST, View, places_of_tokens, view_of_scene, views_of


class Knowledge(NamedTuple):
    """An image as a network takes it."""

    features: Tensor
    """(C, H, W) for grids, (K, C) for objects and tokens."""
    num_cells: int
    view: View


class ImageReader:
    """Pictures → maps or tokens, with the backbone that a network was trained on.

    Args:
        description: of the network's checkpoint.
        options: of the backbone; None: those that the checkpoint names.

    Raises:
        UserError: the network takes neither, nobody names a backbone, or it is another one.
    """

    def __init__(self, description: Description, options: BackboneOptions | None = None) -> None:
        if not description.grid and description.num_tokens is None:
            kind = description.config["data"]["features"]
            raise UserError(
                f"this checkpoint reasons about {kind} features, not about pictures: give "
                + ("a scene" if kind == "state" else "the name of an image of its dataset")
            )
        known = description.backbone
        if options is None and known is None:
            raise UserError(
                "this checkpoint does not say what made its features: name the backbone, for "
                "instance --backbone resnet101"
            )
        self.description = description
        self.options = options or options_of(known)
        self.backbone: Backbone = load_backbone(self.options)
        if known is not None:
            self._check(known)

    def _check(self, known: Mapping[str, Any]) -> None:
        """Refuse a backbone that makes other features than those of training."""
        own = describe_backbone(self.options, self.backbone)
        for name in ("fingerprint", "layer", "size", "mean", "std"):
            if own[name] != known.get(name):
                advice = "leave it out"
                if name == "fingerprint":
                    advice = "give those with --weights FILE"
                    if has_random_weights(known):
                        advice = "they were random, and cannot be made again"
                what = "weights" if name == "fingerprint" else name
                raise UserError(
                    f"this checkpoint was trained on features of {known.get('name')} with {what} "
                    f"{known.get(name)}, but the backbone here has {own[name]}: {advice}"
                )

    @torch.inference_mode()
    def read(self, path: Path) -> Knowledge:
        """Features of the picture in a file, which is decoded as those of training were.

        Raises:
            UserError: it cannot be read.
        """
        picture = read_image(path, self.options.white)
        features = self.backbone(to_tensor(picture, self.options.size)[None])[0]
        self._check_shape(tuple(features.shape))
        small = picture.copy()
        small.thumbnail((LARGEST, LARGEST))
        if features.ndim == 2:
            places = places_of_tokens(token_map(len(features), self.options.size))
            return Knowledge(features, len(features), View(small, **places))
        grid = (features.shape[1], features.shape[2])
        return Knowledge(features, grid[0] * grid[1], View(small, grid))

    def _check_shape(self, shape: tuple[int, ...]) -> None:
        """Refuse features that the network cannot take."""
        channels, tokens = self.description.feature_dim, self.description.num_tokens
        fits = shape == (tokens, channels) if tokens else len(shape) == 3 and shape[0] == channels
        if not fits:
            wanted = f"({tokens}, {channels})" if tokens else f"({channels}, height, width)"
            raise UserError(
                f"this checkpoint was trained on features of shape {wanted}, but those of backbone "
                f"{self.options.name} have {shape}: name another one with --backbone"
            )


def options_of(known: Mapping[str, Any]) -> BackboneOptions:
    """The options in what a feature file says of its backbone."""
    names = [entry.name for entry in fields(BackboneOptions)]
    return BackboneOptions(**{name: known[name] for name in names if name in known})


def read_scene(path: Path, index: int | None = None) -> dict[str, Any]:
    """A scene in CLEVR's format: the one that a file is, or one of a scenes file.

    Args:
        path: JSON.
        index: place among the scenes of the file; None if there is but one.

    Raises:
        UserError: no such file or scene, or no JSON.
    """
    try:
        content = json.loads(Path(path).read_text("utf-8"))
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UserError(f"{path} cannot be read as a scene: {reason}") from error
    scenes = content.get("scenes", [content]) if isinstance(content, dict) else content
    if not isinstance(scenes, list) or not scenes or not isinstance(scenes[0], dict):
        raise UserError(f"{path} holds no scene in CLEVR's format")
    if index is None and len(scenes) > 1:
        raise UserError(f"{path} holds {len(scenes)} scenes: say which with --index 0, 1, …")
    if not 0 <= (index or 0) < len(scenes):
        raise UserError(f"{path} has no scene {index}, but 0..{len(scenes) - 1}")
    return scenes[index or 0]


def of_scene(
    description: Description, scene: dict[str, Any], picture: Image.Image | None = None
) -> Knowledge:
    """Objects of a scene, for a network that was trained on scenes.

    Args:
        description: of its checkpoint.
        scene: in CLEVR's format.
        picture: of the scene; None: it is drawn.

    Raises:
        UserError: the network takes no scenes, or the scene lacks something.
    """
    if description.config["data"]["features"] != "state":
        raise UserError("this checkpoint does not reason about scenes: give an image")
    background = bool(description.config["data"].get("background"))
    states = torch.from_numpy(scene_state(scene, "the scene", background))
    try:
        view = view_of_scene(scene, picture, background=background)
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise UserError(
            "the scene cannot be shown: every object needs pixel_coords [x, y, depth]"
        ) from error
    return Knowledge(states, len(states), view)


def of_dataset(data: VQADataModule, split: str, image: str) -> Knowledge:
    """An image of a dataset by its name.

    Args:
        data: set up with the split.
        split: its name.
        image: as the questions name it.

    Raises:
        UserError: no question of the split is about it, or it has no features.
    """
    dataset = data.dataset(split)
    position = dataset.questions.first_about(image)
    if position is None:
        some = ", ".join(dataset.questions.images[:3])
        raise UserError(f"{image} is neither a file nor an image of {split}, such as {some}")
    if dataset.questions.image_rows[position] < 0:
        raise UserError(f"{data.features_file(split)} has no features of {image}")
    batch = collate(dataset.questions, dataset.features, np.array([position]))
    (view,) = views_of(data, split, [position])
    return Knowledge(batch.features[0], int(batch.num_cells[0]), view)
