"""A run that a number of steps or a time stops goes on as if it had not been stopped."""

import json

import pytest
from test_resume import DROPOUT, assert_same
from test_stopping import EPOCH, PARTS, checkpoint_steps

from dact import checkpoint, run_folder
from dact.errors import UserError
from dact.limits import Clock
from dact.runs import start as starts
from dact.saving import RunCheckpoints

LAST = 3 * EPOCH
TYPED = ("warm_start=none", "optimizer.learning_rate=0.01", "optimizer.ema_decay=0.8")
TYPED += ("trainer.max_epochs=3", *DROPOUT)
#: Runs whose schedules, epochs and validations differ.
KINDS = {
    "trapezoid": ("model=dact", "optimizer.schedule=trapezoid", "data.group_by_length=true"),
    "plateau": ("model=mac", "optimizer.schedule=plateau", "data.questions_per_image=3"),
    "accumulated": ("model=mac", "trainer.accumulate_grad_batches=3"),
    "few batches": ("model=act", "trainer.limit_train_batches=5"),
    "validated within epochs": ("model=mac", "trainer.val_check_interval=3"),
    "validated seldom": ("model=mac", "trainer.check_val_every_n_epoch=2"),
}
KINDS["validated within epochs"] += ("optimizer.schedule=plateau",)


def assert_same_runs(one, other):
    """Two finished runs are one and the same, in what they saved and noted."""
    for part in (*PARTS, "plateau"):
        assert_same(one.checkpoint.get(part), other.checkpoint.get(part), part)
    assert one.metrics == other.metrics
    assert one.value == other.value
    results = [checkpoint.results(run.checkpoint) for run in (one, other)]
    assert results[0] == results[1]
    noted = [run_folder.result_in(run.folder) for run in (one, other)]
    assert [note["accuracy"] for note in noted] == [one.value, one.value]
    assert not any("stopped" in note for note in noted)


def time_is_up(monkeypatch, step):
    """The time of a training is over after that step, unless it goes on from there."""
    proper = RunCheckpoints._asked_to_stop

    def asked_to_stop(self, trainer):
        over = trainer.global_step >= step > self.began
        monkeypatch.setattr(Clock, "is_over", property(lambda clock: over))
        return proper(self, trainer)

    begin = RunCheckpoints.on_train_start

    def on_train_start(self, trainer, module):
        self.began = trainer.global_step
        begin(self, trainer, module)

    monkeypatch.setattr(RunCheckpoints, "on_train_start", on_train_start)
    monkeypatch.setattr(RunCheckpoints, "_asked_to_stop", asked_to_stop)


STEPS = pytest.mark.faults(
    "a limit of steps or time within an epoch",
    tried="trainer.max_steps and max_time at the first, last and inner steps, more than once",
    happened="said; resumed without it, bit-identical; metrics.csv too",
)


@STEPS
@pytest.mark.slow
@pytest.mark.parametrize("step", [1, 3, EPOCH - 1, EPOCH, EPOCH + 1])
@pytest.mark.parametrize("kind", KINDS)
def test_a_run_stopped_at_any_step_goes_on_as_if_it_had_not_been(program, kind, step, tmp_path):
    typed = (*TYPED, *KINDS[kind])
    whole = program(*typed)
    if step >= whole.checkpoint["global_step"]:
        step = whole.checkpoint["global_step"] - 1
    folder = tmp_path / "stopped"
    program(*typed, f"trainer.max_steps={step}", folder=folder)
    assert checkpoint_steps(folder)[-1] == step
    assert_same_runs(program(*typed, "ckpt_path=last", folder=folder), whole)


@STEPS
@pytest.mark.slow
@pytest.mark.parametrize("limits", [(3, EPOCH, EPOCH + 5), (LAST - 3, LAST - 1)])
def test_a_run_may_be_stopped_more_than_once(program, limits, tmp_path):
    typed = (*TYPED, *KINDS["trapezoid"])
    whole = program(*typed)
    folder, last = tmp_path / "stopped", ()
    for steps in limits:
        stopped = program(*typed, f"trainer.max_steps={steps}", *last, folder=folder)
        last = ("ckpt_path=last",)
        note = run_folder.result_in(folder)
        by = f"trainer.max_steps={steps}"
        assert note["stopped"] == {"by": by, "step": steps, "steps": LAST}
        assert note["accuracy"] == stopped.value is not None
        assert checkpoint.results(stopped.checkpoint)["all"].accuracy == stopped.value
    assert_same_runs(program(*typed, *last, folder=folder), whole)


