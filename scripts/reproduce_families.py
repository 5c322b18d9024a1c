"""The claims of the paper about steps and what is asked: C3, in two parts."""

import statistics
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
import reproduce_paper as paper
from numpy.typing import NDArray
from reproduce_answers import Answered, Questions
from reproduce_statistics import (
    Interval,
    Resamples,
    by_chance,
    by_group,
    explained,
    interval,
    spearman,
    spearman_within,
)
from reproduce_verdict import NOTHING, Claim, listed, number, table, verdict


class Families(NamedTuple):
    """What is known of families by their questions; arrays are (G,)."""

    steps: NDArray[np.float64]
    """Mean."""
    lengths: NDArray[np.float64]
    """Mean length of the programs."""
    reads: NDArray[np.float64]
    types: NDArray[np.int64]


def families_of(
    steps: NDArray, questions: Questions, at: NDArray[np.int64] | slice = slice(None)
) -> Families:
    """Families of some questions, each of which is of one type."""
    families = questions.families[at]
    columns = (steps[at], questions.lengths[at], questions.reads[at])
    means = [by_group(column, families) for column in columns]
    first = np.unique(families, return_index=True)[1]
    return Families(*means, questions.types[at][first])


class Correlations(NamedTuple):
    """Rank correlations of steps with program length and reads needed, also within types."""

    length: Interval
    length_within: Interval
    reads: Interval
    reads_within: Interval


def _four(steps: NDArray, lengths: NDArray, reads: NDArray, types: NDArray) -> list[float]:
    return [
        statistic
        for other in (lengths, reads)
        for statistic in (spearman(steps, other), spearman_within(steps, other, types))
    ]


def correlations(
    steps: NDArray[np.int64], questions: Questions, draws: Resamples
) -> tuple[Correlations, Correlations]:
    """Over questions, and over families."""

    def both(at: NDArray[np.int64]) -> list[float]:
        own = (steps[at], questions.lengths[at], questions.reads[at], questions.types[at])
        return [*_four(*own), *_four(*families_of(steps, questions, at))]

    found = [interval(column) for column in draws.each(both).T]
    return Correlations(*found[:4]), Correlations(*found[4:])


def follows_length(networks: Sequence[Answered], questions: Questions, draws: Resamples) -> Claim:
    """C3a."""
    head = ["", "program length", "within types", "reads needed", "within types"]
    rows, rows_of_families = [head], [head]
    judged, judged_families = [], []
    for one in networks:
        single, families = correlations(one.steps, questions, draws)
        rows.append([one.label, *(found.text() for found in single)])
        rows_of_families.append([one.label, *(found.text() for found in families)])
        if one.training.group == "dact":
            judged.append(single)
            judged_families.append(families)
    theirs = paper.of_families()
    beside = f"{theirs.length:.2f}", f"{theirs.length_within:.2f}"
    rows_of_families.append(["the paper's DACT, on CLEVR", *beside, NOTHING, NOTHING])
    return Claim(
        "C3a",
        "Questions with longer programs take more steps",
        "held in a seed of DACT if the interval of the rank correlation (Spearman's) with program "
        "length, over all questions, is above 0, refuted if it is below 0",
        verdict(_above(found.length) for found in judged),
        rows,
        [
            _counts(judged),
            "Types differ in the length of their programs and in their steps, so a correlation "
            "over all questions may be one of types: columns within types compare questions of one "
            "type, types weighted by their size. Reads needed are "
            "[what a question cannot do without](data.md#reads-needed). A dash is where they, or "
            "the steps, do not vary.",
            "The same over families of questions, of each of which mean steps, mean program length "
            "and mean reads are taken. Programs have a filter for each word here, and one for each "
            "noun where the paper's families were counted.",
            table(rows_of_families),
        ],
        f"{_told('questions', judged)}; {_told('families', judged_families)}",
        "families: length {} (within types {})".format(*beside),
    )


