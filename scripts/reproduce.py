"""Train everything that the claims of the paper are about, check them, and write a page of results.

`python scripts/reproduce.py [--size small] [--output docs/results.md] [OPTION=VALUE …]`

small (about three hours on two cores) is on clevr_mini, full is the paper's own CLEVR recipe, trial
learns nothing. Further options are those of run.py, as `data=clevr data.root=R`. Stopped at any
time, the same command goes on where it was.
"""

import os
import shlex
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import reproduce_accuracy as accuracy
import reproduce_families as families
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
from reproduce_arguments import arguments
from reproduce_breakdown import breakdown, by_reads, by_type
from reproduce_figures import draw, settings_table
from reproduce_lead import Macs, against_every_mac, beats_mac
from reproduce_plan import SIZES, USUAL, USUAL_PRIOR, Size, Training, plan
from reproduce_runs import Trainer, commit, commits, seconds
from reproduce_statistics import Resamples
from reproduce_verdict import Claim
from rich.progress import track

from dact.allocator import keep_freed_memory
from dact.console import silence_libraries
from dact.errors import UserError
from dact.one_line import one_line_errors
from dact.run_folder import write_whole
from dact.runs.compare import measure

#: Questions that are answered to take the time.
TIMED = 256
#: Folder of the figures, beside the page.
FIGURES = "figures"


def main() -> None:
    """Train, check, write."""
    given = arguments(__doc__.splitlines()[0], SIZES, Path("docs/results.md"))
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
    for claim in write(given.output, work, wanted, size, made):
        print(f"{claim.name} {claim.verdict}\n  here:  {claim.here}\n  paper: {claim.paper}")
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
    """How often networks were trained.

    >>> seeds_of(SIZES["small"])
    'Seeds are 0, 1, 2; tables say where there is seed 0 alone.'
    """
    seeds = ", ".join(map(str, range(size.seeds)))
    return f"Seeds are {seeds}; tables say where there is seed 0 alone."


def write(
    output: Path, work: Path, wanted: Sequence[Training], size: Size, made: pages.Provenance
) -> list[Claim]:
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
    usual = usual_of(networks)
    bounded = answer_dacts(of_group(networks, "dact"), size, questions)
    name = restored[0][1].data_name
    made = made._replace(questions=f"the {len(questions.right):,} validation questions of {name}")
    draws = Resamples(questions.images)
    claims = check(networks, bounded, questions, draws, size)
    drawn = draw(networks, usual, questions, output.parent / FIGURES)
    shown = {text: f"{FIGURES}/{name}" for text, name in drawn.items()}
    parts = sections(networks, bounded, questions, draws)
    write_whole(output, pages.page(made, claims, parts, shown))
    return claims


def usual_of(networks: Sequence[Answered], group: str = "dact") -> list[Answered]:
    """Those of a group that have the usual ponder cost, or prior."""
    own = of_group(networks, group)
    if group == "pondernet":
        priors = [one.restored.description.config["model"]["prior"] for one in own]
        usual = zip(own, priors, strict=True)
        return [one for one, prior in usual if prior == float(USUAL_PRIOR)]
    return [one for one in own if one.cost == float(USUAL)]


def macs_of(networks: Sequence[Answered]) -> Macs:
    """To compare DACT with."""
    return Macs(of_group(networks, "mac"), of_group(networks, "mac_on"))


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
    draws: Resamples,
    size: Size,
) -> list[Claim]:
    """All claims."""
    groups = ("dact", "paper_rule", "act", "pondernet")
    dacts, ruled, acts, ponders = (of_group(networks, group) for group in groups)
    others, macs = of_group(networks, "steps"), macs_of(networks)
    shown = [one for group in groups for one in usual_of(networks, group)]
    wider = [one for one in others if one.restored.model == "dact"]
    plain = [one for one in others if one.restored.model == "mac"]
    return [
        beats_mac(dacts, ruled, macs, draws, size),
        steps.follows_cost(dacts, ruled, acts, ponders),
        families.follows_length(shown, questions, draws),
        families.differs_by_family(shown, questions, draws),
        accuracy.more_steps_do_not_hurt(
            [*usual_of(networks), *wider], [*macs.scheduled, *plain], draws
        ),
        accuracy.same_answers(dacts, bounded),
        steps.time_falls_with_steps([*dacts, *acts, *ponders, *macs.scheduled], TIMED),
    ]


def sections(
    networks: Sequence[Answered],
    bounded: dict[str, dict[str, Answers]],
    questions: Questions,
    draws: Resamples,
) -> dict[str, str]:
    """What the page has besides claims, by its headings."""
    usual, macs = usual_of(networks), macs_of(networks)
    named = macs.named
    shown = {name: named[name] for name in dict.fromkeys([*list(named)[:1], *list(named)[-2:]])}
    ponders = of_group(networks, "pondernet")
    sampled = {
        one.training.name: answer_sampled(one.restored.network, questions) for one in ponders
    }
    dact = {f"DACT, τ = {USUAL}": usual}
    return {
        "Against every MAC": against_every_mac(usual, macs, draws),
        "By type of question": breakdown(by_type(questions), shown, dact, questions),
        "By reads needed": breakdown(by_reads(questions), shown, dact, questions),
        "Recipes": pages.recipes_table(networks),
        "Halting bounds": pages.bounds_table(usual, bounded, questions),
        "Budgets": pages.budgets_table(of_group(networks, "budget")),
        "PonderNet, likeliest and by lot": pages.sampling_table(ponders, sampled, questions),
        "All settings": pages.settings_table(settings_table(networks)),
    }


if __name__ == "__main__":
    sys.exit(one_line_errors(main))