@STEPS
@pytest.mark.slow
@pytest.mark.parametrize("step", [3, EPOCH, LAST - 1])
def test_a_run_whose_time_is_up_goes_on_as_if_it_had_not_been(program, step, tmp_path):
    typed = (*TYPED, *KINDS["plateau"])
    whole = program(*typed)
    folder = tmp_path / "stopped"
    with pytest.MonkeyPatch.context() as patched:
        time_is_up(patched, step)
        stopped = program(*typed, "trainer.max_time=00:01:00:00", folder=folder)
    note = run_folder.result_in(folder)["stopped"]
    assert note == {"by": "trainer.max_time=00:01:00:00", "step": step, "steps": LAST}
    assert stopped.value is not None
    # The time is that of one start: with the same option the run goes on.
    resumed = program(*typed, "trainer.max_time=00:01:00:00", "ckpt_path=last", folder=folder)
    assert_same_runs(resumed, whole)


def test_a_time_does_not_cut_the_least_number_of_steps_short(program, tmp_path):
    least = ("trainer.min_steps=5", "trainer.min_epochs=0")  # Lightning makes the latter 1
    with pytest.MonkeyPatch.context() as patched:
        time_is_up(patched, 2)
        stopped = program("model=mac", "trainer.max_time=00:01:00:00", *least)
    assert stopped.checkpoint["global_step"] == 5


@pytest.mark.parametrize("time", ["1", "3h", "00:00:00:00", "{foo:1}", "{hours:-1}", "{days:1e20}"])
def test_a_time_that_is_none_is_refused(program, time, tmp_path):
    with pytest.raises(UserError, match=r"trainer\.max_time=.* is no time: write days"):
        program("model=mac", f"trainer.max_time={time}")


def test_a_run_at_its_number_of_steps_says_so_and_stays(program, tmp_path, capsys):
    typed = ("model=mac", "trainer.max_epochs=2", "trainer.max_steps=3")
    first = program(*typed)
    noted, metrics = run_folder.result_in(first.folder), first.metrics
    before = first.last.read_bytes()
    again = program(*typed, "ckpt_path=last", folder=first.folder)
    assert "nothing to train:" in capsys.readouterr().out
    assert again.value == first.value is not None
    assert first.last.read_bytes() == before
    assert again.metrics == metrics
    now = run_folder.result_in(first.folder)
    assert (now["accuracy"], now["stopped"]) == (noted["accuracy"], noted["stopped"])


@pytest.mark.slow
def test_a_run_killed_before_the_last_validation_is_validated_when_it_is_resumed(program):
    typed = ("model=mac", "trainer.max_epochs=2", "trainer.max_steps=3")
    first = program(*typed)
    saved = first.checkpoint
    saved["dact"]["results"] = {}
    checkpoint.checkpoint_file.write(first.last.resolve(), saved)
    (first.folder / run_folder.RESULT).unlink()
    again = program(*typed, "ckpt_path=last", folder=first.folder)
    assert again.value == first.value == run_folder.result_in(first.folder)["accuracy"]


def test_a_number_of_steps_may_be_the_whole_training(program):
    typed = ("model=dact", "warm_start=none", "trainer.max_steps=11")
    finished = program(*typed, "trainer.max_epochs=-1")
    assert "stopped" not in run_folder.result_in(finished.folder)
    assert finished.value is not None
    (schedule,) = finished.checkpoint["lr_schedulers"]
    assert schedule["_last_lr"] == [0.0]


def test_without_an_end_the_rate_stays_where_it_is(program, tmp_path, capsys):
    typed = ("model=dact", "warm_start=none", "trainer.max_epochs=-1", "optimizer.decay=1")
    typed += ("trainer.max_time=00:01:00:00", "optimizer.learning_rate=0.01")
    with pytest.MonkeyPatch.context() as patched:
        time_is_up(patched, EPOCH + 3)
        stopped = program(*typed, folder=tmp_path / "endless")
    (optimizer,) = stopped.checkpoint["optimizer_states"]
    assert optimizer["param_groups"][0]["lr"] == 0.01
    assert "the learning rate stays constant" in capsys.readouterr().out
    assert run_folder.result_in(stopped.folder)["stopped"]["steps"] is None


