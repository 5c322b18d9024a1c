"""What the axes of stored image features mean, and which tokens lie where in the image."""

import math
from collections.abc import Sequence
from typing import NamedTuple

#: Orders of axes that a feature file may have: images n, channels c, rows h, columns w, tokens t.
GRID_AXES = ("nchw", "nhwc")
TOKEN_AXES = ("ntc", "nct")
KNOWN_AXES = (*GRID_AXES, *TOKEN_AXES)
_SPELLED = {"n": "images", "c": "C", "h": "H", "w": "W", "t": "tokens"}
#: Tokens before those of the image: none, a class token, class and distillation, class and four
#: registers.
_BEFORE = (0, 1, 2, 5)
#: Numbers of boxes that detectors usually give, which are squares by chance.
_USUAL_BOXES = (36, 100)
#: Smallest side of a map for which a number of tokens counts as evidence.
_SMALLEST_SIDE = 6


class TokenMap(NamedTuple):
    """Which tokens of an image lie where."""

    first: int
    """Tokens before those of the map: class token, registers. They have no place in the image."""
    grid: tuple[int, int]
    """Rows and columns of the others, row by row."""


def spelled(axes: str) -> str:
    """Axes as people write them.

    >>> spelled("nchw")
    'images, C, H, W'
    """
    return ", ".join(_SPELLED[axis] for axis in axes)


def token_map(tokens: int, size: Sequence[int] = (1, 1)) -> TokenMap | None:
    """The map that a vision transformer's tokens are, by their number; None if they are none.

    Args:
        tokens: of an image.
        size: height and width of the image, in any unit: patches are square.

    >>> token_map(197), token_map(196), token_map(201)
    (TokenMap(first=1, grid=(14, 14)), TokenMap(first=0, grid=(14, 14)), TokenMap(first=5, grid=(14, 14)))
    >>> token_map(13, (2, 6)), token_map(20)
    (TokenMap(first=1, grid=(2, 6)), None)
    """  # noqa: E501
    height, width = size
    for first in _BEFORE:
        rows = math.isqrt(max(tokens - first, 0) * height // width)
        columns = rows * width // height
        if rows and rows * columns == tokens - first and rows * width == columns * height:
            return TokenMap(first, (rows, columns))
    return None


def undeclared_map(tokens: int) -> TokenMap | None:
    """`token_map` of a file that does not say what it holds: 36 and 100 may be detected boxes."""
    return None if tokens in _USUAL_BOXES else token_map(tokens)


def doubt(shape: Sequence[int]) -> tuple[str, str] | None:
    """Whether features look as if their axes were in another order than the usual one.

    (images, C, H, W) and (images, tokens, C) are usual. Numbers alone cannot prove anything, so
    this looks for what networks give: maps that are square with many channels last, and numbers
    of channels that are multiples of 32 before a number of tokens that fills a square.

    Returns:
        The usual axes and those that it looks like, or None.
    """
    if len(shape) == 4:
        _, rows, columns, last = shape
        many = last >= 128 and last >= 4 * max(rows, columns)
        return ("nchw", "nhwc") if many or (rows == columns != last) else None
    _, before, last = shape
    found = token_map(last)
    if before % 32 or found is None or found.grid[0] < _SMALLEST_SIDE:
        return None
    return ("ntc", "nct") if before > last or last % 32 else None
