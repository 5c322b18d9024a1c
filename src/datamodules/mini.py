"""`clevr_mini` and others: folders in the format of a dataset that are made on first use."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from pytorch_lightning.utilities.rank_zero import rank_zero_info

from dact.datamodules import clevr_mini, gqa_mini
from dact.errors import UserError
from dact.locks import waiting_for

from .base import VQADataModule
from .clevr import CLEVRDataModule
from .gqa import GQADataModule
from .loaders import available_cores

#: In the root: what it was made of.
RECIPE = "recipe.json"


class MadeOnFirstUse(VQADataModule):
    """Before a data module: its root is generated if it is not there.

    Args:
        root: folder; made if it does not exist or is empty, else used as it is.
        recipe: arguments of `generate`.
        **options: of the data module.
    """

    made = ""
    """Name of the dataset."""
    generate: Callable[..., None]
    """Makes a root; takes it, the recipe, `workers` and `progress`."""

    def __init__(self, root: str | Path, recipe: Mapping[str, Any], **options: Any) -> None:
        super().__init__(root, **options)
        self.recipe = dict(recipe)

    def prepare_data(self, stage: str | None = None) -> None:
        """Generate the dataset if need be, then prepare it like any other.

        Raises:
            UserError: it was made otherwise than `recipe` says, or cannot be made.
        """
        if not self._is_made():
            try:
                self.root.parent.mkdir(parents=True, exist_ok=True)
                with waiting_for(self.root.parent / f".{self.root.name}.lock", "data.root=PATH"):
                    if not self._is_made():
                        self._make()
            except OSError as error:
                raise UserError(
                    f"{self.made} cannot be made in {self.root}: {error.strerror or error}; "
                    "set data.root"
                ) from error
        self._check_recipe()
        super().prepare_data(stage)

    def _is_made(self) -> bool:
        return self.root.is_dir() and any(self.root.iterdir())

    def _make(self) -> None:
        rank_zero_info(f"making {self.made} in {self.root} (once)")
        workers = min(8, available_cores())
        type(self).generate(self.root, workers=workers, progress=self.progress, **self.recipe)
        (self.root / RECIPE).write_text(json.dumps(self.recipe, indent=2) + "\n", "utf-8")

    def _check_recipe(self) -> None:
        path = self.root / RECIPE
        made = json.loads(path.read_text("utf-8")) if path.exists() else self.recipe
        for name, wanted in self.recipe.items():
            if made.get(name) != wanted:
                options = f"data.generate.{name}={made.get(name)}, not {wanted}"
                if isinstance(wanted, Mapping):
                    options = f"another data.generate.{name}"
                raise UserError(
                    f"{self.root} was made with {options}: delete it, give another data.root, or "
                    "take it as it is with data.generate=null"
                )


class CLEVRMiniDataModule(MadeOnFirstUse, CLEVRDataModule):
    """The ordinary CLEVR module over a generated root."""

    made = "clevr_mini"
    generate = staticmethod(clevr_mini.generate)

    def __init__(self, root: str | Path, recipe: Mapping[str, Any], **options: Any) -> None:
        super().__init__(root, recipe, test_split="val", **options)


class CLEVRDepthDataModule(CLEVRMiniDataModule):
    """One kind of question, which needs any number of reads from 0 to 5."""

    made = "clevr_depth"
    generate = staticmethod(clevr_mini.depth.generate)


class GQAMiniDataModule(MadeOnFirstUse, GQADataModule):
    """The ordinary GQA module over a generated root."""

    made = "gqa_mini"
    generate = staticmethod(gqa_mini.generate)

    def __init__(self, root: str | Path, recipe: Mapping[str, Any], **options: Any) -> None:
        super().__init__(root, recipe, test_split="testdev_balanced", **options)
