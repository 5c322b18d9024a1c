"""What `benchmark.py` prints."""

from collections.abc import Sequence
from typing import Any

from benchmark_cases import Size
from benchmark_profile import KINDS
from rich.console import Console
from rich.table import Table

SIDES = ("ours", "plain")


def show(results: dict[str, dict[str, Any]], peak: float, size: Size) -> None:
    """Print the tables of cases."""
    times, works = [], []
    for name, row in results.items():
        rate = row["ours_gflop"] * size.batch / row["ours_s"]
        ours, plain = (f"{1e3 * row[key] / size.batch:.2f}" for key in ("ours_s", "plain_s"))
        spread = f"{row['ratio_low']:.2f}..{row['ratio_high']:.2f}"
        share, steps = f"{100 * rate / peak:.0f} %", f"{row['mean_steps']:.2f}"
        times.append((name, f"{row['ratio']:.2f}", spread, ours, plain, steps, share))
        work = (f"{row[key]:.3g}" for key in ("ours_gflop", "plain_gflop"))
        memory = (f"{row[key]:,.0f}" for key in ("ours_mib", "plain_mib") if key in row)
        works.append((name, *work, *memory))
    print_table(
        f"plain / ours, times per example; matmul peak {peak:.0f} GFLOP/s",
        ("case", "ratio", "range", "ours ms", "plain ms", "steps", "ours of peak"),
        times,
    )
    print_table(
        "products per example, and what one call adds to the memory of a process at most",
        ("case", "ours GFLOP", "plain GFLOP", "ours MiB", "plain MiB")[: len(works[0])],
        works,
    )


def show_profile(results: dict[str, dict[str, Any]], size: Size) -> None:
    """Print where the time of the cases goes, of which there are profiles."""
    lines = []
    for name, row in results.items():
        for side in SIDES:
            milliseconds = 1e3 * row[f"{side}_s"] / size.batch
            times = (milliseconds * share for share in row[f"{side}_shares"].values())
            lines.append((name, side, *(f"{time:.3g}" for time in times)))
    print_table("where the time goes, ms per example", ("case", "side", *KINDS, "rest"), lines)


def show_curve(rows: list[dict[str, float]]) -> None:
    """Print time against active steps."""
    lines = [(f"{row['mean']:.2f}", f"{row['largest']:.0f}", f"{row['ms']:.2f}") for row in rows]
    title = "DACT evaluation, 10 questions an image"
    print_table(title, ("mean steps", "largest", "ms per example"), lines)


def print_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """One table, numbers to the right."""
    table = Table(title=title, title_justify="left")
    for column in columns:
        table.add_column(
            column, justify="left" if column in ("case", "side") else "right", no_wrap=True
        )
    for row in rows:
        table.add_row(*row)
    Console(width=max(100, Console().width)).print(table)
