"""Copy GQA's object features into one float16 file without padding.

`python scripts/convert_gqa_objects.py --features R/features/objects` writes R/features/objects.h5

The shards pad each image to 100 objects of float32. Here an image takes as many rows as it has
objects, and float16 halves each; a value past its range, 65504, is an error.

`--features` also takes TSV files of a bottom-up detector, or a folder of them, a line per image:
image_id, image_w, image_h, num_boxes, boxes, features, or the ten fields that LXMERT's copy of the
detector writes; boxes and features are float32 in base64.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from dact.datamodules.gqa_ragged import write_ragged_objects
from dact.datamodules.gqa_tsv import fields_of, write_objects_of_tsv
from dact.errors import UserError
from dact.one_line import one_line_errors


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--features",
        type=Path,
        nargs="+",
        required=True,
        help="folder of gqa_objects_*.h5 and their info, or TSV files or a folder of them",
    )
    parser.add_argument(
        "--output", type=Path, help="file to be written; by default objects.h5 beside the folder"
    )
    parser.add_argument("--columns", help="TSV: names of all fields of a line, as a,b,c")
    parser.add_argument(
        "--skip-damaged", action="store_true", help="TSV: leave out lines that cannot be used"
    )
    arguments = parser.parse_args()
    files = tsv_files(arguments.features)
    target = arguments.output or default_target(arguments.features[0])
    how = {"progress": True, "say": print}
    if files:
        columns = None if arguments.columns is None else fields_of(arguments.columns)
        skip = arguments.skip_damaged
        write_objects_of_tsv(files, target, columns=columns, skip_damaged=skip, **how)
    else:
        if arguments.columns or arguments.skip_damaged:
            raise UserError("--columns and --skip-damaged are for TSV files")
        write_ragged_objects(arguments.features[0], target, **how)
    print(f"{target}: {target.stat().st_size / 1e6:,.1f} MB")


def tsv_files(given: Sequence[Path]) -> list[Path]:
    """The TSV files that were given; empty for a folder of GQA's own features.

    Raises:
        UserError: several paths that are not all files.
    """
    if len(given) == 1 and given[0].is_dir():
        found = sorted(path for path in given[0].glob("*.tsv") if not path.name.startswith("."))
        own = sorted(given[0].glob("gqa_objects_*"))
        if found and own:
            print(f"note: {own[0].name} and its like are read, {found[0].name} is not")
        return [] if own else found
    for path in given:
        if path.is_dir() or not path.exists():
            what = "is a folder: give one folder, or files" if path.is_dir() else "no such file"
            raise UserError(f"{path}: {what}")
        if path.suffix in (".h5", ".hdf5"):
            raise UserError(f"{path} is no TSV file: give the folder of all gqa_objects_*.h5")
    return list(given)


def default_target(given: Path) -> Path:
    """Where training looks, if the features lie in <root>/features or a folder of it."""
    folder = given.resolve() if given.is_dir() else given.resolve().parent
    return folder / "objects.h5" if folder.name == "features" else folder.with_name("objects.h5")


if __name__ == "__main__":
    sys.exit(one_line_errors(main))
