"""What may be typed to `scripts/reproduce.py` and `scripts/measure_depth.py`."""

import argparse
from collections.abc import Collection
from pathlib import Path

from dact import command_line
from dact.errors import UserError

#: Options of run.py that the plan decides.
OWNED = (
    "mode",
    "experiment",
    "seed",
    "model",
    "model.max_steps",
    "model.prior",
    "model.step_loss",
    "model.gate.bias",
    "data.network.step_loss",
    "data.network.halting_bias",
    "ponder",
    "ponder.cost",
    "ponder.target_steps",
    "trainer.max_epochs",
    "warm_start",
    "ckpt_path",
    "data.cache_dir",
    "hydra.run.dir",
)


def arguments(description: str, sizes: Collection[str], page: Path) -> argparse.Namespace:
    """Read the command line.

    Args:
        description: of the program.
        sizes: names of its plans.
        page: that it writes unless another one is named; relative to the present folder.
    """
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--size", choices=sizes, default="small")
    parser.add_argument("--output", type=Path, default=page)
    parser.add_argument("--work", type=Path, help="of the runs; by default in logs/")
    parser.add_argument("--jobs", type=int, help="trainings at once; by default 2, and 1 for full")
    parser.add_argument("options", nargs="*", metavar="OPTION=VALUE", help="of run.py, for all")
    given = parser.parse_args()
    if given.jobs is not None and given.jobs < 1:
        raise UserError(f"--jobs {given.jobs}: it must be at least 1")
    for one in given.options:
        if "=" not in one:
            raise UserError(f"{one} is no option: write OPTION=VALUE, as for run.py")
        if command_line.key_of(one) in OWNED:
            raise UserError(f"{one}: that is what this program varies, so leave it out")
    return given
