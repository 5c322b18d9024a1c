"""HTML of reasonings and reports: self-contained, and everything in it escaped."""

import base64
import functools
import io
from collections.abc import Iterator
from typing import Any

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from numpy.typing import NDArray
from PIL import Image

from .reasoning import Reasoning
from .views import View

#: Frames of objects with less than this share of the strongest one's attention are left out.
FAINT = 0.05
#: How dark a cell is that nobody looks at, in 0..1.
_DARKEST = 0.65


def render(template: str, **values: Any) -> str:
    """A template of ours filled in; whatever is not `Markup` is escaped."""
    return _environment().get_template(template).render(values)


def strip_html(
    name: str, reasoning: Reasoning, view: View, *, max_steps: int, adaptive: bool
) -> Markup:
    """The strip of one question with its style, to be put into any page.

    Args:
        name: letters and digits that no other strip of the page has.
        reasoning: of the question.
        view: of its image.
        max_steps: N of the network.
        adaptive: whether the network decides how many steps it takes.
    """
    environment = _environment()
    css = environment.get_template("strip.css").render()
    macro = environment.get_template("strip.html").module.strip
    return Markup(f"<style>{css}</style>{macro(name, reasoning, view, max_steps, adaptive)}")


def shade(cells: NDArray[np.float32], grid: tuple[int, int]) -> str:
    """Attention over a grid as a picture to be laid over the image: dark where nobody looks.

    Args:
        cells: (K,) attention.
        grid: rows and columns, K in all.

    Returns:
        A data URI.
    """
    pixels = np.zeros((*grid, 4), np.uint8)
    pixels[..., 3] = (255 * _DARKEST * (1 - cells / cells.max())).reshape(grid).round()
    return _data_uri(Image.fromarray(pixels), "PNG")


def frames(
    cells: NDArray[np.float32], boxes: NDArray[np.float32] | None
) -> Iterator[tuple[float, float, float, float, float]]:
    """Objects that are looked at: x, y, width and height in shares of the image, and strength.

    Args:
        cells: (K,) attention, or (K + 1,) with that of the background, which has no box.
        boxes: (K, 4) x0, y0, x1, y1; None: nobody knows where the objects are.
    """
    if boxes is None:
        return
    strength = (cells / cells.max())[: len(boxes)]
    for (x0, y0, x1, y1), value in zip(boxes.tolist(), strength.tolist(), strict=True):
        if value >= FAINT:
            yield round(x0, 4), round(y0, 4), round(x1 - x0, 4), round(y1 - y0, 4), round(value, 2)


def percent(share: float, digits: int = 0) -> str:
    """A share in 0..1 in per cent.

    >>> percent(0.1234), percent(0.1234, 1)
    ('12%', '12.3%')
    """
    return f"{100 * share:.{digits}f}%"


def _picture(image: Image.Image) -> str:
    return _data_uri(image, "JPEG")


def _data_uri(image: Image.Image, kind: str) -> Markup:
    data = io.BytesIO()
    image.save(data, kind, optimize=True, **({"quality": 85} if kind == "JPEG" else {}))
    text = base64.b64encode(data.getvalue()).decode()
    return Markup(f"data:image/{kind.lower()};base64,{text}")


@functools.cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("dact.explain"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "shade": shade,
        "frames": frames,
        "percent": percent,
        "picture": _picture,
    }
    return environment
