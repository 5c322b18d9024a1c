"""The files of a data set, which grow chunk by chunk."""

import json
from pathlib import Path
from typing import Any, TextIO

import h5py

from dact.datamodules.gqa_mini.chunks import Chunk, Made
from dact.datamodules.gqa_mini.features import GRID
from dact.datamodules.gqa_mini.options import Options


class JSONFiles:
    """JSON objects, each in a file and on one line as in the release; a context."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._open: dict[str, TextIO] = {}

    def __enter__(self) -> "JSONFiles":
        return self

    def __exit__(self, error: type | None, *rest: object) -> None:
        for file in self._open.values():
            if error is None:
                file.write("}\n")
            file.close()

    def add(self, path: str, entries: list[str]) -> None:
        """Append entries `"key":value` to the file `path` below the root."""
        if path not in self._open:
            (self.root / path).parent.mkdir(parents=True, exist_ok=True)
            self._open[path] = (self.root / path).open("w", encoding="utf-8")
            self._open[path].write("{")
        elif entries and self._open[path].tell() > 1:
            self._open[path].write(",")
        self._open[path].write(",".join(entries))


class FeatureFiles:
    """HDF5 files of objects and grids, and the two files that say where an image is; a context.

    Chunks go to the shards in turn.
    """

    def __init__(self, root: Path, options: Options, chunks: list[Chunk]) -> None:
        self.folder = root / "features"
        self.shards = min(options.shards, len(chunks))
        self._info: dict[str, dict[str, Any]] = {"objects": {}, "spatial": {}}
        self._chunks = 0
        self._rows = [0] * self.shards
        self._files: dict[str, list[h5py.File]] = {}
        shapes = {
            "features": (options.rows, options.feature_dim),
            "bboxes": (options.rows, 4),
        }
        totals = [sum(c.images for c in chunks[k :: self.shards]) for k in range(self.shards)]
        self._create("objects", totals, shapes)
        self._create("spatial", totals, {"features": (options.feature_dim, GRID, GRID)})

    def _create(self, kind: str, totals: list[int], shapes: dict[str, tuple[int, ...]]) -> None:
        (self.folder / kind).mkdir(parents=True)
        files = self._files[kind] = []
        for shard, rows in enumerate(totals):
            file = h5py.File(self.folder / kind / f"gqa_{kind}_{shard}.h5", "w")
            files.append(file)
            for name, shape in shapes.items():
                file.create_dataset(name, (rows, *shape), "float32")

    def __enter__(self) -> "FeatureFiles":
        return self

    def __exit__(self, error: type | None, *rest: object) -> None:
        for files in self._files.values():
            for file in files:
                file.close()
        if error is None:
            for kind, info in self._info.items():
                path = self.folder / kind / f"gqa_{kind}_info.json"
                path.write_text(json.dumps(info) + "\n", "utf-8")

    def add(self, made: Made) -> None:
        """Append the next chunk."""
        shard = self._chunks % self.shards
        self._chunks += 1
        first = self._rows[shard]
        rows = slice(first, first + len(made.images))
        self._rows[shard] = rows.stop
        objects, spatial = (self._files[kind][shard] for kind in ("objects", "spatial"))
        objects["features"][rows] = made.seen.features
        objects["bboxes"][rows] = made.seen.boxes
        spatial["features"][rows] = made.seen.grid
        for idx, image in enumerate(made.images, first):
            place = {"file": shard, "idx": idx}
            about = {k: v for k, v in image.items() if k != "imageId"}
            self._info["objects"][image["imageId"]] = {**place, **about}
            self._info["spatial"][image["imageId"]] = place
