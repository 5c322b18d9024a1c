"""Results as a file and as tables."""

import json
import os
from pathlib import Path

from rich.markup import escape
from rich.table import Table

from dact.errors import UserError

from .evaluation import Evaluation


def write_evaluation(evaluation: Evaluation, path: Path) -> None:
    """Write JSON; folders are made, and the file appears when it is whole.

    Raises:
        UserError: the place cannot be written to.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            text = json.dumps(evaluation.to_dict(), indent=1, ensure_ascii=False)
            temporary.write_text(text + "\n", "utf-8")
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise UserError(f"{path} cannot be written: {error.strerror or error}") from error


def scores_table(evaluation: Evaluation, title: str) -> Table:
    """One row a metric; all are better when they are higher, but for distribution."""
    table = Table(title=title, title_justify="left")
    table.add_column("metric")
    table.add_column("score", justify="right")
    for name, score in evaluation.scores.items():
        value = f"{score:.2f}  " if name == "distribution" else f"{score:.2f} %"
        label = f"{name} (lower is better)" if name == "distribution" else name
        table.add_row(label, value, style="bold" if name == "accuracy" else "")
    return table


def groups_table(evaluation: Evaluation) -> Table:
    """Accuracy, and steps if known, by the type and the length of question and program."""
    table = Table(title="accuracy by kind of question", title_justify="left")
    for column in ("kind", "group"):
        table.add_column(column)
    for column in ("questions", "accuracy", "steps")[: 3 if evaluation.steps else 2]:
        table.add_column(column, justify="right")
    for name, groups in evaluation.groups.items():
        kind = name.removeprefix("per_")
        for group, (accuracy, number) in groups.items():
            row = [kind, escape(group), f"{number:,}", f"{accuracy:.2f} %"]
            if evaluation.steps:
                row.append(f"{evaluation.steps[name][group].mean:.2f}")
            table.add_row(*row)
            kind = ""
        table.add_section()
    return table
