"""A page and its figures, written to a folder."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from markupsafe import Markup
from matplotlib.figure import Figure

from dact.errors import UserError

from . import figures
from .page import render


class Captioned(NamedTuple):
    """A figure of a page."""

    caption: str
    figure: Figure


def write_page(
    folder: Path,
    name: str,
    drawn: Mapping[str, Captioned],
    more: Mapping[str, Figure] | None = None,
    **values: Any,
) -> Path:
    """Write a page, and its figures as PNG and SVG to `figures/`.

    Args:
        folder: made if it is not there.
        name: of the template and of the page.
        drawn: the page's figures, by file name.
        more: figures that are files only, by file name.
        **values: for the template.

    Returns:
        Where the page is. It is written last: what it shows is there by then.
    """
    embedded = [(one.caption, Markup(figures.for_page(one.figure))) for one in drawn.values()]
    page = render(name, figures=embedded, **values)
    make_folder(folder)
    own = {file: one.figure for file, one in drawn.items()}
    for file, figure in {**own, **(more or {})}.items():
        figures.save(figure, folder / "figures", file)
    path = folder / name
    path.write_text(page, "utf-8")
    return path


def make_folder(folder: Path) -> None:
    """Make a folder for a page and its figures; before long work, to know that it can be written.

    Raises:
        UserError: it cannot.
    """
    try:
        (folder / "figures").mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(
            f"{folder} cannot be written: {error.strerror}; give another --output"
        ) from error
