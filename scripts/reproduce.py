"""Train everything that the claims of the paper are about, check them, and write a page of results.

`python scripts/reproduce.py [--size small] [--output docs/results.md] [OPTION=VALUE …]`

small (under two hours on two cores) is on clevr_mini, full is the paper's own CLEVR recipe, trial
learns nothing. Further options are those of run.py, as `data=clevr data.root=R`. Stopped at any
time, the same command goes on where it was.
"""

import argparse
import shlex
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import reproduce_claims as claims
import reproduce_page as pages
import torch
from reproduce_answers import (
    Answers,
    Questions,
    Trained,
    answer_all,
    answer_bounded,
    load,
    open_questions,
)
from reproduce_plan import SIZES, USUAL, Size, plan
from reproduce_runs import run_all, seconds
from rich.progress import track

from dact.allocator import keep_freed_memory
from dact.command_line import quote_path
from dact.console import silence_libraries
from dact.errors import UserError
from dact.explain import figures
from dact.explain.sweep import Setting, settings_of, variants
from dact.one_line import one_line_errors
from dact.runs.compare import describe_run, measure


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", choices=SIZES, default="small")
    parser.add_argument("--output", type=Path, default=Path("docs/results.md"))
    parser.add_argument(
        "--work", type=Path, help="folder of the runs; by default logs/reproduce/SIZE"
    )
    parser.add_argument("--jobs", type=int, help="trainings at once; by default 2, and 1 for full")
    parser.add_argument("--no-training", action="store_true", help="only check what is trained")
    parser.add_argument(
        "options", nargs="*", metavar="OPTION=VALUE", help="of run.py, for all runs"
    )
    return parser.parse_args()


def main() -> None:
    """Train, check, write."""
    given = arguments()
    silence_libraries()
    keep_freed_memory()
    size = SIZES[given.size]
    work = given.work or Path("logs", "reproduce", given.size)
    jobs = given.jobs or (1 if given.size == "full" else 2)
    more = [quote_path(one) if one.startswith("data.root=") else one for one in given.options]
    if wrong := [one for one in more if "=" not in one]:
        raise UserError(f"{wrong[0]} is no option: write OPTION=VALUE, as for run.py")
    given.output.parent.mkdir(parents=True, exist_ok=True)
    trainings = plan(size)
    if not given.no_training:
        run_all(trainings, work, size, more, jobs)
    wanted = [one for one in trainings if one.group != "start"]
    networks = load(work, wanted, {})
    made = pages.Provenance(
        shlex.join(["python", "scripts/reproduce.py", *sys.argv[1:]]),
        commit(),
        time.strftime("%Y-%m-%d"),
        seconds(work, trainings) / 3600,
        "",
    )
    write(given.output, networks, size, made)
    print(f"written: {given.output}")


def write(output: Path, networks: Sequence[Trained], size: Size, made: pages.Provenance) -> None:
    """Answer, measure, check, and write the page and its figures."""
    torch.set_num_threads(1)
    questions = open_questions(networks[0].restored)
    times = measure([one.restored for one in networks], None, 256)
    networks = [one._replace(milliseconds=ms) for one, ms in zip(networks, times, strict=True)]
    groups = {one.training.group: [] for one in networks}
    for one in networks:
        groups[one.training.group].append(one)
    answers, bounded = answer(groups, size, questions)
    usual = [one for one in groups["dact"] if one.cost == float(USUAL)]
    shown = [*usual, *groups["act"][-1:], *groups["pondernet"][:2]]
    found = [
        claims.beats_mac(groups["dact"], groups["mac"]),
        claims.follows_cost(groups["dact"], groups["act"]),
        claims.follows_difficulty(shown, answers, questions),
        claims.more_steps_do_not_hurt([*usual, *groups["mac"], *groups["steps"]]),
        claims.same_answers(groups["dact"], bounded, questions),
        claims.time_falls_with_steps([*groups["dact"], *groups["mac"]]),
    ]
    settings = _settings(networks)
    right = np.asarray(questions.dataset.questions.answers)
    parts = {
        "All settings": pages.settings_table(settings),
        "Steps by type": pages.table(claims.steps_by_type(shown, answers, questions)),
        "Halting bounds": pages.bounds_table(usual, bounded, right),
        "Budgets": pages.budgets_table(groups["budget"]),
    }
    name = networks[0].restored.data_name
    made = made._replace(questions=f"the {len(right):,} validation questions of {name}")
    folder = output.parent / "figures"
    folder.mkdir(exist_ok=True)
    drawn = figures.sweep_map(settings, "accuracy", "accuracy on validation")
    figures.save_as(drawn, folder / "results.svg")
    output.write_text(pages.page(made, found, parts, ["figures/results.svg"]), "utf-8")


def answer(
    groups: Mapping[str, Sequence[Trained]], size: Size, questions: Questions
) -> tuple[dict[str, Answers], dict[str, dict[str, Answers]]]:
    """Answers by training, and those of DACTs by halting bound too."""
    others = [*groups["act"], *groups["pondernet"]]
    plain = {
        one.training.name: answer_all(one.restored.network, questions)
        for one in track(others, "answering")
    }
    bounds = {"": None, "exact": "exact", "paper": "paper"}
    bounded: dict[str, dict[str, Answers]] = {name: {} for name in bounds}
    for one in track(groups["dact"], "answering with other bounds"):
        for name, bound in bounds.items():
            found = answer_bounded(one.restored.network, questions, bound)
            bounded[name][one.training.name] = found
    usual = [one for one in groups["dact"] if one.cost == float(USUAL)]
    looser = {
        f"probability, ε = {eps:g}": ("probability", {"eps": eps}) for eps in (0.5, 0.2, 0.05)
    }
    looser |= {
        f"budget, {steps} steps": ("budget", {"budget": steps}) for steps in range(1, size.steps)
    }
    for name, (bound, more) in looser.items():
        bounded[name] = {
            one.training.name: answer_bounded(one.restored.network, questions, bound, **more)
            for one in usual
        }
    return plain | bounded["exact"], bounded


def _settings(networks: Sequence[Trained]) -> list[Setting]:
    """What was trained, as in reports on sweeps."""
    differences = variants([one.restored.description.config for one in networks])
    return settings_of(
        describe_run(one.restored, variant, one.milliseconds)
        for one, variant in zip(networks, differences, strict=True)
    )


def commit() -> str:
    """Of the code, marked if it was changed since."""
    here = Path(__file__).parent
    git = ["git", "-C", str(here), "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"]
    found = subprocess.run(git, capture_output=True, text=True, check=False)
    return found.stdout.strip() or "unknown"


if __name__ == "__main__":
    sys.exit(one_line_errors(main))
