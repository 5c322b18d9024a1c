"""What a run leaves about itself: its options, metrics and result."""

from pathlib import Path

from dact.run_folder import has_begun


def folder_of(folder: Path, mode: str) -> Path:
    """Where a run leaves its options, metrics and result: its folder.

    That of a training keeps its own; an evaluation in it takes a folder inside, called like its
    mode.
    """
    return folder / mode if mode != "fit" and has_begun(folder) else folder


def hydra_folder(mode: str, folder: str) -> str:
    """Where Hydra leaves the options of a run, from its folder."""
    return str(folder_of(Path(folder), mode).relative_to(folder) / ".hydra")
