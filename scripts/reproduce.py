"""Train everything that the claims of the paper are about, check them, and write a page of results.

`python scripts/reproduce.py [--size small] [--output docs/results.md] [OPTION=VALUE …]`

small (under two hours on two cores) is on clevr_mini, full is the paper's own CLEVR recipe, trial
learns nothing. Further options are those of run.py, as `data=clevr data.root=R`. Stopped at any
time, the same command goes on where it was.
"""

import argparse
import os
import shlex
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import reproduce_accuracy as accuracy
import reproduce_page as pages
import reproduce_steps as steps
import torch
from reproduce_answers import (
    Answered,
    Answers,
    Questions,
    answer_all,
    answer_bounded,
    answer_sampled,
    load,
    of_group,
    open_questions,
)
from reproduce_plan import OWNED, SIZES, USUAL, Size, Training, plan
from reproduce_runs import Trainer, commit, commits, seconds
from reproduce_statistics import Resamples
from reproduce_verdict import Claim
from rich.progress import track

from dact import command_line
from dact.allocator import keep_freed_memory
from dact.console import silence_libraries
from dact.errors import UserError
from dact.explain import figures
from dact.explain.sweep import Setting, settings_of, spread, variants
from dact.one_line import one_line_errors
from dact.run_folder import write_whole
from dact.runs.compare import describe_run, measure

#: Questions that are answered to take the time.
TIMED = 256
#: Folder of the figures, beside the page.
FIGURES = "figures"


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", choices=SIZES, default="small")
    parser.add_argument("--output", type=Path, default=Path("docs/results.md"))
    parser.add_argument("--work", type=Path, help="of the runs; by default logs/reproduce/SIZE")
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


def main() -> None:
    """Train, check, write."""
    given = arguments()
    silence_libraries()
    keep_freed_memory()
    size = SIZES[given.size]
    work = given.work or Path("logs", "reproduce", given.size)
    jobs = given.jobs or (1 if given.size == "full" else 2)
    make_places(given.output, work)
    trainings = plan(size)
    Trainer(work, size, given.options).run_all(trainings, jobs)
    wanted = [one for one in trainings if one.group != "start"]
    made = pages.Provenance(
        command=shlex.join(["python", "scripts/reproduce.py", *sys.argv[1:]]),
        trained=commits(work, trainings),
        evaluated=commit(),
        date=time.strftime("%Y-%m-%d"),
        hours=seconds(work, trainings) / 3600,
        jobs=jobs,
        seeds=seeds_of(size),
        questions="",
    )
    write(given.output, work, wanted, size, made)
    print(f"written: {given.output}")


def make_places(output: Path, work: Path) -> None:
    """Make the folders of what will be written, before hours of training.

    Raises:
        UserError: that cannot be.
    """
    if output.is_dir():
        raise UserError(f"--output {output} is a folder: name a file in it")
    for folder in (work, output.parent / FIGURES):
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(f"{folder} cannot be made: {error.strerror}") from error
        if not os.access(folder, os.W_OK):
            raise UserError(f"{folder} cannot be written")


def seeds_of(size: Size) -> str:
    """Which networks have which seeds.

    >>> seeds_of(SIZES["small"])
    'Seeds 0, 1, 2 for MAC and DACT; 0 alone with gate, ACT, PonderNet and budgets.'
    """
    seeds = ", ".join(map(str, range(size.seeds)))
    return f"Seeds {seeds} for MAC and DACT; 0 alone with gate, ACT, PonderNet and budgets."


def write(
    output: Path, work: Path, wanted: Sequence[Training], size: Size, made: pages.Provenance
) -> None:
    """Answer, measure, check, and write the page and its figures."""
    torch.set_num_threads(1)
    restored = load(work, wanted)
    questions = open_questions(restored[0][1])
    times = measure([one for _, one in restored], None, TIMED)
    networks = []
    for (training, one), milliseconds in zip(track(restored, "answering"), times, strict=True):
        found = answer_all(one.network, questions)
        right = found.answers == questions.right
        networks.append(Answered(training, one, right, found.steps, milliseconds))
    bounded = answer_dacts(of_group(networks, "dact"), size, questions)
    ponders = of_group(networks, "pondernet")
    sampled = {
        one.training.name: answer_sampled(one.restored.network, questions) for one in ponders
    }
    settings = settings_table(networks)
    usual = usual_of(networks)
    parts = {
        "Halting bounds": pages.bounds_table(usual, bounded, questions),
        "Budgets": pages.budgets_table(of_group(networks, "budget")),
        "PonderNet, likeliest and by lot": pages.sampling_table(ponders, sampled, questions),
        "All settings": pages.settings_table(settings),
    }
    name = restored[0][1].data_name
    made = made._replace(questions=f"the {len(questions.right):,} validation questions of {name}")
    claims = check(networks, bounded, questions, size)
    shown = draw(networks, output.parent / FIGURES)
    write_whole(output, pages.page(made, claims, parts, shown))