def _above(found: Interval) -> bool | None:
    return found.low > 0 if found.low > 0 or found.high < 0 else None


def _counts(judged: Sequence[Correlations]) -> str:
    """In how many seeds each of the correlations over questions is there."""
    names = ("program length", "program length within types", "reads needed", "reads within types")
    told = [
        f"{name} in {sum(_above(one) is True for one in column)}"
        for name, column in zip(names, zip(*judged, strict=True), strict=False)
    ]
    return (
        f"Over questions, of {len(judged)} seeds of DACT the interval is above 0 with "
        f"{listed(told)}."
    )


def _told(what: str, judged: Sequence[Correlations]) -> str:
    """Means over seeds."""
    means = [_mean_text(column) for column in zip(*judged, strict=True)]
    if not means:
        return NOTHING
    return "{}: length {} (within types {}), reads {} ({})".format(what, *means)


def _mean_text(found: Iterable[Interval]) -> str:
    """Over seeds in which something can be said."""
    known = [one.value for one in found if one.value == one.value]
    return f"{statistics.fmean(known):.2f}" if known else NOTHING


class Shares(NamedTuple):
    """Shares of a variance."""

    families: Interval
    """Of families, in that of questions."""
    types: Interval
    """Of types, likewise."""
    types_of_families: Interval
    """Of types, in that of the mean steps of families."""


def shares(steps: NDArray[np.float64], questions: Questions, draws: Resamples) -> Shares:
    """η²."""

    def all_three(at: NDArray[np.int64]) -> list[float]:
        families = families_of(steps, questions, at)
        own = [explained(steps[at], group[at]) for group in (questions.families, questions.types)]
        return [*own, explained(families.steps, families.types)]

    return Shares(*map(interval, draws.each(all_three).T))


def differs_by_family(
    networks: Sequence[Answered], questions: Questions, draws: Resamples
) -> Claim:
    """C3b."""
    present = [n for n in range(len(questions.type_names)) if (questions.types == n).any()]
    names = [questions.type_names[n] for n in present]
    head = ["", "η² of families", "by chance at most", "η² of types", "types, of family means"]
    rows = [[*head, *(name.replace("_", " ") for name in names)]]
    outcomes: list[bool | None] = []
    judged = []
    for one in networks:
        steps = one.steps.astype(float)
        found, chance = shares(steps, questions, draws), by_chance(steps, questions.families)
        families = families_of(steps, questions)
        cells = [_mean(families.steps[families.types == n]) for n in present]
        texts = [share.text() for share in found]
        rows.append([one.label, texts[0], number(chance), *texts[1:], *cells])
        if one.training.group == "dact":
            value, low, _ = found.families
            outcomes.append(None if value != value else low > chance)
            judged.append(found)
    theirs, by_type = f"{paper.of_families().types:.2f}", paper.by_type()
    cells = [f"{by_type[name]:.2f}" if name in by_type else NOTHING for name in names]
    rows.append(["the paper's DACT, on CLEVR", *3 * [NOTHING], theirs, *cells])
    return Claim(
        "C3b",
        "Families of questions differ in their steps",
        "held in a seed of DACT if the interval of η², the share of the variance of steps between "
        "families, is above that of all shuffles of the families",
        verdict(outcomes),
        rows,
        [
            "η² of types, of family means, is the share of types in the variance of the mean steps "
            "of families, each of which counts as one: the paper's figure has no more. The last "
            "columns are by type the mean over families of their mean steps, of up to "
            f"{max((one.max_steps for one in networks), default=0)} steps here and 12 in the paper."
        ],
        _shares_told(judged),
        f"types in family means: {theirs}",
    )


def _mean(values: NDArray[np.float64]) -> str:
    return f"{values.mean():.2f}" if len(values) else NOTHING


def _shares_told(judged: Sequence[Shares]) -> str:
    means = [_mean_text(column) for column in zip(*judged, strict=True)]
    return (
        "η²: families {}, types {}; types in family means: {}".format(*means) if means else NOTHING
    )
