"""Grounding: how much attention is on the objects that question and answer are about."""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np

from dact.datamodules.json_stream import field
from dact.errors import UserError

from .groups import mean
from .questions import GQAQuestion


class Box(NamedTuple):
    """x to the right and y down, in shares of the image; past 0..1 if it sticks out."""

    x0: float
    y0: float
    x1: float
    y1: float


#: Boxes by (image, object).
Boxes = Mapping[tuple[str, str], Box]


def load_boxes(
    questions: Mapping[str, GQAQuestion], scenes: Iterable[tuple[str, str, Any]]
) -> dict[tuple[str, str], Box]:
    """Boxes of the objects that the questions point at.

    Args:
        questions: by id.
        scenes: (where, image id, scene graph) in any order; other images may be among them.

    Raises:
        UserError: a question has no annotations, or an object no box.
    """
    wanted: dict[str, set[str]] = {}
    for name, question in questions.items():
        if question.objects is None:
            raise UserError(f"question {name} has no annotations: there is no grounding without")
        if question.objects:
            wanted.setdefault(question.image, set()).update(question.objects)
    boxes = {}
    for where, image, scene in scenes:
        for name in wanted.pop(image, ()):
            boxes[image, name] = _box(scene, name, where)
    if wanted:
        raise UserError(f"{len(wanted)} images have no scene graph, such as {min(wanted)}")
    return boxes


def _box(scene: Any, name: str, where: str) -> Box:
    width, height = (_number(scene, side, where) for side in ("width", "height"))
    if min(width, height) <= 0:
        raise UserError(f"{where}: the image is {width:g} wide and {height:g} high")
    thing = field(field(scene, "objects", dict, where), name, dict, f"{where}: objects")
    x, y, w, h = (_number(thing, side, f"{where}: object {name}") for side in "xywh")
    return Box(x / width, y / height, (x + w) / width, (y + h) / height)


def _number(entry: Any, name: str, where: str) -> float:
    is_float = isinstance(entry, dict) and isinstance(entry.get(name), float)
    return entry[name] if is_float else float(field(entry, name, int, where))


def cells(attention: Any) -> np.ndarray:
    """Attention as cells (K, 5): x0, y0, x1, y1 and the attention that is on it.

    Args:
        attention: (K, 5), objects' cells as they are returned; or (n, n), a map of the image whose
            entry [i][j] covers x from i/n to (i+1)/n and y from j/n to (j+1)/n. GQA's maps are
            7 × 7; 5 × 5 numbers are five objects.

    Raises:
        ValueError: it is neither, or not all of it are numbers.
    """
    values = np.asarray(attention, dtype=np.float64)
    if values.shape == (0,):
        return values.reshape(0, 5)
    if values.ndim != 2 or values.shape[1] not in (5, values.shape[0]):
        raise ValueError("neither rows of 5 numbers nor a square map")
    if not np.isfinite(values).all():
        raise ValueError("NaN, infinity or null")
    if values.shape[1] == 5:
        return values
    x, y = (index.ravel() for index in np.indices(values.shape))
    size = len(values)
    return np.stack([x / size, y / size, (x + 1) / size, (y + 1) / size, values.ravel()], 1)


def attention_on(regions: Iterable[Box], attention: np.ndarray) -> float:
    """Σ over regions and cells of attention · |cell ∩ region| / |cell|.

    At most the sum of the attention for each region, whose boxes may overlap. A cell without area
    has no share in any region.

    Args:
        regions: boxes.
        attention: (K, 5) from `cells`.
    """
    boxes = np.array(list(regions)).reshape(-1, 1, 4)  # R×1×4
    low, high = attention[:, :2], attention[:, 2:4]  # K×2
    area = (high - low).prod(1)
    sides = np.minimum(high, boxes[..., 2:]) - np.maximum(low, boxes[..., :2])  # R×K×2
    common = sides.clip(min=0).prod(2)  # R×K
    shares = np.divide(common, area, out=np.zeros_like(common), where=area > 0)
    return float((shares * attention[:, 4]).sum())


def grounding(
    questions: Mapping[str, GQAQuestion], boxes: Boxes, attentions: Iterable[tuple[str, Any]]
) -> float:
    """Mean of `attention_on` the boxes that question and full answer point at, × 100.

    A question that points at nothing counts with 0. The official script means to add the whole
    image where a question speaks of the scene, but looks for "scene" among the names of fields and
    never does; neither do we.

    Args:
        questions: by id.
        boxes: from `load_boxes`.
        attentions: (id, attention as `cells` takes it) in any order; others may be among them.

    Raises:
        UserError: a question has no attention, two of them, or one of another shape.
    """
    scores: dict[str, float] = {}
    for name, attention in attentions:
        question = questions.get(name)
        if question is None:
            continue
        if name in scores:
            raise UserError(f"the attention of question {name} is given twice")
        try:
            found = cells(attention)
        except (ValueError, TypeError) as error:
            raise UserError(f"the attention of question {name}: {error}") from error
        scores[name] = attention_on([boxes[question.image, o] for o in question.objects], found)
    if missing := questions.keys() - scores.keys():
        raise UserError(f"{len(missing)} questions have no attention, such as {min(missing)}")
    return 100 * mean(scores.values())
