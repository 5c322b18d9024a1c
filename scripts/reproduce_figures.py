"""The figures of the page of `scripts/reproduce.py`, the paper's beside ours."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import reproduce_paper as paper
from reproduce_answers import Answered, Questions, of_group
from reproduce_families import families_of
from reproduce_lead import by_cost

from dact.explain import figures, sweep_figures
from dact.explain.sweep import Setting, settings_of, spread, variants
from dact.explain.sweep_figures import FamilyPoint
from dact.runs.compare import describe_run

#: What is trained otherwise than the groups that it is compared with.
OTHERWISE = {"mac_on": "trained on", "paper_rule": "the paper's rule"}
PANELS = "here", "the paper, on CLEVR, N = 12"


def settings_table(networks: Sequence[Answered]) -> list[Setting]:
    """What was trained, as in reports on sweeps."""
    plain = [one for one in networks if one.training.group not in OTHERWISE]
    differences = variants([one.restored.description.config for one in plain])
    named = {one.training.name: text for one, text in zip(plain, differences, strict=True)}
    return settings_of(
        describe_run(
            one.restored,
            OTHERWISE.get(one.training.group) or named[one.training.name],
            one.milliseconds,
        )
        for one in networks
    )


def by_kind(networks: Sequence[Answered]) -> list[Setting]:
    """Likewise, as kinds of a figure."""
    shown = settings_table(of_group(networks, "mac", "dact", "act", "pondernet"))
    for group, name in OTHERWISE.items():
        own = settings_table(of_group(networks, group))
        shown += [one._replace(model=f"{one.model}, {name}", label=name) for one in own]
    return shown


def family_points(networks: Sequence[Answered], questions: Questions) -> list[FamilyPoint]:
    """Families by the mean of several networks over their questions."""
    steps = np.mean([one.steps for one in networks], 0)
    found = families_of(steps, questions)
    names = [questions.type_names[number].replace("_", " ") for number in found.types]
    return [FamilyPoint(*one) for one in zip(names, found.lengths, found.steps, strict=True)]


def paper_families() -> list[FamilyPoint]:
    """Those of the paper."""
    return [
        FamilyPoint(paper.full_name(one.type).replace("_", " "), one.length, one.steps)
        for one in paper.families()
    ]


def draw(
    networks: Sequence[Answered], usual: Sequence[Answered], questions: Questions, folder: Path
) -> Mapping[str, str]:
    """Figures, written; returns the names of their files, by what they show."""
    settings = by_kind(networks)
    costs = {
        kind: [
            (cost, spread([one.mean_steps for one in same]))
            for cost, same in by_cost(of_group(networks, kind)).items()
        ]
        for kind in ("dact", "act")
    }
    accuracy = dict(zip(PANELS, (settings, paper.settings()), strict=True))
    families = dict(zip(PANELS, (family_points(usual, questions), paper_families()), strict=True))
    drawn = {
        "accuracy": (
            "Accuracy against mean steps, here and in the paper",
            sweep_figures.sweep_panels(accuracy, "accuracy", "accuracy", ("dact",)),
        ),
        "families": (
            "Mean steps of question families against the length of their programs, here and in "
            "the paper",
            sweep_figures.family_panels(families),
        ),
        "cost": ("Mean steps against τ, of DACT and ACT", sweep_figures.cost_map(costs)),
        "time": (
            "Time for a question against mean steps",
            sweep_figures.sweep_map(settings, "milliseconds", "ms per question", ("dact",)),
        ),
    }
    for name, (_, figure) in drawn.items():
        figures.save_as(figure, folder / f"{name}.svg")
    return {text: f"{name}.svg" for name, (text, _) in drawn.items()}
