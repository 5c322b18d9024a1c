"""Tiny folders in the layout of CLEVR v1.0, for tests of the data layer."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import torch

from dact.batch import VQABatch
from dact.datamodules import CLEVRDataModule
from dact.datamodules.scene_states import ATTRIBUTES

SPLITS = ("train", "val")
#: Questions of one image: text, answer, last function of the program, nodes of the program.
TEMPLATES = [
    ("How many things are there?", "2", "count", 2),
    ("Is there a big red sphere?", "yes", "exist", 5),
    ("Are there fewer cubes than spheres?", "no", "less_than", 7),
    ("Does the small thing have the same color as the cube; or not?", "yes", "equal_color", 9),
    ("What material is the block?", "metal", "query_material", 4),
]


def make_scene(index: int, num_objects: int) -> dict[str, Any]:
    """A scene whose attributes and coordinates are functions of its index."""
    objects = [
        {
            **{name: values[(index + row) % len(values)] for name, values in ATTRIBUTES.items()},
            "3d_coords": [0.5 * row - 1, 0.1 * index, 0.35],
            "rotation": 12.5,
            "pixel_coords": [10, 20, 8.5],
        }
        for row in range(num_objects)
    ]
    directions = {"right": [0.6, 0.8, 0.0], "front": [0.8, -0.6, 0.0]}
    return {"image_index": index, "objects": objects, "directions": directions}


def make_questions(split: str, images: int, each: int) -> list[dict[str, Any]]:
    """`each` questions per image; the last `TEMPLATES` come first, and differ by image."""
    questions = []
    for number in range(images * each):
        image = number // each
        text, answer, function, nodes = TEMPLATES[(number + image) % len(TEMPLATES)]
        program = [{"function": "scene", "inputs": [], "value_inputs": []}] * (nodes - 1)
        questions.append(
            {
                "question_index": number,
                "question": text,
                "answer": answer,
                "image_index": image,
                "image_filename": f"CLEVR_{split}_{image:06d}.png",
                "question_family_index": number % 90,
                "program": [*program, {"function": function, "inputs": [0], "value_inputs": []}],
            }
        )
    return questions


def write_questions(root: Path, split: str, questions: list[Any]) -> Path:
    """Write the questions file of a split."""
    path = root / "questions" / f"CLEVR_{split}_questions.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"info": {}, "questions": questions}))
    return path


def write_scenes(root: Path, split: str, scenes: list[Any]) -> Path:
    """Write the scenes file of a split."""
    path = root / "scenes" / f"CLEVR_{split}_scenes.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"info": {}, "scenes": scenes}))
    return path


def write_grid(root: Path, split: str, values: np.ndarray, **options: Any) -> Path:
    """Write the feature file of a split."""
    path = root / "features" / f"{split}_features.hdf5"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)  # HDF5 does not overwrite a file that is open
    with h5py.File(path, "w") as file:
        file.create_dataset("data", data=values, **options)
    return path


def write_clevr(root: Path, train: tuple[int, int] = (7, 5), val: tuple[int, int] = (5, 3)) -> Path:
    """A root with scenes and questions; train and val are (images, questions per image)."""
    for split, (images, each) in {"train": train, "val": val}.items():
        write_questions(root, split, make_questions(split, images, each))
        write_scenes(root, split, [make_scene(index, 1 + index % 4) for index in range(images)])
    return root


def ready(root: Path, stage: str = "fit", **options: object) -> CLEVRDataModule:
    module = CLEVRDataModule(root, progress=False, **options)
    module.prepare_data(stage)
    module.setup(stage)
    return module


def positions(batches: Iterable[VQABatch]) -> list[int]:
    return torch.cat([batch.positions for batch in batches]).tolist()


def same(one: VQABatch, other: VQABatch) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one, other, strict=True))
