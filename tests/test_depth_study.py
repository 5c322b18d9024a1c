"""The study of depth: what is trained, its tables, and all of it as a trial."""

import re

import depth_tables as tables
import measure_depth
import numpy as np
import pytest
from batches import N
from conftest import compose
from depth_plan import LEVERS, SIZES, lever_of, plan
from depth_tables import Found
from reproduce_answers import Questions
from reproduce_plan import Training, command
from reproduce_statistics import Resamples
from test_early_exit import network_of

from dact.datamodules.clevr_mini import depth

every_size = pytest.mark.parametrize("size", SIZES.values(), ids=SIZES)
DEPTHS = np.array([0, 1, 1, 3, 3])
ZEROS = np.zeros(5, int)
GUESSED = np.array([True, False, True, False, False])
KNOWN = Questions(None, ZEROS, ZEROS, ZEROS, ZEROS, ("query_color",), np.arange(5), DEPTHS, GUESSED)


@every_size
def test_what_others_start_from_is_trained_before(size):
    trainings = plan(size)
    names = [one.name for one in trainings]
    assert len(set(names)) == len(names)
    for place, one in enumerate(trainings):
        assert one.starts_from is None or one.starts_from in names[:place]


@every_size
def test_every_number_of_steps_is_tried_with_the_same_seeds(size):
    found = {}
    for one in plan(size):
        if one.group == "mac" and one.seed < size.seeds:
            found.setdefault(one.name.split("-")[1], set()).add(one.seed)
    seeds = set(range(size.seeds))
    assert found == {str(steps): seeds for steps in range(1, size.steps + 1)}


@every_size
def test_every_lever_is_tried_once(size):
    tried = [one for one in plan(size) if one.group == "lever"]
    assert [lever_of(one) for one in tried] == list(LEVERS)


@pytest.mark.usefixtures("configured")
def test_every_lever_changes_something():
    """What a lever asks for is not what the recipe of the data has anyway."""
    size = SIZES["small"]
    (usual,) = [one for one in plan(size) if one.name == "dact-s0"]
    recipe = compose(*command(usual, size, ()))
    for one in plan(size):
        if one.group == "lever":
            tried = compose(*command(one, size, ()))
            same = [tried[group] == recipe[group] for group in ("model", "ponder", "trainer")]
            assert not all(same), lever_of(one)


@pytest.mark.usefixtures("configured")
def test_the_epochs_of_small_are_those_of_its_data():
    size, data = SIZES["small"], compose("data=clevr_depth", "model=dact").data
    assert (size.mac_epochs, size.adaptive_epochs) == (data.mac.epochs, data.adaptive.epochs)
    assert size.steps == data.network.max_steps


def answered(group, right, steps, *, seed=0, name="x"):
    return Found(
        Training(f"{name}-s{seed}", group, seed, ()),
        network_of("mac" if group == "mac" else "dact"),
        np.array(right, bool),
        np.array(steps),
    )


def cells(text):
    lines = [line for line in text.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines]


def test_need_has_a_row_for_each_number_of_steps_and_one_for_guessing():
    macs = [answered("mac", [1, 1, 0, 0, second], [2] * 5, seed=second) for second in (0, 1)]
    head, _, *rows = cells(tables.need(macs, KNOWN))
    assert head == ["N", "all", "d = 0", "d = 1", "d = 3"]
    assert rows == [
        [str(N), "50.0 ± 14.1", "100.0 ± 0.0", "50.0 ± 0.0", "25.0 ± 35.4"],
        ["guessing", "40.0", "100.0", "50.0", "0.0"],
    ]


def test_steps_that_follow_depth_have_a_rank_correlation_of_one():
    one = answered("dact", [1, 1, 0, 1, 0], [1, 2, 2, 5, 5])
    assert tables.correlation(one, KNOWN, Resamples(KNOWN.images)).value == pytest.approx(1)
    head, _, *rows = cells(tables.levers([one], KNOWN, Resamples(KNOWN.images)))
    assert head[:6] == ["DACT with", "in %", "steps", "d = 0", "d = 1", "d = 3"]
    assert rows[0][1:6] == ["60.0", "3.00", "1.00", "2.00", "5.00"]


@pytest.mark.slow
def test_the_whole_way_as_a_trial(tmp_path, monkeypatch, capsys):
    root = tmp_path / "data"
    depth.generate(root, images={"train": 30, "val": 9}, workers=1, drawings=0, progress=False)
    tiny = ["model.dim=8", "model.embedding_dim=6", "data.batch_size=16", "data.fraction=1"]
    output = tmp_path / "depth.md"
    work = tmp_path / "work"
    typed = ["measure_depth.py", "--size", "trial", "--output", str(output), "--work", str(work)]
    monkeypatch.setattr("sys.argv", [*typed, f"data.root={root}", *tiny])
    measure_depth.main()
    assert f"written: {output}" in capsys.readouterr().out
    text = output.read_text()
    assert len(re.findall(r"^## ", text, re.MULTILINE)) == 5
    assert "| guessing |" in text
    assert all(f"| {lever} |" in text for lever in LEVERS)
