"""From a dataset's name to its data module."""

from collections.abc import Mapping
from typing import Any

from dact.errors import UserError

from .base import VQADataModule
from .clevr import CLEVRDataModule
from .clevr_family import CLEVRCoGenTDataModule, CLEVRHumansDataModule
from .gqa import GQADataModule
from .mini import CLEVRDepthDataModule, CLEVRMiniDataModule, GQAMiniDataModule

_PLAIN = {
    "clevr": CLEVRDataModule,
    "clevr_cogent": CLEVRCoGenTDataModule,
    "clevr_humans": CLEVRHumansDataModule,
    "gqa": GQADataModule,
}
_GENERATED = {
    "clevr_mini": CLEVRMiniDataModule,
    "clevr_depth": CLEVRDepthDataModule,
    "gqa_mini": GQAMiniDataModule,
}


def build_datamodule(
    name: str, *, generate: Mapping[str, Any] | None = None, **options: Any
) -> VQADataModule:
    """The data module of a dataset.

    Args:
        name: clevr, clevr_cogent, clevr_humans, clevr_mini, clevr_depth, gqa or gqa_mini.
        generate: arguments of the generator of one that is made on first use.
        **options: of the data module; those that are None are left to it.
    """
    options = {key: value for key, value in options.items() if value is not None}
    if name.startswith("gqa") and (given := options.keys() & {"feature_dataset", "feature_axes"}):
        raise UserError(f"data.{min(given)} is not for data={name}: leave it out")
    if name in _PLAIN:
        return _PLAIN[name](**options)
    if name in _GENERATED:
        return _GENERATED[name](recipe=generate or {}, **options)
    choices = ", ".join([*_PLAIN, *_GENERATED])
    raise UserError(f"data.name={name} is unknown: choose one of {choices}")
