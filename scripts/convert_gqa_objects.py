"""Copy GQA's object features into one float16 file without padding.

`python scripts/convert_gqa_objects.py --features R/features/objects` writes R/features/objects.h5

The shards pad each image to 100 objects of float32. Here an image takes as many rows as it has
objects, and float16 halves each; a value past its range, 65504, is an error.
"""

import argparse
import sys
from pathlib import Path

from dact.datamodules.gqa_ragged import write_ragged_objects
from dact.one_line import one_line_errors


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--features", type=Path, required=True, help="folder of gqa_objects_*.h5 and their info"
    )
    parser.add_argument(
        "--output", type=Path, help="file to be written; by default objects.h5 beside the folder"
    )
    arguments = parser.parse_args()
    folder = arguments.features
    target = arguments.output or folder.resolve().with_name("objects.h5")
    write_ragged_objects(folder, target, progress=True, say=print)
    print(f"{target}: {target.stat().st_size / 1e6:,.1f} MB")


if __name__ == "__main__":
    sys.exit(one_line_errors(main))
