"""Tiny folders in the layout of CLEVR v1.0, for tests of the data layer."""

import json
from collections.abc import Iterable, Sequence
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


#: CLEVR-CoGenT: colours of cubes and of cylinders in condition A; in B it is the other way round.
COGENT_COLORS = (("gray", "blue", "brown", "yellow"), ("red", "green", "purple", "cyan"))
#: Splits of CLEVR-CoGenT: images and questions for each.
COGENT = {"trainA": (7, 5), "valA": (5, 3), "valB": (4, 3), "testA": (3, 2), "testB": (2, 2)}
#: Questions of people, about image 0, 1, …: text and answer. "gumballs" and "lilac" are new words.
HUMANS = {
    "train": [
        ("How many gumballs are there?", "2"),
        ("Is there a lilac sphere?", "no"),
        ("Is there a big red sphere?", "yes"),
        ("What material is the block?", "metal"),
        ("Are there fewer gumballs than cubes?", "no"),
    ],
    "val": [("Is there a big red cube?", "yes"), ("How many lilac gumballs?", "2")],
    "test": [("Is there a big lilac cube?", "yes"), ("How many zebras are there?", "2")],
}


def make_scene(index: int, num_objects: int, condition: str | None = None) -> dict[str, Any]:
    """A scene whose attributes and coordinates are functions of its index.

    Args:
        index: of the image.
        num_objects: in it.
        condition: A or B of CLEVR-CoGenT.
    """
    objects = [
        {
            **{name: values[(index + row) % len(values)] for name, values in ATTRIBUTES.items()},
            "3d_coords": [0.5 * row - 1, 0.1 * index, 0.35],
            "rotation": 12.5,
            "pixel_coords": [10, 20, 8.5],
        }
        for row in range(num_objects)
    ]
    for row, thing in enumerate(objects if condition else ()):
        if thing["shape"] != "sphere":
            colors = COGENT_COLORS[(thing["shape"] == "cylinder") ^ (condition == "B")]
            thing["color"] = colors[(index + row) % len(colors)]
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


def write_cogent(root: Path) -> Path:
    """A root of CLEVR-CoGenT; nobody knows the answers of its test splits."""
    for split, (images, each) in COGENT.items():
        questions = make_questions(split, images, each)
        for question in questions if split.startswith("test") else ():
            for hidden in ("answer", "program", "question_family_index"):
                del question[hidden]
        write_questions(root, split, questions)
        scenes = [make_scene(index, 1 + index % 4, split[-1]) for index in range(images)]
        write_scenes(root, split, scenes)
    return root


def write_humans(
    folder: Path, split: str, asked: Sequence[tuple[str, str | None]] | None = None, **more: Any
) -> Path:
    """Write a file of CLEVR-Humans.

    Args:
        folder: where it lies.
        split: of it.
        asked: texts and answers, by default those of `HUMANS`.
        **more: further fields of each question; None leaves one out.
    """
    entries = []
    for number, (text, answer) in enumerate(HUMANS[split] if asked is None else asked):
        entry = {
            "question_index": number,
            "question": text,
            "answer": answer,
            "image_index": number,
            "image_filename": f"CLEVR_{split}_{number:06d}.png",
            "split": split,
        } | more
        entries.append({name: value for name, value in entry.items() if value is not None})
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"CLEVR-Humans-{split}.json"
    path.write_text(json.dumps({"info": {}, "questions": entries}))
    return path


def ready(root: Path, stage: str = "fit", **options: object) -> CLEVRDataModule:
    module = CLEVRDataModule(root, progress=False, **options)
    module.prepare_data(stage)
    module.setup(stage)
    return module


def positions(batches: Iterable[VQABatch]) -> list[int]:
    return torch.cat([batch.positions for batch in batches]).tolist()


def same(one: VQABatch, other: VQABatch) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


def times_of(folder: Path) -> dict[Path, int]:
    """When each file below a folder was written, but for locks."""
    files = [path for path in folder.rglob("*.*") if path.suffix != ".lock"]
    return {path: path.stat().st_mtime_ns for path in files}
