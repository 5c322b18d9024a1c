"""The report of a network on a split: how well, how long, and how it came to its answers."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from dact.datamodules import VQADataModule
from dact.datamodules.collate import collate
from dact.datamodules.questions import QuestionRecord

from . import figures
from .reasoning import Reasoner, Reasoning
from .survey import Group, Survey, choose_examples, correlation, group_by
from .views import View, views_of
from .writing import Captioned, write_page


class Example(NamedTuple):
    """A question that is shown step by step."""

    record: QuestionRecord
    reasoning: Reasoning
    view: View
    right: bool
    type: str
    length: int
    """Nodes of its program, or -1."""


class Family(NamedTuple):
    """Questions made from the same template, or of the same type where nothing is known of it."""

    label: str
    example: str
    """One of its questions."""
    group: Group


def write_report(
    folder: Path,
    found: Survey,
    reasoner: Reasoner,
    data: VQADataModule,
    split: str,
    *,
    title: str,
    subtitle: str,
    examples: int = 20,
) -> Path:
    """Write `report.html` and the figures in it, as PNG and SVG, to `figures/`.

    Args:
        folder: made if it is not there.
        found: answers to the questions of the split.
        reasoner: the network.
        data: set up with the split.
        split: its name.
        title: of the page.
        subtitle: what was evaluated.
        examples: how many questions are shown step by step.
    """
    shown = explain_examples(reasoner, data, split, found, choose_examples(found, examples))
    families = find_families(found, data, split, reasoner.max_steps)
    return write_page(
        folder,
        "report.html",
        _drawn(found, reasoner.max_steps),
        _for_papers(families, shown),
        title=title,
        subtitle=subtitle,
        found=found,
        correlations=_correlations(found),
        max_steps=reasoner.max_steps,
        adaptive=reasoner.adaptive,
        kind=data.feature_kind,
        tables=_tables(found, data, reasoner.max_steps),
        families=families,
        types=sorted({example.type for example in shown}),
        examples=shown,
    )


def explain_examples(
    reasoner: Reasoner, data: VQADataModule, split: str, found: Survey, positions: Sequence[int]
) -> list[Example]:
    """Have the questions at `positions` answered once more, step by step."""
    if not positions:
        return []
    records = data.records(split, positions)
    views = views_of(data, split, positions)
    dataset = data.dataset(split)
    batch = collate(dataset.questions, dataset.features, np.asarray(positions))
    reasonings = reasoner.explain(batch, [record.question for record in records])
    places = np.searchsorted(found.positions, positions)
    return [
        Example(
            record,
            reasoning,
            view,
            bool(found.right[place]),
            type_label(data, int(found.types[place])),
            int(found.lengths[place]),
        )
        for record, reasoning, view, place in zip(records, reasonings, views, places, strict=True)
    ]


def find_families(found: Survey, data: VQADataModule, split: str, max_steps: int) -> list[Family]:
    """Families, those that take the fewest steps first."""
    templates = bool((found.families >= 0).any())
    groups = group_by(found, found.families if templates else found.types, max_steps)
    groups.sort(key=lambda group: group.mean_steps)
    examples = data.records(split, [group.example for group in groups])
    names = data.dataset(split).questions.family_names
    return [
        Family(
            names[group.key] if templates else type_label(data, group.key), example.question, group
        )
        for group, example in zip(groups, examples, strict=True)
    ]


def type_label(data: VQADataModule, number: int) -> str:
    """A question type as people write it."""
    return data.type_names[number].replace("_", " ")


def _tables(
    found: Survey, data: VQADataModule, max_steps: int
) -> list[tuple[str, list[tuple[Any, Group]]]]:
    by_type = group_by(found, found.types, max_steps)
    tables = [("question type", [(type_label(data, group.key), group) for group in by_type])]
    for label, numbers in _numbers(found):
        tables.append(
            (label, [(group.key, group) for group in group_by(found, numbers, max_steps)])
        )
    return [(label, rows) for label, rows in tables if rows]


def _numbers(found: Survey) -> list[tuple[str, NDArray[np.int64]]]:
    """What of a question's program is set against its steps, and what that is called."""
    return [("reads needed", found.reads), ("program length", found.lengths)]


def _correlations(found: Survey) -> list[tuple[str, float]]:
    """How far steps go with numbers of the questions' programs, where both vary."""
    found_r = [(label, correlation(found.steps, numbers)) for label, numbers in _numbers(found)]
    return [(label, r) for label, r in found_r if r is not None]


def _drawn(found: Survey, max_steps: int) -> dict[str, Captioned]:
    """Figures of the page."""
    drawn = {"steps": Captioned("steps taken", figures.steps_histogram(found, max_steps))}
    for label, numbers in _numbers(found):
        groups, r = group_by(found, numbers, max_steps), correlation(found.steps, numbers)
        if len(groups) > 1:
            caption = f"accuracy and steps against {label}"
            figure = figures.by_number(groups, label, r)
            drawn[label.replace(" ", "_")] = Captioned(caption, figure)
    return drawn


def _for_papers(families: Sequence[Family], shown: Sequence[Example]) -> dict[str, Figure]:
    """Figures of what the page itself has in HTML."""
    groups = [family.group for family in families]
    examples = {family.group.key: family.example for family in families}
    drawn = {"families": figures.family_map(groups, examples)}
    for number, example in enumerate(shown, 1):
        drawn[f"question_{number:02d}"] = figures.strip(example.reasoning, example.view)
    return drawn
