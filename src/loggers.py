"""A CSV logger that survives being stopped."""

import csv
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pytorch_lightning.loggers import CSVLogger
from pytorch_lightning.loggers.csv_logs import ExperimentWriter
from pytorch_lightning.loggers.logger import rank_zero_experiment
from pytorch_lightning.utilities.rank_zero import rank_zero_only


class _ContinuedWriter(ExperimentWriter):
    """Keeps an existing metrics.csv up to the step from which the run goes on.

    What the run has not done any more when it was stopped, such as a validation at the very stop,
    is not part of the run that goes on.
    """

    go_on_at: int | None = None
    """Training steps that are done; None: as many as the first row says."""

    def _check_log_dir_exists(self) -> None:
        self._continued = False

    def save(self) -> None:
        if self.metrics and not self._continued:
            self._continued = True
            first = min(row["step"] for row in self.metrics)
            self._drop_rows_from(first if self.go_on_at is None else min(first, self.go_on_at))
        super().save()

    def _drop_rows_from(self, step: int) -> None:
        path = Path(self.metrics_file_path)
        if not path.exists():
            return
        with path.open(newline="", encoding="utf-8") as file:
            reader = csv.DictReader(file)
            rows = [row for row in reader if _is_whole(row) and int(row["step"]) < step]
            self.metrics_keys = list(reader.fieldnames or [])
        self._replace(path, rows)

    def _rewrite_with_new_header(self, fieldnames: list[str]) -> None:
        """Give the file new columns; Lightning's own empties it first, and may be killed then."""
        path = Path(self.metrics_file_path)
        with path.open(newline="", encoding="utf-8") as file:
            self._replace(path, list(csv.DictReader(file)))

    def _replace(self, path: Path, rows: Iterable[dict[str, Any]]) -> None:
        temporary = path.with_name(f".{path.name}.tmp")
        with temporary.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, fieldnames=self.metrics_keys)
            writer.writeheader()
            writer.writerows(rows)
        os.replace(temporary, path)


def _is_whole(row: dict[str | None, str | None]) -> bool:
    """Whether a row was written to its end: the last one of a killed run may not be."""
    return None not in row and None not in row.values() and str(row["step"]).isdigit()


class ContinuedCSVLogger(CSVLogger):
    """Lightning's CSV logger, writing `metrics.csv` into the run folder itself.

    Lightning's own deletes the file of the run that is resumed; here the file goes on, without the
    rows that the resumed run logs anew.

    Args:
        save_dir: the run folder.
        flush_logs_every_n_steps: rows are on disk at the latest after so many steps.
    """

    def __init__(self, save_dir: str, flush_logs_every_n_steps: int = 1) -> None:
        super().__init__(
            save_dir, name="", version="", flush_logs_every_n_steps=flush_logs_every_n_steps
        )

    @property
    @rank_zero_experiment
    def experiment(self) -> ExperimentWriter:
        """The writer."""
        if self._experiment is None:
            self._experiment = _ContinuedWriter(self.log_dir)
        return self._experiment

    @rank_zero_only
    def go_on_at(self, step: int) -> None:
        """Say that the run has done so many training steps, and goes on from there."""
        self.experiment.go_on_at = step

    def log_hyperparams(self, params: Any = None) -> None:
        """Nothing: Hydra has written the configuration into the run folder already."""
