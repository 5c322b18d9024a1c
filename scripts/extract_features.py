"""Compute the features of a folder of images in CLEVR's layout, for `data.features=grid`.

`python scripts/extract_features.py data=clevr data.root=… [backbone=…] [splits=val] …`

Reads `<data.root>/images/<split>/`, writes `<data.root>/features/<split>_features.hdf5` with a
row per image. Run it again after an interruption: it goes on where it stopped.
"""

import sys
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path

import hydra
from omegaconf import DictConfig, OmegaConf

from dact import checks, hydra_app
from dact.allocator import keep_freed_memory
from dact.datamodules.provenance import has_random_weights
from dact.errors import UserError
from dact.extraction import choose_devices, extract, find_images, find_others, load_backbone
from dact.one_line import ends_in_one_line
from dact.schema import ExtractionConfig

CONF = Path(__file__).parents[1] / "conf"


@hydra.main(config_path=str(CONF), config_name="extract", version_base="1.3")
@ends_in_one_line
def main(cfg: DictConfig) -> None:
    """Find everything that could be missing, then extract split by split."""
    options: ExtractionConfig = OmegaConf.to_object(cfg)
    checks.check_extraction(options)
    keep_freed_memory()
    root = Path(options.data.root).expanduser()
    images = {split: find_images(root / "images" / split) for split in splits_of(root, options)}
    say_what_is_left_out(root, images)
    devices = choose_devices(options.devices)
    backbone = load_backbone(options.backbone)
    if has_random_weights(asdict(options.backbone)):
        print(
            f"backbone.weights=null: the weights of {options.backbone.model} are random, and other "
            "ones in each command; give backbone.weights for a trained network"
        )
    folder = Path(options.output_dir).expanduser() if options.output_dir else root / "features"
    for split, files in images.items():
        path = folder / f"{split}_features.hdf5"
        skipped = extract(
            files,
            path,
            backbone,
            options.backbone,
            dtype=options.dtype,
            batch_size=options.batch_size,
            num_workers=options.num_workers,
            devices=devices,
            skip_unreadable=options.skip_unreadable,
            overwrite=options.overwrite,
        )
        print(f"{path}: {len(files):,} images")
        for name in skipped:
            print(f"  skipped, its row is zero: {name}")
        if skipped:
            print("  data.missing_images=skip leaves out the questions about skipped images")


def say_what_is_left_out(root: Path, splits: Iterable[str]) -> None:
    """Name what lies among the images and is taken for none."""
    for split in splits:
        if others := find_others(root / "images" / split):
            names = ", ".join(path.name for path in others[:3]) + ", …" * (len(others) > 3)
            print(f"{root / 'images' / split}: left out, no images by their names: {names}")


def splits_of(root: Path, options: ExtractionConfig) -> list[str]:
    """The splits to be done.

    Raises:
        UserError: there are no images.
    """
    if options.splits is not None:
        return [options.splits] if isinstance(options.splits, str) else list(options.splits)
    folder = root / "images"
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder; images lie in <data.root>/images/<split>")
    found = sorted(path.name for path in folder.iterdir() if path.is_dir() and path.name[0] != ".")
    if not found:
        raise UserError(f"{folder} has no folder of images, such as {folder / 'train'}")
    return found


if __name__ == "__main__":
    sys.exit(hydra_app.start(main, CONF))
