"""From a dataset's name to its data module."""

from collections.abc import Mapping
from typing import Any

from dact.errors import UserError

from .base import VQADataModule
from .clevr import CLEVRDataModule
from .mini import CLEVRMiniDataModule


def build_datamodule(
    name: str, *, generate: Mapping[str, Any] | None = None, **options: Any
) -> VQADataModule:
    """The data module of a dataset.

    Args:
        name: clevr or clevr_mini.
        generate: clevr_mini: arguments of its generator.
        **options: of the data module.
    """
    if name == "clevr":
        return CLEVRDataModule(**options)
    if name == "clevr_mini":
        return CLEVRMiniDataModule(recipe=generate or {}, **options)
    raise UserError(f"data.name={name} is unknown: choose clevr or clevr_mini")