# The MAC that is trained first.


@pytest.mark.slow
def test_a_number_of_steps_is_not_that_of_the_mac(program, tmp_path):
    typed = ("model=dact", "trainer.max_epochs=2", *DROPOUT)
    whole = program(*typed)
    for path in (tmp_path / "cache" / "warm_start").glob("*/mac.ckpt"):
        path.unlink()
    folder = tmp_path / "stopped"
    program(*typed, "trainer.max_steps=3", folder=folder)
    assert checkpoint_steps(folder) == [3]
    assert_same_runs(program(*typed, "ckpt_path=last", folder=folder), whole)


@pytest.mark.slow
def test_a_time_that_is_up_in_the_mac_stops_the_run_there(program, tmp_path, capsys):
    typed = ("model=dact", "trainer.max_epochs=2", *DROPOUT)
    whole = program(*typed)
    for path in (tmp_path / "cache" / "warm_start").glob("*/mac.ckpt"):
        path.unlink()
    folder = tmp_path / "stopped"
    with pytest.MonkeyPatch.context() as patched:
        time_is_up(patched, 3)
        stopped = program(*typed, "trainer.max_time=00:01:00:00", folder=folder)
    assert "in the MAC that comes first" in capsys.readouterr().out
    assert stopped.value is None
    assert not (folder / run_folder.RESULT).exists()
    assert checkpoint_steps(folder / "warm_start") == [3]
    assert_same_runs(program(*typed, "ckpt_path=last", folder=folder), whole)


# What would be another rest of the epoch.


@pytest.fixture
def within_an_epoch(program):
    """A run of two epochs that was stopped after three of its 2·8 batches."""
    return program("model=mac", "trainer.max_epochs=2", "trainer.max_steps=3")


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ("seed=1", "with seed 0, not 1"),
        ("data.group_by_length=false", r"with data\.group_by_length True, not False"),
        ("data.questions_per_image=2", r"with data\.questions_per_image 1, not 2"),
        ("trainer.overfit_batches=6", r"with trainer\.overfit_batches False, not True"),
        ("trainer.limit_train_batches=3", "an epoch has only 3: give more"),
        ("trainer.max_epochs=0", r"trainer\.max_epochs=0 trains nothing"),
    ],
)
def test_another_rest_of_the_epoch_is_refused(program, within_an_epoch, typed, said):
    before = within_an_epoch.last.read_bytes()
    with pytest.raises(UserError, match=said):
        program(
            "model=mac",
            "trainer.max_epochs=2",
            typed,
            "ckpt_path=last",
            folder=within_an_epoch.folder,
        )
    assert within_an_epoch.last.read_bytes() == before


def test_another_number_of_processes_is_refused_within_an_epoch_alone(
    program, within_an_epoch, monkeypatch, tmp_path
):
    monkeypatch.setattr(starts, "number_of_processes", lambda: 2)
    typed = ("model=mac", "trainer.max_epochs=2", "ckpt_path=last")
    with pytest.raises(UserError, match=r"step000003.* with number of processes .* 1, not 2"):
        program(*typed, folder=within_an_epoch.folder)
    at_end = program("model=mac", "trainer.max_epochs=2", f"trainer.max_steps={EPOCH}")
    finished = program(*typed, folder=at_end.folder)
    assert finished.checkpoint["global_step"] == 2 * EPOCH


@pytest.mark.parametrize("steps", [EPOCH + 1, 2 * EPOCH])
def test_fewer_epochs_than_are_done_are_refused(program, steps):
    typed = ("model=mac", "trainer.max_epochs=3", f"trainer.max_steps={steps}")
    stopped = program(*typed)
    noted = json.loads((stopped.folder / run_folder.RESULT).read_text())
    with pytest.raises(UserError, match=r"more than trainer\.max_epochs=1: give more epochs, or"):
        program("model=mac", "trainer.max_epochs=1", "ckpt_path=last", folder=stopped.folder)
    assert json.loads((stopped.folder / run_folder.RESULT).read_text()) == noted
