"""GQA (Hudson & Manning 2019): questions about photographs."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from dact.errors import UserError

from .base import VQADataModule
from .cache import source_stamp
from .gqa_features import NO_BOXES, GQAObjects, GQASpatial
from .gqa_files import question_files, scenes_path, shards
from .gqa_index import ImageIndex, write_image_index
from .gqa_questions import STRUCTURAL_TYPES, read_gqa_questions
from .gqa_ragged import RaggedObjects
from .questions import Question

Objects = GQAObjects | RaggedObjects


class GQADataModule(VQADataModule):
    """Questions of GQA about detected objects (`objects`) or image features (`spatial`).

    Layout of `root`:

        questions/{split}_questions.json              or a folder {split}_questions of shards
        features/objects/gqa_objects_{i}.h5           for features=objects
        features/objects/gqa_objects_info.json
        features/spatial/gqa_spatial_{i}.h5           for features=spatial
        features/spatial/gqa_spatial_info.json

    Args:
        root: folder of the dataset.
        features: what the knowledge is.
        train_split: split for training, and for the vocabulary.
        val_split: split for validation.
        test_split: split for testing; the official ones have no answers.
        **common: see `VQADataModule`; `split` may be `submission`, which has one file only.
    """

    type_names = STRUCTURAL_TYPES
    lowercase = True

    def __init__(
        self,
        root: str | Path,
        features: Literal["objects", "spatial"] = "objects",
        train_split: str = "train_balanced",
        val_split: str = "testdev_balanced",
        test_split: str = "test_balanced",
        **common: Any,
    ) -> None:
        super().__init__(root, **common)
        if features not in ("objects", "spatial"):
            raise UserError(f"data.features={features} is neither 'objects' nor 'spatial'")
        self.features = features
        self.train_split = train_split
        self.val_split = val_split
        self.test_split = test_split
        if self.split == "submission":
            self.split = "submission_all"

    @staticmethod
    def read_file(path: Path, progress: bool = False) -> Iterator[Question]:
        """The questions of a GQA questions file or shard."""
        return read_gqa_questions(path, progress)

    def check_questions(self, split: str) -> None:
        """Raise a UserError that names the splits there are if `split` is not one of them."""
        if not self.root.is_dir():
            raise UserError(
                f"data.root={self.root}: no such folder; it should hold GQA's questions/ and "
                "features/; set data.root, or fetch it with scripts/download.py"
            )
        question_files(self.root, split)

    def check_features(self, split: str) -> None:
        """Raise a UserError that tells the way out if there are no features."""
        if not self._info.is_file() and not self._ragged.is_file():
            raise UserError(
                f"{self._info} is missing: data.features={self.features} needs GQA's own "
                f"features in {self._info.parent}{self._way_from_tsv()}"
            )

    def question_files(self, split: str) -> Sequence[Path]:
        """The file of a split, or its shards in the order of their names."""
        return question_files(self.root, split)

    def prepare_features(self, split: str) -> None:
        """Look up where the images of `split` lie in the feature files."""
        if self._ragged.is_file():
            return
        questions = self._questions.open(split)
        skip = self.missing_images == "skip"
        stamp = source_stamp([self._info, questions.path], *["skip"] * skip)
        if not ImageIndex.is_current(self._index(split), stamp):
            write_image_index(
                self._index(split),
                questions.images,
                self._info,
                self.features,
                stamp,
                progress=self.progress,
                may_lack=skip,
            )

    def features_file(self, split: str) -> Path:
        """The file that says which images there are."""
        return self._ragged if self._ragged.is_file() else self._info

    def open_features(self, split: str) -> GQAObjects | GQASpatial | RaggedObjects:
        """Objects or grids of the images of `split`, from the converted file if it is there."""
        if self._ragged.is_file():
            skip = self.missing_images == "skip"
            store = RaggedObjects(self._ragged, self._questions.open(split).images, may_lack=skip)
            store.check_source(self._info)
            return self._with_note(store)
        if self.features == "spatial":
            return GQASpatial(self._info.parent, self._index(split))
        return self._with_note(GQAObjects(self._info.parent, self._index(split)))

    def has_boxes(self, split: str) -> bool:
        """Whether the places of the knowledge cells of a prepared split are known."""
        return self.features == "spatial" or self.dataset(split).features.has_boxes

    def _with_note(self, store: Objects) -> Objects:
        if not store.has_boxes:
            self.say_once(f"{self._info.parent}: {NO_BOXES}")
        return store

    def has_scenes(self, split: str) -> bool:
        """Whether the scene graphs that grounding compares with are there."""
        return bool(shards(scenes_path(self.root, split)))

    def attention_layout(
        self, split: str
    ) -> Callable[[NDArray[np.int64], NDArray[np.float32]], list[Any]]:
        """From positions (B,) and attention (B, K) to what GQA's attention file has of each.

        Objects: a list of [x0, y0, x1, y1, weight] in shares of the image. Grids: a map whose entry
        `[i][j]` is the weight of the i-th column and the j-th row of cells.

        Raises:
            UserError: nobody knows where the objects are.
        """
        dataset = self.dataset(split)
        if not self.has_boxes(split):
            raise UserError(f"attentions cannot be written: {NO_BOXES}; leave out attentions")

        def of_objects(positions: NDArray[np.int64], attention: NDArray[np.float32]) -> list[Any]:
            rows, image = np.unique(dataset.questions.image_rows[positions], return_inverse=True)
            boxes = dataset.features.boxes(rows)[image]
            cells = np.concatenate([boxes, attention[:, : boxes.shape[1], None]], axis=2)
            return [of_one[of_one.any(axis=1)].tolist() for of_one in cells]  # without padding

        def of_grid(_: NDArray[np.int64], attention: NDArray[np.float32]) -> list[Any]:
            maps = attention.reshape(-1, *dataset.features.grid_size)
            return maps.transpose(0, 2, 1).tolist()

        return of_objects if self.features == "objects" else of_grid

    def _way_from_tsv(self) -> str:
        """The command that converts TSV files of a detector, if there are any."""
        folders = (self._info.parent, self.root / "features") if self.features == "objects" else ()
        for folder in folders:
            if files := sorted(folder.glob("*.tsv")):
                command = f"python scripts/convert_gqa_objects.py --features {folder}"
                return f"; {files[0].name} is there: convert it with {command}"
        return ""

    @property
    def _info(self) -> Path:
        return self.root / "features" / self.features / f"gqa_{self.features}_info.json"

    @property
    def _ragged(self) -> Path:
        """What `scripts/convert_gqa_objects.py` writes."""
        return self.root / "features" / f"{self.features}.h5"

    def _index(self, split: str) -> Path:
        return self.cache_dir / f"images_{split}_{self.features}.h5"
