"""Accuracy by what is asked, of networks and of guessing."""

import numpy as np
from answered_networks import network
from reproduce_answers import Questions
from reproduce_breakdown import breakdown, by_reads, by_type

NAMES = ("count", "query_attribute", "exist")
TYPES, READS = np.array([0, 0, 1, 1, 1]), np.array([1, 2, 1, 2, -1])
GUESSED = np.array([True, False, False, False, True])
KNOWN = Questions(None, TYPES, TYPES, TYPES, TYPES, NAMES, TYPES, READS, GUESSED)
MAC = network("mac", np.array([True, True, False, False, False]), 2)
DACTS = [
    network("dact", np.array([True, right, True, False, False]), [1, 2, 3, 3, 3], seed=seed)
    for seed, right in enumerate((True, False))
]


def rows(groups):
    text = breakdown(groups, {"MAC": [MAC]}, {"DACT": DACTS}, KNOWN)
    return [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines()]


def test_by_type():
    head, _, *found = rows(by_type(KNOWN))
    assert head == ["", "questions", "guessing in %", "MAC in %", "DACT in %", "steps"]
    assert found == [
        ["count", "2", "50.0", "100.0", "75.0 ± 35.4", "1.50 ± 0.00"],
        ["query attribute", "3", "33.3", "0.0", "33.3 ± 0.0", "3.00 ± 0.00"],
        ["all", "5", "40.0", "40.0", "50.0 ± 14.1", "2.40 ± 0.00"],
    ]


def test_by_reads_leaves_out_what_is_not_known():
    found = rows(by_reads(KNOWN))[2:]
    assert [row[:4] for row in found] == [
        ["1 read", "2", "50.0", "50.0"],
        ["2 reads", "2", "0.0", "50.0"],
        ["all", "5", "40.0", "40.0"],
    ]
