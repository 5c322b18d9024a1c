"""What scripts/reproduce.py is going to train, and what it lets its user say about that."""

import re

import pytest
import reproduce
from conftest import compose
from reproduce_plan import OWNED, SIZES, USUAL, command, plan

from dact import checks
from dact.errors import UserError

every_size = pytest.mark.parametrize("size", SIZES.values(), ids=SIZES)


def value_of(training, option):
    """What a training types for an option, as text."""
    (found,) = (text for text in training.typed if text.startswith(f"{option}="))
    return found.removeprefix(f"{option}=")


@every_size
def test_what_others_start_from_comes_first_and_fits(size):
    seen = {}
    for one in plan(size):
        assert re.fullmatch(r"[\w.-]+", one.name)
        assert one.name not in seen
        seen[one.name] = one
        if one.starts_from:
            start = seen[one.starts_from]
            assert (start.seed, start.starts_from) == (one.seed, None)
            assert value_of(start, "model") == "mac"
            assert value_of(start, "model.max_steps") == value_of(one, "model.max_steps")


@every_size
def test_all_that_is_compared_trains_equally_long(size):
    epochs = {}
    for one in plan(size):
        own = int(value_of(one, "trainer.max_epochs"))
        epochs[one.name] = own + (epochs[one.starts_from] if one.starts_from else 0)
    totals = {total for name, total in epochs.items() if not name.startswith("start")}
    assert totals == {size.mac_epochs + size.adaptive_epochs}


@every_size
def test_everything_that_starts_from_is_started_from(size):
    """No training is in the plan for nothing."""
    starts = {one.name for one in plan(size) if one.group == "start"}
    assert starts == {one.starts_from for one in plan(size)} - {None}


@every_size
def test_claims_find_what_they_compare(size):
    """MACs of DACT's seeds, ACT at two of DACT's τ at least, and the usual τ with other N."""
    of = {}
    for one in plan(size):
        of.setdefault(one.group, []).append(one)
    macs = {(one.seed, value_of(one, "model.max_steps")) for one in of["mac"]}
    assert macs == {(seed, str(n)) for seed in range(size.seeds) for n in size.mac_steps}
    dacts = {(one.seed, value_of(one, "ponder")) for one in of["dact"]}
    assert dacts == {(seed, cost) for seed in range(size.seeds) for cost in size.dact}
    assert {one.seed for one in of["act"]} == {0}
    assert len({value_of(one, "ponder") for one in of["act"]} & set(size.dact)) >= 2
    assert USUAL in size.dact
    assert USUAL in size.act
    wider = [one for one in of["steps"] if value_of(one, "model") == "dact"]
    assert {value_of(one, "ponder") for one in wider} == {USUAL}
    others = {int(value_of(one, "model.max_steps")) for one in wider}
    assert min(others) < size.steps < max(others)


@every_size
@pytest.mark.usefixtures("configured")
def test_every_training_of_the_plan_is_a_possible_one(size):
    kinds = {(one.group, value_of(one, "model")): one for one in plan(size)}  # one of each
    assert len(kinds) >= 8
    for one in kinds.values():
        cfg = compose(*command(one, size, ()))
        checks.check(cfg)
        assert cfg.seed == one.seed
        assert cfg.model.name == value_of(one, "model")
        assert cfg.model.max_steps == int(value_of(one, "model.max_steps"))
        if one.group in ("dact", "act"):
            assert cfg.ponder.cost == float(value_of(one, "ponder"))
        wanted = value_of(one, "ponder.target_steps") if one.group == "budget" else None
        assert cfg.ponder.target_steps == (wanted and float(wanted))


@pytest.mark.usefixtures("configured")
def test_the_word_of_the_user_is_the_last():
    (one, *_), size = plan(SIZES["trial"]), SIZES["trial"]
    typed = command(one, size, ("data.fraction=0.5",))
    assert "data.fraction=0.02" in size.common
    assert compose(*typed).data.fraction == 0.5


# The command line.


def arguments(monkeypatch, *typed):
    monkeypatch.setattr("sys.argv", ["reproduce.py", *typed])
    return reproduce.arguments()


@pytest.mark.parametrize("option", OWNED)
@pytest.mark.parametrize("sign", ["", "+", "++"])
def test_what_the_plan_varies_is_not_for_the_user(monkeypatch, option, sign):
    one = f"{sign}{option}=1"
    said = f"{one}: that is what this program varies, so leave it out"
    with pytest.raises(UserError, match=f"^{re.escape(said)}$"):
        arguments(monkeypatch, "data.fraction=1", one)


@every_size
def test_what_is_refused_is_what_the_plan_types(size):
    """All of it: what the user said would come after it, and win."""
    typed = {text.partition("=")[0] for one in plan(size) for text in one.typed}
    assert typed <= set(OWNED)


@pytest.mark.parametrize("word", ["model", "~seed", "trial"])
def test_what_is_no_option_is_refused(monkeypatch, word):
    with pytest.raises(UserError, match=f"^{word} is no option: write OPTION=VALUE, as for run"):
        arguments(monkeypatch, word)


def test_no_jobs_are_too_few(monkeypatch):
    with pytest.raises(UserError, match=r"^--jobs 0: it must be at least 1$"):
        arguments(monkeypatch, "--jobs", "0")


def test_other_options_are_passed_on(monkeypatch):
    given = arguments(monkeypatch, "--size", "trial", "--jobs", "3", "model.dim=8", "+a.b=c=d")
    assert given.options == ["model.dim=8", "+a.b=c=d"]
    assert (given.size, given.jobs) == ("trial", 3)
