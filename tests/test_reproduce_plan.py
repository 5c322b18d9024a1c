"""What scripts/reproduce.py is going to train, and what it lets its user say about that."""

import re
from pathlib import Path

import pytest
from conftest import compose
from reproduce_arguments import OWNED, arguments
from reproduce_plan import SIZES, USUAL, USUAL_PRIOR, command, plan

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
    """MACs and MACs trained on of DACT's seeds, the usual values, and the usual τ with other N."""
    of = {}
    for one in plan(size):
        of.setdefault(one.group, []).append(one)
    seeds = set(range(size.seeds))
    macs = {(one.seed, value_of(one, "model.max_steps")) for one in of["mac"]}
    assert macs == {(seed, str(n)) for seed in seeds for n in size.mac_steps}
    assert size.steps in size.mac_steps
    assert {one.seed for one in of["mac_on"]} == seeds
    assert all(one.starts_from == f"start-{size.steps}-s{one.seed}" for one in of["mac_on"])
    assert {one.seed for one in of["dact"]} == seeds
    for group, option, usual in (
        ("dact", "ponder", USUAL),
        ("act", "ponder", USUAL),
        ("pondernet", "model.prior", USUAL_PRIOR),
    ):
        tried = [(one.seed, value_of(one, option)) for one in of[group]]
        assert (0, usual) in tried
        assert len(tried) == len(set(tried))
    costs = [{value_of(one, "ponder") for one in of[group]} for group in ("dact", "act")]
    assert len(costs[0] & costs[1]) >= 2
    wider = [one for one in of["steps"] if value_of(one, "model") == "dact"]
    assert {value_of(one, "ponder") for one in wider} == {USUAL}
    others = {int(value_of(one, "model.max_steps")) for one in wider}
    assert min(others) < size.steps < max(others)


@every_size
def test_values_are_repeated_with_every_seed_or_tried_once(size):
    for group, option in (("dact", "ponder"), ("act", "ponder"), ("pondernet", "model.prior")):
        values = {"dact": size.dact, "act": size.act, "pondernet": size.priors}[group]
        found = {}
        for one in plan(size):
            if one.group == group:
                found.setdefault(value_of(one, option), set()).add(one.seed)
        assert found == {
            **{value: set(range(size.seeds)) for value in values.repeated},
            **{value: {0} for value in values.once},
        }


def test_small_repeats_what_is_judged_over_seeds():
    """Three of each kind, so that there is an interval over seeds."""
    size = SIZES["small"]
    assert size.seeds == 3
    for values, usual in ((size.dact, USUAL), (size.act, USUAL), (size.priors, USUAL_PRIOR)):
        assert len(values.repeated) == 3
        assert usual in values.repeated


@every_size
def test_no_job_waits_long(size):
    """What follows the trainings that others start from needs none, and groups take turns."""
    order = plan(size)
    first = next(place for place, one in enumerate(order) if one.group != "start")
    assert all(one.group != "start" for one in order[first:])
    assert order[first].starts_from is None
    turn = [one.group for one in order[first : first + 5]]
    assert turn == ["mac", "dact", "act", "pondernet", "mac_on"]


@pytest.mark.usefixtures("configured")
def test_the_rule_of_all_adaptive_networks_is_the_same_but_for_the_papers():
    """On clevr_mini; on CLEVR the rule is the paper's anyway, so it is not tried twice."""
    found = {}
    for one in plan(SIZES["small"]):
        if one.group in ("dact", "act", "pondernet", "budget", "paper_rule"):
            model = compose(*command(one, SIZES["small"], ())).model
            found.setdefault(one.group, set()).add((model.step_loss, model.gate.bias))
    assert found.pop("paper_rule") == {(0, 0)}
    assert found.pop("pondernet") == {(0.8, 0)}
    assert set(map(frozenset, found.values())) == {frozenset({(0.8, 1.5)})}
    model = compose("data=clevr", "model=dact").model
    assert (model.step_loss, model.gate.bias) == (0, 0)
    assert not SIZES["full"].paper_rule


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


def given(monkeypatch, *typed):
    monkeypatch.setattr("sys.argv", ["reproduce.py", *typed])
    return arguments("", SIZES, Path("docs/results.md"))


@pytest.mark.parametrize("option", OWNED)
@pytest.mark.parametrize("sign", ["", "+", "++"])
def test_what_the_plan_varies_is_not_for_the_user(monkeypatch, option, sign):
    one = f"{sign}{option}=1"
    said = f"{one}: that is what this program varies, so leave it out"
    with pytest.raises(UserError, match=f"^{re.escape(said)}$"):
        given(monkeypatch, "data.fraction=1", one)


@every_size
def test_what_is_refused_is_what_the_plan_types(size):
    """All of it: what the user said would come after it, and win."""
    typed = {text.partition("=")[0] for one in plan(size) for text in one.typed}
    assert typed <= set(OWNED)


@pytest.mark.parametrize("word", ["model", "~seed", "trial"])
def test_what_is_no_option_is_refused(monkeypatch, word):
    with pytest.raises(UserError, match=f"^{word} is no option: write OPTION=VALUE, as for run"):
        given(monkeypatch, word)


def test_no_jobs_are_too_few(monkeypatch):
    with pytest.raises(UserError, match=r"^--jobs 0: it must be at least 1$"):
        given(monkeypatch, "--jobs", "0")


def test_other_options_are_passed_on(monkeypatch):
    found = given(monkeypatch, "--size", "trial", "--jobs", "3", "model.dim=8", "+a.b=c=d")
    assert found.options == ["model.dim=8", "+a.b=c=d"]
    assert (found.size, found.jobs) == ("trial", 3)


def test_the_epochs_of_small_are_those_of_its_data(configured):
    size, data = SIZES["small"], compose("model=dact").data
    assert (size.mac_epochs, size.adaptive_epochs) == (data.mac.epochs, data.adaptive.epochs)
    assert size.steps == data.network.max_steps
