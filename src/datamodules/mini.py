"""`clevr_mini`: a CLEVR directory that is made on first use."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from filelock import FileLock
from pytorch_lightning.utilities.rank_zero import rank_zero_info

from dact.datamodules.clevr_mini import generate

from .clevr import CLEVRDataModule
from .loaders import available_cores


class CLEVRMiniDataModule(CLEVRDataModule):
    """The ordinary CLEVR module over a root that is generated if it is not there.

    Args:
        root: folder; made if it does not exist or is empty, else used as it is.
        recipe: arguments of `clevr_mini.generate`.
        **options: see `CLEVRDataModule`.
    """

    def __init__(self, root: str | Path, recipe: Mapping[str, Any], **options: Any) -> None:
        super().__init__(root, test_split="val", **options)
        self.recipe = dict(recipe)

    def prepare_data(self, stage: str | None = None) -> None:
        """Generate the dataset if need be, then prepare it like any other."""
        self.root.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(self.root.parent / f".{self.root.name}.lock"):
            if not self.root.is_dir() or not any(self.root.iterdir()):
                rank_zero_info(f"making clevr_mini in {self.root} (once)")
                workers = min(8, available_cores())
                generate(self.root, workers=workers, progress=self.progress, **self.recipe)
        super().prepare_data(stage)
