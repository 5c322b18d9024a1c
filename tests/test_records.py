"""What a run leaves about itself is its own: what another one was refused does not get there."""

import json
import subprocess
import sys

import pytest
from conftest import REPOSITORY, TINY, command, compose
from hydra import compose as hydra_compose
from hydra.core.hydra_config import HydraConfig
from omegaconf import OmegaConf

import run
from dact import run_folder
from dact.errors import UserError

OPTIONS = {"config.yaml", "hydra.yaml", "overrides.yaml"}
OTHER = ("seed=7", "model.dim=16")


@pytest.fixture
def under_hydra(configured, monkeypatch):
    """Runs leave their options, as those that Hydra runs."""
    hydra = HydraConfig.instance()
    monkeypatch.setattr(hydra, "cfg", None)
    hydra.set_config(hydra_compose("config", return_hydra_config=True))


def options(folder):
    """Files of options in a folder, to the byte."""
    return {path.name: path.read_bytes() for path in (folder / ".hydra").iterdir()}


def overrides(folder):
    """What was typed, according to a folder."""
    return list(OmegaConf.load(folder / ".hydra" / "overrides.yaml"))


@pytest.mark.usefixtures("under_hydra")
@pytest.mark.parametrize(
    ("typed", "message"),
    [((), "holds a run already"), (("ckpt_path=last",), "does not fit this network")],
)
def test_a_refused_fit_leaves_the_options_of_the_run_alone(program, typed, message):
    first = program("model=mac")
    before = options(first.folder)
    assert set(before) == OPTIONS
    with pytest.raises(UserError, match=message):
        program("model=mac", *OTHER, *typed, folder=first.folder)
    assert options(first.folder) == before


@pytest.mark.usefixtures("under_hydra")
@pytest.mark.parametrize("mode", ["fit", "validate"])
def test_one_that_finds_the_folder_taken_leaves_no_options(
    program, evaluate, trained, tmp_path, mode
):
    folder = tmp_path / "taken"
    typed = ("model=mac",) if mode == "fit" else (f"ckpt_path={trained.mac.last}",)
    call = program if mode == "fit" else evaluate
    with run_folder.taken(folder), pytest.raises(UserError, match="another run is at work in"):
        call(f"mode={mode}", *typed, folder=folder)
    assert not (folder / ".hydra").exists()


@pytest.mark.usefixtures("under_hydra")
def test_a_run_that_goes_on_leaves_the_options_that_it_goes_on_with(program):
    first = program("model=mac")
    program("model=mac", "trainer.max_epochs=2", "ckpt_path=last", folder=first.folder)
    assert "trainer.max_epochs=2" in overrides(first.folder)
    assert OmegaConf.load(first.folder / ".hydra" / "config.yaml").trainer.max_epochs == 2


@pytest.mark.usefixtures("under_hydra")
def test_a_finished_job_of_a_sweep_keeps_its_options(program, tmp_path):
    folder = tmp_path / "0"
    folder.mkdir()

    def job(*words):
        typed = program.typed(*program.defaults, "model=mac", *words)
        run.run(compose(*typed), folder=folder, typed=typed, sweep=True)

    job()
    before = options(folder)
    job("logger=none")
    with pytest.raises(UserError, match="holds a finished run with"):
        job(*OTHER)
    assert options(folder) == before


@pytest.mark.usefixtures("under_hydra")
def test_the_options_of_an_evaluation_are_those_of_the_network_evaluated(trained, evaluate):
    for name, finished in (("mac", trained.mac), ("dact", trained.dact)):
        done = evaluate("mode=validate", f"ckpt_path={finished.last}")
        known = json.loads((done.folder / "result.json").read_text())["options"]
        own = finished.checkpoint["dact"]["config"]
        assert (known["mode"], known["model"]["name"]) == ("validate", name)
        assert (known["model"], known["ponder"]) == (own["model"], own["ponder"])
        assert OmegaConf.load(done.folder / ".hydra" / "config.yaml").model == own["model"]


@pytest.mark.parametrize(
    ("mode", "option"),
    [
        ("validate", "limit_val_batches"),
        ("test", "limit_test_batches"),
        ("predict", "limit_predict_batches"),
    ],
)
def test_an_evaluation_of_no_questions_is_refused(trained, evaluate, mode, option, tmp_path):
    folder = tmp_path / "run"
    typed = (f"mode={mode}", f"ckpt_path={trained.mac.last}", "data.split=val")
    for none in ("0", "0.0"):
        message = rf"^no questions would be evaluated: leave out trainer\.{option}$"
        with pytest.raises(UserError, match=message):
            evaluate(*typed, f"trainer.{option}={none}", folder=folder)
    assert {path.name for path in folder.iterdir()} <= {".lock"}


# As typed.


@pytest.mark.slow
def test_hydra_writes_no_options_over_those_of_a_run(mini_root, tmp_path):
    folder = tmp_path / "run"
    data = (f"data.root={mini_root}", f"data.cache_dir={tmp_path / 'cache'}")
    typed = (*data, *TINY, "model=mac", f"hydra.run.dir={folder}")
    assert command(*typed, cwd=tmp_path).returncode == 0
    before = options(folder)
    assert set(before) == OPTIONS
    assert overrides(folder)[2:] == [*TINY, "model=mac"]
    for words in ((), ("ckpt_path=last",)):
        done = command(*typed, *OTHER, *words, cwd=tmp_path)
        assert done.returncode == 1
        assert done.stderr.startswith("error: ")
        assert done.stderr.count("\n") == 1
    assert options(folder) == before


@pytest.mark.slow
def test_of_two_runs_started_at_once_the_options_are_those_of_the_one_that_runs(
    mini_root, tmp_path
):
    folder = tmp_path / "run"
    data = (f"data.root={mini_root}", f"data.cache_dir={tmp_path / 'cache'}")
    typed = (*data, *TINY, "model=mac", "trainer.max_epochs=30", f"hydra.run.dir={folder}")
    program = [sys.executable, str(REPOSITORY / "run.py"), *typed]
    both = [
        subprocess.Popen(
            [*program, f"seed={seed}"], cwd=tmp_path, stderr=subprocess.PIPE, text=True
        )
        for seed in (1, 2)
    ]
    said = [process.communicate()[1] for process in both]
    (won,) = [number for number, process in enumerate(both) if process.returncode == 0]
    assert said[1 - won].startswith("error: ")
    assert overrides(folder)[-1] == f"seed={won + 1}"
