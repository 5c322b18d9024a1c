"""The table at the end of a run."""

from collections.abc import Mapping

from rich.table import Table

from dact.metrics import GroupMeans


def results_table(
    results: Mapping[str, GroupMeans],
    *,
    title: str,
    baseline: Mapping[str, GroupMeans] | None = None,
    beside: str = "MAC",
    lengths: bool = False,
) -> Table:
    """Accuracy and mean steps by question type, beside those of the network it started from.

    Args:
        results: groups of `AnswerMetrics.compute`.
        title: of the table.
        baseline: results to compare with, by the same groups.
        beside: what they are called: those of the plain MAC that it started from.
        lengths: also by program length.
    """
    table = Table(title=title, title_justify="left")
    table.add_column("questions")
    for column in ("number", "accuracy", "steps"):
        table.add_column(column, justify="right")
    if baseline:
        table.add_column(f"{beside} accuracy", justify="right")
        table.add_column(f"{beside} steps", justify="right")
    for name, means in results.items():
        if name.startswith("length_") and not lengths:
            continue
        row = [name.replace("_", " "), f"{means.questions:,}", *_cells(means)]
        if baseline:
            row += _cells(baseline[name]) if name in baseline else ["", ""]
        table.add_row(*row, style="bold" if name == "all" else "")
    return table


def _cells(means: GroupMeans) -> list[str]:
    return [f"{100 * means.accuracy:.1f} %", f"{means.steps:.2f}"]
