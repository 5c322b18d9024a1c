"""The table of faults in docs/reliability.md, written by the tests that try them."""

import os
import re
from pathlib import Path

MARKS = re.compile(r"(<!-- faults -->\n).*(<!-- /faults -->)", re.DOTALL)
HEAD = ("fault", "how tried", "times", "what happened")


def pytest_collection_modifyitems(items):
    """Give the table what `@pytest.mark.faults(fault, tried=…, happened=…[, times=…])` says."""
    for item in items:
        mark = item.get_closest_marker("faults")
        if mark is not None:
            note = [*mark.args, mark.kwargs["tried"], mark.kwargs["happened"]]
            item.user_properties.append(("fault", [*note, mark.kwargs.get("times", 1)]))


def pytest_terminal_summary(terminalreporter):
    """Print the table, and put it into the file that DACT_RELIABILITY names."""
    rows = rows_of(
        (note, outcome == "passed")
        for outcome in ("passed", "failed")
        for report in terminalreporter.stats.get(outcome, [])
        for name, note in report.user_properties
        if name == "fault"
    )
    if not rows:
        return
    terminalreporter.write_sep("=", "faults")
    text = table(rows)
    terminalreporter.write(text)
    if path := os.environ.get("DACT_RELIABILITY"):
        whole = Path(path).read_text("utf-8")
        Path(path).write_text(MARKS.sub(lambda found: found[1] + text + found[2], whole), "utf-8")


def rows_of(notes):
    """Rows (fault, how, times, what happened) in order; where any test failed it says so."""
    rows = {}
    for (what, tried, happened, times), passed in notes:
        row = rows.setdefault((what, tried, happened), [0, True])
        row[0] += times
        row[1] &= passed
    return [
        (what, tried, str(times), happened if passed else "FAILED")
        for (what, tried, happened), (times, passed) in sorted(rows.items())
    ]


def table(rows):
    """As Markdown."""
    lines = [HEAD, ("---", "---", "--:", "---"), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)
