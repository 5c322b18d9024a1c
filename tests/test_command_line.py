"""What users type, as Hydra's own parser reads it after our rewriting."""

import math
import re
import string
from pathlib import Path

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import given, reject, settings
from hypothesis import strategies as st

import run
from dact.command_line import PATH_OPTIONS, quote_path, rewrite
from dact.errors import UserError
from dact.groups import cost_name, rewrite_choice

FILES = ["0", "1e-3", "5e-3", "1e-2", "low"]
PATH_SIGNS = string.ascii_letters + string.digits + "=,'\"\\ ()[]{}:%@#~+-_./;!&|<>^*?äß漢"
#: All but those in quotes, which are taken as quoted already.
PATHS = st.text(PATH_SIGNS, min_size=1).filter(
    lambda path: path != "null" and not re.fullmatch(r"\s*(['\"]).*\1\s*", path)
)
COSTS = st.floats(min_value=0, max_value=1e6, allow_nan=False)


def parsed(argument):
    """The one override that Hydra makes of an argument."""
    (override,) = OverridesParser.create().parse_overrides([argument])
    return override


@pytest.mark.parametrize(
    ("typed", "seen"),
    [
        ("ponder=5e-3", "ponder='5e-3'"),
        ("ponder=0.005", "ponder='5e-3'"),
        ("ponder=.005", "ponder='5e-3'"),
        ("ponder='5e-3'", "ponder='5e-3'"),
        ('ponder="5e-3"', "ponder='5e-3'"),
        ("ponder=0", "ponder='0'"),
        ("ponder=0.0", "ponder='0'"),
        ("ponder=3e-3", "ponder.cost=3e-3"),
        ("ponder=0.003", "ponder.cost=3e-3"),
        ("ponder=1e-3,5e-3", "ponder='1e-3','5e-3'"),
        ("ponder=0,1e-3,0.005", "ponder='0','1e-3','5e-3'"),
        ("ponder=1e-3,3e-3", "ponder.cost=1e-3,3e-3"),
        ("ponder='1e-3','3e-3'", "ponder.cost=1e-3,3e-3"),
        ("ponder=1e-3, 3e-3", "ponder.cost=1e-3,3e-3"),
        ("ponder=low", "ponder=low"),
        ("ponder=low,5e-3", "ponder=low,'5e-3'"),
        ("ponder=choice(low,high)", "ponder=choice(low,high)"),
        ("ponder=-1", "ponder.cost=-1"),
        ("ponder=-5e-3", "ponder.cost=-5e-3"),
        ("ponder=nan", "ponder.cost=nan"),
        ("ponder=inf", "ponder.cost=inf"),
        ("ponder=0.123456789", "ponder.cost=1.23456789e-1"),
        ("ponder.cost=5e-3", "ponder.cost=5e-3"),
        ("ponder.penalty=exp", "ponder.penalty=exp"),
        ("model=dact", "model=dact"),
        ("model.halting_bound=null", "model.halting_bound=null"),
    ],
)
def test_what_hydra_sees(typed, seen):
    assert rewrite([typed], FILES) == [seen]
    parsed(seen)


def test_a_sweep_may_be_asked_for_anywhere():
    typed = ["model=dact", "ponder=0", "--multirun", "seed=1,2"]
    assert rewrite(typed, FILES) == ["--multirun", "model=dact", "ponder='0'", "seed=1,2"]


def test_numbers_that_have_a_file_become_group_choices():
    for name in set(run.ponder_files()) - {"budget"}:
        override = parsed(rewrite_choice(f"ponder={float(name)!r}", run.ponder_files()))
        assert (override.key_or_group, override.value()) == ("ponder", name)


def test_names_stay_as_they_are():
    assert rewrite_choice("ponder=budget", run.ponder_files()) == "ponder=budget"
    assert rewrite_choice("ponder=5e-3,budget", FILES) == "ponder='5e-3',budget"


def test_a_file_whose_name_has_a_comma_is_one_file():
    Path("a,b.ckpt").touch()
    assert rewrite(["-m", "ckpt_path=a,b.ckpt"], FILES) == ["-m", "ckpt_path='a,b.ckpt'"]
    assert rewrite(["-m", "ckpt_path=a,c.ckpt"], FILES) == ["-m", "ckpt_path='a','c.ckpt'"]
    assert rewrite(["ckpt_path=a,c.ckpt"], FILES) == ["ckpt_path='a,c.ckpt'"]


@settings(max_examples=40)
@given(st.lists(COSTS, min_size=1, max_size=4))
def test_a_list_keeps_its_numbers(costs):
    typed = "ponder=" + ",".join(map(repr, costs))
    override = parsed(rewrite_choice(typed, FILES))
    values = list(override.sweep_iterator()) if override.is_sweep_override() else [override.value()]
    assert [float(getattr(value, "text", value)) for value in values] == costs
    in_files = all(cost in (0, 1e-3, 5e-3, 1e-2) for cost in costs)
    assert override.key_or_group == ("ponder" if in_files else "ponder.cost")


@given(COSTS)
def test_a_cost_is_its_name(cost):
    assert float(cost_name(cost)) == cost
    assert not set(cost_name(cost)) & set("=, []'")


@pytest.mark.parametrize("cost", [math.nan, math.inf, -math.inf])
def test_what_is_no_cost_has_a_name_too(cost):
    assert float(cost_name(cost)) == pytest.approx(cost, nan_ok=True)


@given(PATHS, st.sampled_from(PATH_OPTIONS))
def test_a_path_arrives_as_it_was_typed(path, option):
    override = parsed(quote_path(f"{option}={path}"))
    assert (override.key_or_group, override.value()) == (option, path)


@pytest.mark.parametrize("typed", ["ckpt_path=null", "ckpt_path=", "data.root='a b'"])
def test_what_hydra_already_understands_is_left_alone(typed):
    assert quote_path(typed) == typed


@pytest.mark.parametrize("text", ["~no-such-user", "a" * 300])
def test_values_of_a_sweep_need_not_be_possible_paths(text):
    assert rewrite(["-m", f"ckpt_path={text},b"], FILES) == ["-m", f"ckpt_path='{text}','b'"]


ARGUMENTS = st.one_of(
    st.builds("{}={}".format, st.sampled_from([*PATH_OPTIONS, "ponder", "model"]), PATHS),
    st.lists(COSTS, min_size=1).map(lambda costs: "ponder=" + ",".join(map(str, costs))),
    st.sampled_from(["-m", "--multirun", "ponder", "ponder=", "ckpt_path", "--help"]),
)


@settings(max_examples=40)
@given(st.lists(ARGUMENTS, max_size=5))
def test_rewriting_twice_changes_nothing_more(arguments):
    try:
        once = rewrite(arguments, FILES)
    except UserError:  # of the group ponder, such as ponder=[1]
        reject()
    assert rewrite(once, FILES) == once
