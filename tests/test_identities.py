"""One identity names one run; jobs of a sweep keep their folders when its file is edited."""

import json
import os

import pytest
from omegaconf import OmegaConf

from dact import sweeps, trackers
from dact.errors import UserError
from dact.runs.parts import failed_compilers_in_one_line


@pytest.fixture
def environment(monkeypatch):
    for name in trackers.IDENTITIES:
        monkeypatch.delenv(name, raising=False)
    return monkeypatch


def identity(folder, given=None):
    return trackers._identity(folder / trackers.RUN_ID, given)


def begun(folder, name):
    folder.mkdir(parents=True)
    (folder / trackers.RUN_ID).write_text(f"{name}\n", "utf-8")
    return folder


def test_the_environment_names_the_run_that_was_asked_for_alone(environment, tmp_path):
    environment.setenv("WANDB_RUN_ID", "abc")
    environment.setenv("WANDB_RESUME", "must")
    with trackers.nameless():
        assert not set(trackers.IDENTITIES) & set(os.environ)
        others = {identity(tmp_path), identity(tmp_path)}
    assert len(others) == 2
    assert "abc" not in others
    assert identity(tmp_path) == "abc"
    assert os.environ["WANDB_RESUME"] == "must"


def test_the_environment_comes_back_after_a_failure(environment):
    environment.setenv("WANDB_RUN_ID", "abc")
    with pytest.raises(OSError, match="full"), trackers.nameless():
        raise OSError("full")
    assert os.environ["WANDB_RUN_ID"] == "abc"


def test_a_resumed_run_keeps_its_id_whatever_the_environment_says(environment, tmp_path):
    environment.setenv("WANDB_RUN_ID", "other")
    folder = begun(tmp_path / "run", "own")
    assert identity(folder) == identity(folder, "own") == "own"
    with pytest.raises(UserError, match="goes on as own"):
        identity(folder, "third")
    environment.setenv("WANDB_SWEEP_ID", "s")  # of an agent, which waits for this run
    assert identity(folder) == "other"


def test_an_id_that_was_typed_is_that_of_one_run(environment, tmp_path):
    assert identity(tmp_path / "0", "typed") == "typed"
    begun(tmp_path / "0", "typed")
    with pytest.raises(UserError, match=r"logger\.id=typed is the run in .*0: leave logger\.id"):
        identity(tmp_path / "1", "typed")


def options(steps, seed):
    return {"mode": "fit", "seed": seed, "model": {"max_steps": steps}, "logger": None}


def job(sweep, number, steps, seed):
    typed = [f"model.max_steps={steps}", f"seed={seed}"]
    return sweeps.job_folder(sweep, number, f"n-s{seed}", options(steps, seed), typed)


def run_jobs(sweep, grid, *, finished):
    """Folders of the jobs of a grid, each of which leaves what a job leaves."""
    names = []
    for number, (steps, seed) in enumerate(grid):
        names.append(job(sweep, number, steps, seed))
        place = sweep / names[-1] / ".hydra"
        place.mkdir(parents=True, exist_ok=True)
        OmegaConf.save(OmegaConf.create(options(steps, seed)), place / "config.yaml")
        typed = [f"model.max_steps={steps}", f"seed={seed}", "ckpt_path=last"]
        OmegaConf.save(OmegaConf.create(typed), place / "overrides.yaml")
        if finished:
            result = json.dumps({"accuracy": 1.0, "options": options(steps, seed)})
            (sweep / names[-1] / "result.json").write_text(result, "utf-8")
    return dict(zip(grid, names, strict=True))


@pytest.mark.faults(
    "the file of a sweep edited between two starts",
    tried="values added, put first and turned round; jobs finished and not",
    happened="each job keeps its folder, none is repeated",
)
@pytest.mark.parametrize("finished", [True, False])
@pytest.mark.parametrize(
    "grown",
    [
        [(2, 0), (2, 1), (2, 2), (3, 0), (3, 1), (3, 2)],
        [(4, 0), (2, 0), (2, 1), (3, 0), (3, 1)],
        [(3, 1), (3, 0), (2, 1), (2, 0)],
    ],
)
def test_a_sweep_whose_file_was_edited_repeats_no_job(tmp_path, grown, finished):
    before = run_jobs(tmp_path, [(2, 0), (2, 1), (3, 0), (3, 1)], finished=finished)
    after = run_jobs(tmp_path, grown, finished=finished)
    assert {job: after[job] for job in before} == before
    assert len(set(after.values())) == len(after)


def test_jobs_that_go_on_from_different_files_are_different_ones(tmp_path):
    def place(number, path):
        typed = ["seed=0", f"ckpt_path='{path}'"]
        folder = sweeps.job_folder(tmp_path, number, "n-s0", options(2, 0), typed)
        hydra = tmp_path / folder / ".hydra"
        hydra.mkdir(parents=True, exist_ok=True)
        OmegaConf.save(OmegaConf.create(options(2, 0)), hydra / "config.yaml")
        OmegaConf.save(OmegaConf.create(typed), hydra / "overrides.yaml")
        return folder

    files = ["a.ckpt", "b.ckpt"]
    before = [place(*job) for job in enumerate(files)]
    assert before == ["0-n-s0", "1-n-s0"]
    after = [place(*job) for job in enumerate(["c.ckpt", *files])]
    assert after[1:] == before
    assert after[0] not in before
    typed = ["seed=0", "ckpt_path='last'"]  # in its own folder
    assert sweeps.job_folder(tmp_path, 0, "n-s0", options(2, 0), typed) == before[0]


def test_the_same_job_with_other_options_is_looked_for_in_its_own_folder(tmp_path):
    """Where it is refused, as it cannot go on."""
    run_jobs(tmp_path, [(2, 0)], finished=True)
    other = options(2, 0) | {"keep_checkpoints": 7}
    typed = ["model.max_steps=2", "seed=0"]
    assert sweeps.job_folder(tmp_path, 0, "n-s0", other, typed) == "0-n-s0"


@pytest.mark.faults(
    "no working compiler under model.compile=true",
    tried="the error of PyTorch's compiler",
    happened="one line",
)
def test_a_compiler_that_is_missing_is_one_line():
    error = type("InductorError", (RuntimeError,), {"__module__": "torch._inductor.exc"})
    with pytest.raises(UserError) as raised, failed_compilers_in_one_line():
        raise error("InvalidCxxCompiler: No working C++ compiler found: (None, 'g++')\n\nmore")
    assert "g++" in str(raised.value)
    assert "model.compile=false" in str(raised.value)
    assert "\n" not in str(raised.value)
    with pytest.raises(ZeroDivisionError), failed_compilers_in_one_line():
        raise ZeroDivisionError
