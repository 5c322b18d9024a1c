"""C3 of scripts/reproduce.py, steps and what is asked, on networks that are made up."""

from statistics import fmean

import numpy as np
import pytest
import reproduce_families as families
from answered_networks import network
from reproduce_answers import Questions
from reproduce_statistics import Resamples, explained, interval, spearman, spearman_within
from reproduce_verdict import FAILS, HOLDS, OPEN

NAMES = ("query_attribute", "count", "exist")


def questions(lengths, *, of=0, types=0, reads=None, images=40):
    """The same few questions about each image, of some families."""
    columns = (lengths, of, types, lengths if reads is None else reads)
    lengths, numbers, types, reads = (
        np.tile(np.broadcast_to(column, len(lengths)), images) for column in columns
    )
    about = np.repeat(np.arange(images), len(columns[0]))
    return Questions(None, lengths, lengths, numbers, types, NAMES, about, reads, lengths > 0)


def asked(claim, taken, asked_of, kind="dact"):
    """A claim about steps of a network that takes these at the questions of each image."""
    count = len(asked_of.images)
    one = network(kind, np.ones(count, bool), np.resize(taken, count))
    return claim([one], asked_of, Resamples(asked_of.images))


@pytest.mark.parametrize(
    ("taken", "said", "numbers"),
    [
        ([1, 2, 3, 4], HOLDS, "1.00 (1.00 to 1.00)"),
        ([4, 3, 2, 1], FAILS, "-1.00 (-1.00 to -1.00)"),
        ([1, 2, 2, 1], OPEN, "0.00 (0.00 to 0.00)"),
        ([2, 2, 2, 2], OPEN, "—"),
    ],
)
def test_steps_follow_the_length_of_programs(taken, said, numbers):
    claim = asked(families.follows_length, taken, questions([3, 5, 7, 9]))
    assert claim.verdict == said
    assert claim.rows[1] == ["DACT, τ = 0, seed 0", *4 * [numbers]]


def test_a_correlation_may_be_one_of_types():
    """Longer programs take more steps over all, and fewer within each type."""
    known = questions([3, 4, 8, 9], types=[0, 0, 1, 1])
    claim = asked(families.follows_length, [2, 1, 4, 3], known)
    assert claim.verdict == HOLDS
    assert [float(cell.split()[0]) for cell in claim.rows[1][1:]] == [0.6, -1.0, 0.6, -1.0]


def test_reads_are_another_thing_than_length():
    """Steps rise with reads, and fall with length; that is no longer programs taking more steps."""
    known = questions([3, 4, 8, 9], reads=[2, 2, 1, 1])
    claim = asked(families.follows_length, [3, 3, 1, 1], known)
    assert claim.verdict == FAILS
    assert [cell.split()[0] for cell in claim.rows[1][3:]] == ["1.00", "1.00"]
    assert claim.notes[0].endswith(
        "with program length in 0, program length within types in 0, "
        "reads needed in 1, reads within types in 1."
    )


def slow_families(steps, known, at):
    """Of each family its mean steps, length and reads, and its type."""
    own = {}
    for q in at:
        own.setdefault(known.families[q], []).append(q)
    return [
        (
            *(fmean(c[q] for q in own[f]) for c in (steps, known.lengths, known.reads)),
            known.types[own[f][0]],
        )
        for f in sorted(own)
    ]


def test_families_are_means_of_their_questions_in_each_resample():
    """Of made-up questions, of which a resample may lack families."""
    generator = np.random.default_rng(5)
    of = generator.integers(0, 7, 60)
    lengths, steps, reads = (generator.integers(1, 6, 60) for _ in range(3))
    known = questions(lengths, of=of, types=of % 3, reads=reads, images=1)
    known = known._replace(images=generator.integers(0, 9, 60))
    draws = Resamples(known.images)

    def slow(statistic):
        def one(at):
            return statistic(*map(np.array, zip(*slow_families(steps, known, at), strict=True)))

        return draws.each(one)

    _, found = families.correlations(steps, known, draws)
    for own, wanted in {
        "length": slow(lambda s, n, r, t: spearman(s, n)),
        "length_within": slow(lambda s, n, r, t: spearman_within(s, n, t)),
        "reads": slow(lambda s, n, r, t: spearman(s, r)),
        "reads_within": slow(lambda s, n, r, t: spearman_within(s, r, t)),
    }.items():
        assert getattr(found, own) == pytest.approx(interval(wanted))
    shares = families.shares(steps.astype(float), known, draws)
    wanted = slow(lambda s, n, r, t: explained(s, t))
    assert shares.types_of_families == pytest.approx(interval(wanted))


def test_the_paper_is_in_the_last_rows():
    known = questions([3, 5, 7, 9], of=[0, 1, 2, 3], types=[0, 1, 2, 2])
    length = asked(families.follows_length, [1, 2, 3, 4], known)
    last = length.notes[-1].splitlines()[-1]
    assert last == "| the paper's DACT, on CLEVR | 0.46 | 0.45 | — | — |"
    assert length.paper == "families: length 0.46 (within types 0.45)"
    assert length.here.startswith("questions: length 1.00 (within types 1.00), reads 1.00 (1.00); ")
    differ = asked(families.differs_by_family, [1, 2, 3, 4], known)
    assert differ.rows[-1] == [
        "the paper's DACT, on CLEVR",
        *3 * ["—"],
        "0.65",
        "3.68",
        "7.56",
        "3.83",
    ]
    assert differ.paper == "types in family means: 0.65"


def test_what_depends_on_few_images_is_no_difference_of_families():
    """η² is more than chance would have it, but not so in each resample."""
    known = questions([3] * 4, of=[7, 7, 9, 9], images=8)
    claim = asked(families.differs_by_family, 7 * [1, 1, 2, 2] + [2, 2, 1, 1], known)
    share, low = (float(number) for number in claim.rows[1][1].replace("(", "").split()[:2])
    assert low < float(claim.rows[1][2]) < share == 0.56
    assert claim.verdict == FAILS


@pytest.mark.parametrize("claim", [families.follows_length, families.differs_by_family])
def test_of_other_networks_nothing_is_claimed(claim):
    known = questions([3, 5, 7, 9], of=[0, 1, 2, 3])
    found = asked(claim, [1, 2, 3, 4], known, kind="act")
    assert (found.verdict, found.rows[1][0]) == (OPEN, "ACT, τ = 0, seed 0")
    assert found.rows[1][1] == "1.00 (1.00 to 1.00)"


@pytest.mark.parametrize(
    ("taken", "said", "share"),
    [
        ([1, 1, 3, 3], HOLDS, "1.00 (1.00 to 1.00)"),
        ([1, 2, 2, 3], HOLDS, "0.50 (0.50 to 0.50)"),
        ([1, 3, 1, 3], FAILS, "0.00 (0.00 to 0.00)"),
        ([2, 2, 2, 2], OPEN, "—"),
    ],
)
def test_families_differ_in_their_steps(taken, said, share):
    known = questions([3] * 4, of=[7, 7, 9, 9], types=[0, 0, 2, 2])
    claim = asked(families.differs_by_family, taken, known)
    assert claim.verdict == said
    assert claim.rows[0][5:] == ["query attribute", "exist"]  # nobody counts
    assert claim.rows[1][1] == share
    assert claim.rows[1][5:] == [f"{fmean(taken[:2]):.2f}", f"{fmean(taken[2:]):.2f}"]