def usual_of(networks: Sequence[Answered]) -> list[Answered]:
    """The DACTs of the usual ponder cost."""
    return [one for one in of_group(networks, "dact") if one.cost == float(USUAL)]


def answer_dacts(
    dacts: Sequence[Answered], size: Size, questions: Questions
) -> dict[str, dict[str, Answers]]:
    """Answers by halting bound and training: of all without a change, of the usual ones others."""
    bounds = {"": (None, {}), "exact": ("exact", {}), "paper": ("paper", {})}
    looser = {
        f"probability, ε = {eps:g}": ("probability", {"eps": eps}) for eps in (0.05, 0.2, 0.5)
    }
    counts = reversed(range(1, size.steps))
    looser |= {f"budget, {n} step{'s'[: n - 1]}": ("budget", {"budget": n}) for n in counts}
    usual = usual_of(dacts)
    found: dict[str, dict[str, Answers]] = {}
    for name, (bound, more) in track([*bounds.items(), *looser.items()], "with other bounds"):
        found[name] = {
            one.training.name: answer_bounded(one.restored.network, questions, bound, **more)
            for one in (dacts if name in bounds else usual)
        }
    return found


def check(
    networks: Sequence[Answered],
    bounded: dict[str, dict[str, Answers]],
    questions: Questions,
    size: Size,
) -> list[Claim]:
    """All claims."""
    draws = Resamples(questions.images)
    dacts, macs, acts = (of_group(networks, group) for group in ("dact", "mac", "act"))
    others, ponders = of_group(networks, "steps"), of_group(networks, "pondernet")
    usual = usual_of(networks)
    shown = [*usual, *(one for one in acts if one.cost == float(USUAL)), *ponders]
    wider = [one for one in others if one.restored.model == "dact"]
    plain = [one for one in others if one.restored.model == "mac"]
    return [
        accuracy.beats_mac(dacts, macs, draws, size),
        steps.follows_cost(dacts, acts, ponders),
        steps.follows_length(shown, questions, draws),
        steps.differs_by_family(shown, questions, draws),
        accuracy.more_steps_do_not_hurt([*usual, *wider], [*macs, *plain], draws),
        accuracy.same_answers(dacts, bounded),
        steps.time_falls_with_steps([*dacts, *acts, *ponders, *macs], TIMED),
    ]


def settings_table(networks: Sequence[Answered]) -> list[Setting]:
    """What was trained, as in reports on sweeps."""
    differences = variants([one.restored.description.config for one in networks])
    return settings_of(
        describe_run(one.restored, variant, one.milliseconds)
        for one, variant in zip(networks, differences, strict=True)
    )


def draw(networks: Sequence[Answered], folder: Path) -> dict[str, str]:
    """Figures, written; returns their paths relative to the page, by what they show."""
    settings = settings_table(of_group(networks, "mac", "dact", "act", "pondernet"))
    costs = {
        kind: [
            (cost, spread([one.mean_steps for one in same]))
            for cost, same in accuracy.by_cost(of_group(networks, kind)).items()
        ]
        for kind in ("dact", "act")
    }
    drawn = {
        "accuracy": (
            "Accuracy against mean steps",
            figures.sweep_map(settings, "accuracy", "accuracy", ("dact",)),
        ),
        "cost": ("Mean steps against τ, of DACT and ACT", figures.cost_map(costs)),
        "time": (
            "Time for a question against mean steps",
            figures.sweep_map(settings, "milliseconds", "ms per question", ("dact",)),
        ),
    }
    for name, (_, figure) in drawn.items():
        figures.save_as(figure, folder / f"{name}.svg")
    return {text: f"{FIGURES}/{name}.svg" for name, (text, _) in drawn.items()}


if __name__ == "__main__":
    sys.exit(one_line_errors(main))
