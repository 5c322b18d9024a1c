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
    floors: Mapping[str, float] | None = None,
    lengths: bool = False,
) -> Table:
    """Accuracy and mean steps by question type and by the reads that questions need.

    Args:
        results: groups of `AnswerMetrics.compute`.
        title: of the table.
        baseline: results to compare with, by the same groups.
        beside: what they are called: those of the plain MAC that it started from.
        floors: accuracy of guessing the commonest answer to each type of question, by group.
        lengths: also by program length.
    """
    table = Table(title=title, title_justify="left")
    table.add_column("questions")
    for column in ("number", "accuracy", "steps"):
        table.add_column(column, justify="right")
    if floors:
        table.add_column("guessing", justify="right")
    if baseline:
        for column in (beside, f"{beside} steps"):
            table.add_column(column, justify="right")
    for name, means in results.items():
        if name.startswith("length_") and not lengths:
            continue
        row = [_label(name), f"{means.questions:,}", *_cells(means)]
        if floors:
            row.append(_percent(floors[name]) if name in floors else "")
        if baseline:
            row += _cells(baseline[name]) if name in baseline else ["", ""]
        table.add_row(*row, style="bold" if name == "all" else "")
    return table


def _label(name: str) -> str:
    """A group as people write it.

    >>> _label("reads_02"), _label("length_07"), _label("compare_integer")
    ('reads needed: 2', 'program length: 7', 'compare integer')
    """
    kind, _, number = name.rpartition("_")
    known = {"reads": "reads needed", "length": "program length"}
    return f"{known[kind]}: {int(number)}" if kind in known else name.replace("_", " ")


def _cells(means: GroupMeans) -> list[str]:
    return [_percent(means.accuracy), f"{means.steps:.2f}"]


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"
