"""A bar for what takes long."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)


class Bar(NamedTuple):
    """Shows how many bytes of a whole are done."""

    progress: Progress
    task: TaskID

    def add(self, size: int) -> None:
        """So many more are done."""
        self.progress.advance(self.task, size)

    def set(self, size: int) -> None:
        """So many are done in all."""
        self.progress.update(self.task, completed=size)


@contextmanager
def bar(name: str, size: int | None, transient: bool = False) -> Iterator[Bar]:
    """A bar, which stays where it is unless it is transient; there can be only one at a time."""
    columns = (DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
    with Progress(TextColumn(name), BarColumn(), *columns, transient=transient) as progress:
        yield Bar(progress, progress.add_task(name, total=size))
