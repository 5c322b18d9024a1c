"""Show what a trained network did, or what a sweep found, as a web page and as figures.

`python scripts/report.py --checkpoint X.ckpt [--examples 20] [--split val] [--root R]`
`python scripts/report.py --sweep logs/multirun/DATE [MORE…]`

The page is one file that needs no network; the figures lie beside it as PNG and SVG.
"""

import argparse
import sys
from pathlib import Path

from dact.allocator import keep_freed_memory
from dact.console import silence_libraries
from dact.errors import UserError
from dact.one_line import one_line_errors
from dact.runs.compare import write_sweep_report
from dact.runs.explain import report_of_checkpoint


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--checkpoint", type=Path, help="whose reasoning is shown")
    what.add_argument("--sweep", type=Path, nargs="+", help="folders of runs to be compared")
    parser.add_argument("--output", type=Path, help="folder; by default report/ beside the runs")
    parser.add_argument("--root", type=Path, help="folder of the data, if it has moved")
    parser.add_argument("--split", help="by default the one that training validated on")
    parser.add_argument("--tokenizer", help="the checkpoint's data.tokenizer, if it is a function")
    parser.add_argument("--examples", type=int, default=20, help="questions shown step by step")
    parser.add_argument("--limit", type=int, help="answer so many questions only")
    arguments = parser.parse_args()
    silence_libraries()
    keep_freed_memory()
    if arguments.examples < 0 or (arguments.limit is not None and arguments.limit < 1):
        raise UserError("--examples must be at least 0 and --limit at least 1")
    if arguments.sweep:
        output = arguments.output or arguments.sweep[0] / "report"
        how = {"root": arguments.root, "tokenizer": arguments.tokenizer}
        path = write_sweep_report(output, arguments.sweep, **how)
    else:
        path = report_of_checkpoint(
            arguments.checkpoint,
            arguments.output,
            root=arguments.root,
            split=arguments.split,
            examples=arguments.examples,
            limit=arguments.limit,
            tokenizer=arguments.tokenizer,
        )
    print(f"written: {path}")


if __name__ == "__main__":
    sys.exit(one_line_errors(main))
