"""How a Hydra application of ours starts: run.py and some of the scripts."""

import sys
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

from dact import command_line, config
from dact.one_line import one_line_errors


def start(main: Callable[[], Any], conf: Path, ponder_files: Collection[str] = ()) -> int:
    """Run the application on the command line, rewritten for Hydra; returns its status.

    Args:
        main: the application.
        conf: folder of the config groups.
        ponder_files: names of the ponder costs that have a file.
    """

    def program() -> None:
        sys.argv[1:] = command_line.rewrite(sys.argv[1:], ponder_files, conf)
        config.register()
        main()

    return one_line_errors(program, conf)
