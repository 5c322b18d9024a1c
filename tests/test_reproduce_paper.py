"""What the paper's figures say, read here a second time from the files in docs/data."""

import csv
from statistics import fmean

import pytest
import reproduce_paper as paper
from conftest import REPOSITORY

DATA = REPOSITORY / "docs" / "data"


def rows(name):
    with (DATA / name).open(newline="") as file:
        return list(csv.DictReader(file))


def test_every_row_is_read():
    points, families = rows("paper_clevr_accuracy.csv"), rows("paper_clevr_families.csv")
    assert len(paper.points()) == len(points) == 27
    assert len(paper.families()) == len(families) == 89
    for point, row in zip(paper.points(), points, strict=True):
        assert list(point[:3]) == [row["network"], row["setting"], row["seed"]]
        assert (point.steps, 100 * point.accuracy) == pytest.approx(
            (float(row["mean_steps"]), float(row["accuracy_percent"]))
        )
        assert 1 <= point.steps <= 12
        assert 0.9 < point.accuracy < 1
    for family, row in zip(paper.families(), families, strict=True):
        assert family == (row["type"], int(row["program_length"]), float(row["mean_steps"]))
        assert 1 <= family.steps <= 12


def test_leads_are_over_the_line_of_macs():
    """By hand: 2.9 and 4.89 steps lie between the MACs of 2 and 3, and of 3 and 5."""
    found = paper.leads()
    low = fmean((97.76, 97.98, 98.47)) - (94.24 + 0.9 * (96.60 - 94.24))
    high = 98.44 - (96.60 + 1.89 / 2 * (98.11 - 96.60))
    assert 100 * found["5e-2"] == pytest.approx(low)
    assert 100 * found["1e-2"] == pytest.approx(high)
    assert list(found) == ["5e-2", "1e-2", "5e-3", "1e-3"]


def test_settings_of_the_figure_have_the_means_and_the_spread_of_the_seeds():
    found = paper.settings()
    assert [one.model for one in found] == 9 * ["act"] + 4 * ["dact"] + 5 * ["mac"]
    by_name = {(one.model, one.label): one for one in found}
    dact = by_name["dact", "τ=1e-3"]
    assert (dact.seeds, dact.steps.mean, dact.accuracy.mean) == pytest.approx((3, 8.35, 0.9863))
    assert dact.steps.deviation == pytest.approx(0.828, abs=1e-3)
    mac = by_name["mac", "5 steps"]
    assert (mac.seeds, mac.steps.mean, mac.accuracy.deviation) == (1, 5, None)


def test_types_are_named_as_those_of_clevr_mini():
    kinds = {"count", "exist", "compare_attribute", "compare_integer", "query_attribute"}
    assert paper.by_type().keys() == kinds
