"""Two processes that a number of steps stops go on as if they had not been stopped."""

import pytest
from conftest import command
from test_processes import FIT, finished, mini  # noqa: F401
from test_resume import assert_same

from dact import checkpoint, run_folder

pytestmark = pytest.mark.slow


@pytest.mark.faults(
    "a limit of steps or time within an epoch",
    tried="trainer.max_steps of two processes",
    happened="said; resumed without it, bit-identical; metrics.csv too",
)
@pytest.mark.parametrize("model", ["mac", "dact"])
def test_two_processes_stopped_by_steps_go_on_exactly(mini, model, tmp_path):  # noqa: F811
    typed = (*mini, *FIT, "data.batch_size=8", "trainer=ddp_cpu", f"model={model}")
    typed += ("warm_start=none",)
    whole, folder = tmp_path / "whole", tmp_path / "stopped"
    finished(*typed, f"hydra.run.dir={whole}", cwd=tmp_path)
    own = f"hydra.run.dir={folder}"
    finished(*typed, own, "trainer.max_steps=3", cwd=tmp_path)
    noted = run_folder.result_in(folder)
    assert noted["stopped"] == {"by": "trainer.max_steps=3", "step": 3, "steps": 16}
    assert noted["accuracy"] is not None
    one = (*mini, *FIT, "data.batch_size=8", "trainer=cpu", f"model={model}")
    refused = finished_badly(*one, own, "ckpt_path=last", cwd=tmp_path)
    assert "2, not 1: the rest of the epoch would be other questions" in refused
    finished(*typed, own, "ckpt_path=last", cwd=tmp_path)
    saved = [checkpoint.load(f / "checkpoints" / "last.ckpt") for f in (whole, folder)]
    for part in ("state_dict", "current_model_state", "optimizer_states", "lr_schedulers"):
        assert_same(saved[0][part], saved[1][part], part)
    assert (whole / "metrics.csv").read_text() == (folder / "metrics.csv").read_text()
    assert "stopped" not in run_folder.result_in(folder)


def finished_badly(*typed, cwd):
    """What a command that failed in one line said."""
    done = command(*typed, cwd=cwd)
    assert done.returncode == 1
    (line,) = done.stderr.strip().splitlines()
    return line
