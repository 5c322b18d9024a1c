"""Where runs live: names, numbers, and what `last` means."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import REPOSITORY
from hypothesis import given
from hypothesis import strategies as st

from dact import records, run_folder
from dact.errors import UserError

NAME = "clevr-dact-5e-3-s0"


def make_checkpoint(folder, epoch, step):
    path = Path(folder, "checkpoints", f"epoch{epoch:02d}-step{step:06d}.ckpt")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    last = path.with_name("last.ckpt")
    last.unlink(missing_ok=True)
    last.symlink_to(path.name)
    return path


def new_process():
    run_folder.allocate.cache_clear()


@given(
    st.sampled_from(["clevr", "clevr_mini", "gqa"]),
    st.sampled_from(["mac", "mac_gate", "act", "dact"]),
    st.floats(),
    st.integers(0, 2**32 - 1),
)
def test_names_are_readable_to_hydra(data, model, cost, seed):
    assert re.fullmatch(r"[A-Za-z0-9.+_-]+", run_folder.run_name(data, model, cost, seed))


def test_a_fixed_network_has_no_cost_in_its_name():
    assert run_folder.run_name("clevr", "mac_gate", 5e-3, 2) == "clevr-mac_gate-0-s2"


def test_different_costs_have_different_folders():
    names = {run_folder.run_name("clevr", "dact", cost, 0) for cost in (5e-3, 5.0000001e-3)}
    assert len(names) == 2


def test_every_start_takes_a_folder_of_its_own():
    folders = []
    for _ in range(3):
        folders.append(run_folder.allocate("fit", NAME, None))
        new_process()
    assert folders == [f"logs/fit/{NAME}", f"logs/fit/{NAME}-2", f"logs/fit/{NAME}-3"]
    assert all(Path(folder).is_dir() for folder in folders)
    assert run_folder.allocate("predict", NAME, None) == f"logs/predict/{NAME}"


def test_one_process_keeps_its_folder():
    first = run_folder.allocate("fit", NAME, None)
    assert run_folder.allocate("fit", NAME, None) == first


def test_other_configurations_do_not_count():
    for name in (NAME.replace("s0", "s01"), NAME + "-x", NAME + "-2-3"):
        make_checkpoint(f"logs/fit/{name}", 1, 10)
    assert run_folder.folders_of("fit", NAME) == []
    assert run_folder.newest_with_checkpoint(NAME) is None


def test_the_newest_folder_is_the_one_with_the_highest_number():
    for number in (2, 10, 9):
        make_checkpoint(f"logs/fit/{NAME}-{number}", 0, 5)
    make_checkpoint(f"logs/fit/{NAME}", 3, 50)
    Path(f"logs/fit/{NAME}-11").mkdir()
    assert run_folder.newest_with_checkpoint(NAME) == Path(f"logs/fit/{NAME}-10")


def test_resuming_goes_on_in_the_same_folder():
    path = make_checkpoint(f"logs/fit/{NAME}-2", 0, 5)
    make_checkpoint(f"logs/fit/{NAME}", 0, 5)
    for given_path in ("last", str(path), str(path.absolute())):
        assert (
            Path(run_folder.allocate("fit", NAME, given_path)).absolute()
            == (path.absolute().parents[1])
        )


def test_evaluation_and_foreign_checkpoints_get_a_folder_of_their_own():
    path = make_checkpoint(f"logs/fit/{NAME}", 0, 5)
    foreign = make_checkpoint("elsewhere", 0, 5)
    assert run_folder.allocate("validate", NAME, str(path)) == f"logs/validate/{NAME}"
    assert run_folder.allocate("fit", NAME, str(foreign)) == f"logs/fit/{NAME}-2"


def test_last_is_the_newest_by_step_not_by_time():
    newest = make_checkpoint("run", 3, 1000)
    older = make_checkpoint("run", 2, 999)
    (newest.parent / "last.ckpt").unlink()
    assert run_folder.checkpoints_in(Path("run")) == [newest, older]


def test_checkpoints_beyond_the_last_are_of_a_run_that_was_given_up():
    abandoned = make_checkpoint("run", 3, 1000)
    earliest, last = make_checkpoint("run", 0, 5), make_checkpoint("run", 0, 10)
    found = run_folder.checkpoints_in(Path("run"))
    assert found == [last, earliest]
    assert abandoned.exists()


def test_last_prefers_the_run_folder():
    own = make_checkpoint("own", 0, 1)
    other = make_checkpoint(f"logs/fit/{NAME}", 0, 5)
    found = run_folder.candidates("last", Path("own"), NAME)[0]
    assert found.resolve() == own.resolve()
    found = run_folder.candidates("last", Path("empty"), NAME)[0]
    assert found.resolve() == other.resolve()


def test_a_dangling_link_is_no_checkpoint():
    make_checkpoint("run", 0, 1).unlink()
    assert run_folder.checkpoints_in(Path("run")) == []


@pytest.mark.parametrize("given_path", ["last", "missing.ckpt", "."])
def test_a_missing_checkpoint_is_named(given_path):
    with pytest.raises(UserError, match=f"ckpt_path={given_path}"):
        run_folder.candidates(given_path, Path("run"), NAME)


@pytest.mark.faults(
    "places that cannot be written",
    tried="features, predictions, run folders: a file where a folder should be",
    happened="one line",
)
def test_an_unwritable_place_is_named():
    Path("logs").write_text("a file")
    with pytest.raises(UserError, match=r"cannot write to logs/fit: .*hydra\.run\.dir=PATH"):
        run_folder.allocate("fit", NAME, None)


@pytest.mark.slow
@pytest.mark.parametrize("typed", [["hydra.run.dir=file/x"], ["-m", "hydra.sweep.dir=file/x"]])
def test_an_unwritable_place_that_was_typed_is_named(typed, tmp_path):
    (tmp_path / "file").touch()
    done = subprocess.run(
        [sys.executable, REPOSITORY / "run.py", *typed],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert re.fullmatch(
        r"error: cannot write to \S*file/x: .*hydra\.run\.dir=PATH.*\n", done.stderr
    )


def test_only_unused_folders_are_removed():
    for name in (".hydra/config.yaml", ".lock", "warm_start/.lock"):
        path = Path("unused", name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    run_folder.remove_if_unused(Path("unused"))
    assert not Path("unused").exists()
    run_folder.remove_if_unused(Path("unused"))
    path = make_checkpoint("used", 0, 1)
    run_folder.remove_if_unused(Path("used"))
    assert path.exists()


def test_the_folder_of_a_run_that_has_only_just_begun_is_left_alone():
    folder = Path("begun")
    folder.mkdir()
    with run_folder.taken(folder):
        run_folder.remove_if_unused(folder)
        assert folder.exists()
    run_folder.remove_if_unused(folder)
    assert not folder.exists()


def test_an_evaluation_is_called_after_the_run_that_it_evaluates():
    path = make_checkpoint("logs/fit/clevr-mac-0-s3", 0, 1)
    for number in ("", "-2"):
        run_folder.allocate.cache_clear()
        folder = run_folder.allocate("validate", NAME, str(path))
        assert folder == f"logs/validate/clevr-mac-0-s3{number}"


def test_only_an_evaluation_in_the_folder_of_a_training_has_a_place_of_its_own():
    make_checkpoint("fitted", 0, 1)
    Path("fresh").mkdir()
    places = {
        (folder, mode): records.folder_of(Path(folder), mode)
        for folder in ("fitted", "fresh")
        for mode in ("fit", "predict")
    }
    assert places.pop(("fitted", "predict")) == Path("fitted/predict")
    assert all(place == Path(folder) for (folder, _), place in places.items())
