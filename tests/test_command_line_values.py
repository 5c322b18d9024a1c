"""Values of groups and texts, as Hydra reads them after our rewriting; its own options first."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dact.command_line import TEXT_OPTIONS, config_folders, for_shell, rewrite, what_was_meant
from dact.errors import UserError
from dact.groups import read

CONF = Path(__file__).parents[1] / "conf"
COSTS = ["0", "1e-3", "5e-3", "5e-2"]


def seen(*typed):
    return rewrite(typed, COSTS, CONF)


@pytest.mark.parametrize(
    ("typed", "wanted"),
    [
        ("ponder=choice(0,5e-3)", "ponder='0','5e-3'"),
        ("ponder=choice(0,3e-3)", "ponder.cost=0,3e-3"),
        ("ponder=sort(5e-3,0)", "ponder='0','5e-3'"),
        ("ponder=shuffle(5e-3,0)", "ponder=shuffle('5e-3','0')"),
        ("ponder=range(0,3)", "ponder.cost=0,1,2"),
        ("ponder=range(0,1)", "ponder='0'"),
        ("ponder=interval(0,1)", "ponder.cost=interval(0,1)"),
        ("ponder=[5e-3]", "ponder=['5e-3']"),
        ("ponder=choice(budget,5e-3)", "ponder=budget,'5e-3'"),
        ("ponder=str(5e-3)", "ponder='5e-3'"),
        ("logger=null", "logger=none"),
        ("logger=null,csv", "logger=none,csv"),
        ("experiment=null", "experiment=none"),
        ("experiment=[few_images]", "experiment=[few_images]"),
        ("model=choice(act,dact)", "model=choice(act,dact)"),
        ("model=glob(mac*)", "model=mac,mac_gate"),
    ],
)
def test_what_a_group_sees(typed, wanted):
    assert seen(typed) == [wanted]
    assert seen(wanted) == [wanted]
    assert read(wanted) is not None


@pytest.mark.parametrize("function", ["glob(5e*)", "glob(*,exclude=[0*,1*,b*])"])
def test_a_glob_over_costs_means_the_files(function):
    files = sorted(path.stem for path in (CONF / "ponder").glob("5e*.yaml"))
    (argument,) = seen(f"ponder={function}")
    assert [one.text for one in read(argument).value().list] == files


@pytest.mark.parametrize(
    ("typed", "choices"),
    [
        ("model=null", "act, dact, mac, mac_gate, pondernet"),
        ("model=1", "act, dact, mac, mac_gate, pondernet"),
        ("trainer=2", "cpu, ddp, ddp_cpu, default, gpu, slurm, smoke"),
        ("data=1.5", "clevr, clevr_cogent, clevr_depth, clevr_humans, clevr_mini, gqa, gqa_mini"),
        ("logger=false", "csv, none, tensorboard, wandb"),
        ("model=glob(q*)", "act, dact, mac, mac_gate, pondernet"),
        ("ponder=null", "budget, or a number"),
        ("ponder=[3e-3]", "budget, or a number"),
        ("ponder=true", "budget, or a number"),
    ],
)
def test_what_is_no_name_of_a_group_is_refused_with_those_that_are(typed, choices):
    with pytest.raises(UserError) as raised:
        seen(typed)
    group = typed.partition("=")[0]
    assert str(raised.value).startswith(f"{typed} is not possible: {group} is one of ")
    assert str(raised.value).endswith(choices)


def test_files_of_ones_own_are_choices_too(tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "2024.yaml").touch()
    assert seen(f"--config-dir={tmp_path}", "data=2024")[1] == "data='2024'"
    assert seen(f"hydra.searchpath=[{tmp_path}]", "data=2024")[1] == "data='2024'"


@pytest.mark.parametrize("text", ["实验", "a=b", "my runs (2)", "o'brien", "τ = 5e-3", '"a" {b}'])
@pytest.mark.parametrize("option", ["hydra.run.dir", "hydra.sweep.dir", "+logger.notes"])
def test_a_text_arrives_as_it_was_typed(option, text):
    (argument,) = seen(f"{option}={text}")
    assert read(argument).value() == text
    assert seen(argument) == [argument]


@given(st.sampled_from(TEXT_OPTIONS), st.text("ab=,'\" ()[]{}τ1e-", min_size=1))
def test_any_text_of_a_logger_arrives_or_is_a_quoted_one(option, text):
    (argument,) = seen(f"{option}={text}")
    value = read(argument)
    if text.strip()[:1] not in ("'", '"'):
        assert value.value() == text


def test_what_hydra_cannot_read_is_quoted_for_any_option():
    assert seen("+logger.tags=[τ, a=b]") == ["+logger.tags=['τ',' a=b']"]
    assert seen("data.split=val=a") == ["data.split='val=a'"]
    assert seen("model.max_steps=pick(2,3)") == ["model.max_steps=pick(2,3)"]
    assert seen("-m", "ckpt_path=choice(a,b)") == ["-m", "ckpt_path=choice(a,b)"]


def test_a_text_that_somebody_quoted_without_looking_into_it_is_quoted_well():
    """As Lightning does with the run folder."""
    assert read(seen('hydra.run.dir="a"b"')[0]).value() == 'a"b'


def test_texts_are_shown_as_one_would_type_them():
    (argument,) = seen("logger.name=a (b)")
    assert for_shell([argument]) == "logger.name='a (b)'"


@pytest.mark.parametrize("form", [["--config-dir", "x"], ["--config-dir=x"], ["-cd", "x"]])
def test_options_of_hydra_come_first_and_in_one_word(form, tmp_path):
    typed = ["model=mac", *form, "seed=1", "-cn", "mine", "-m"]
    wanted = [f"--config-dir={tmp_path / 'x'}", "--config-name=mine", "-m", "model=mac", "seed=1"]
    assert seen(*typed) == wanted
    assert seen(*wanted) == wanted
    assert config_folders(wanted, CONF) == [CONF, tmp_path / "x"]


@pytest.mark.parametrize(
    ("typed", "wanted"),
    [
        (["model=mac", "--info", "defaults"], ["--info=defaults", "model=mac"]),
        (["--info", "model=mac"], ["--info=all", "model=mac"]),
        (["model=mac", "-i"], ["--info=all", "model=mac"]),
    ],
)
def test_what_hydra_tells_of_itself_is_no_override(typed, wanted):
    assert seen(*typed) == wanted
    assert seen(*wanted) == wanted


@pytest.mark.parametrize("sweep", ["-m", "--multirun", "--multi", "hydra.mode=MULTIRUN"])
def test_commas_are_between_values_however_a_sweep_is_begun(sweep):
    assert "warm_start='a','b'" in seen("warm_start=a,b", sweep)


def test_an_option_that_is_there_is_not_said_to_be_missing():
    message = "Could not append to config. An item is already at 'seed'."
    assert what_was_meant(message, ["+seed=3"], CONF) == ""
    assert "did you mean seed" in what_was_meant("Could not override 'sead'", ["sead=3"], CONF)


def test_a_relative_config_path_is_one_from_here_if_there_is_one(tmp_path):
    (tmp_path / "here").mkdir()
    assert seen("--config-path", "here") == [f"--config-path={tmp_path / 'here'}"]
    assert seen("--config-path", "conf") == ["--config-path=conf"]  # beside the program


def test_home_is_known_in_folders_of_hydra(monkeypatch):
    monkeypatch.setenv("HOME", "/h")
    assert seen("hydra.run.dir=~/a") == ["hydra.run.dir='/h/a'"]


@pytest.mark.parametrize("values", ["0,5e-3", "'0,5e-3'"])
def test_parameters_of_a_sweep_are_what_they_would_be_alone(values):
    wanted = ["-m", "ponder='0','5e-3'"]
    assert seen("-m", f"+hydra.sweeper.params.ponder={values}") == wanted
