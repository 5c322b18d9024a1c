"""What is logged where, and what leaves this machine: nothing, unless it is asked for."""

import csv
import json
import shutil
import socket
import struct
import sys
import time
from types import SimpleNamespace

import pytest
from conftest import TINY, command, compose, everything_in, plain

from dact import config
from dact.errors import UserError
from dact.loggers import ContinuedCSVLogger
from dact.metrics import GroupMeans
from dact.runs.explain import log_report
from dact.runs.parts import at_work, make_trainer
from dact.trackers import RUN_ID, TensorBoardRun

# metrics.csv.


def log(folder, rows):
    """Log (step, metrics) as one process would."""
    logger = ContinuedCSVLogger(str(folder))
    for step, metrics in rows:
        logger.log_metrics(metrics, step)
        logger.save()
    logger.finalize("success")


def rows_of(folder):
    with (folder / "metrics.csv").open(newline="") as file:
        return [(int(row["step"]), row["a"], row.get("b", "")) for row in csv.DictReader(file)]


def test_metrics_are_continued_not_restarted(tmp_path):
    log(tmp_path, [(1, {"a": 1}), (2, {"a": 2})])
    log(tmp_path, [(3, {"a": 3}), (4, {"a": 4})])
    assert rows_of(tmp_path) == [(n, str(n), "") for n in (1, 2, 3, 4)]


def test_what_is_logged_again_replaces_what_a_lost_run_logged(tmp_path):
    log(tmp_path, [(1, {"a": 1}), (2, {"a": 2}), (3, {"a": 3})])
    log(tmp_path, [(2, {"a": 20}), (3, {"a": 30})])
    assert rows_of(tmp_path) == [(1, "1", ""), (2, "20", ""), (3, "30", "")]


def test_new_columns_may_come_later(tmp_path):
    log(tmp_path, [(1, {"a": 1})])
    log(tmp_path, [(2, {"b": 5}), (3, {"a": 3, "b": 6})])
    assert rows_of(tmp_path) == [(1, "1", ""), (2, "", "5"), (3, "3", "6")]


class PowerCutError(Exception):
    """Ends a process where no one expects it."""


@pytest.mark.faults(
    "killed while metrics.csv gets new columns",
    tried="an exception before the head, before the old rows and before the new one",
    happened="every row that was written is still there",
)
@pytest.mark.parametrize("writes", range(3))
def test_a_kill_while_columns_are_added_costs_no_row(tmp_path, monkeypatch, writes):
    log(tmp_path, [(1, {"a": 1}), (2, {"a": 2})])
    left = [writes]

    def cut(proper):
        def write(*arguments):
            if not left[0]:
                raise PowerCutError
            left[0] -= 1
            return proper(*arguments)

        return write

    with monkeypatch.context() as patched:
        patched.setattr(csv.DictWriter, "writeheader", cut(csv.DictWriter.writeheader))
        patched.setattr(csv.DictWriter, "writerows", cut(csv.DictWriter.writerows))
        logger = ContinuedCSVLogger(str(tmp_path))
        logger.experiment._continued = True  # as in the process that wrote the rows above
        logger.experiment.metrics_keys = ["a", "step"]
        with pytest.raises(PowerCutError):
            logger.log_metrics({"b": 5}, 3)
    assert [row[:2] for row in rows_of(tmp_path)] == [(1, "1"), (2, "2")]
    log(tmp_path, [(3, {"b": 5})])
    assert rows_of(tmp_path) == [(1, "1", ""), (2, "2", ""), (3, "", "5")]


def test_a_run_that_logs_nothing_leaves_the_file_alone(tmp_path):
    log(tmp_path, [(1, {"a": 1})])
    log(tmp_path, [])
    assert rows_of(tmp_path) == [(1, "1", "")]
    assert everything_in(tmp_path) == ["metrics.csv"]


# The loggers of conf/.


def test_steps_of_training_need_not_be_logged(program):
    columns = set(program("model=mac", "trainer.log_every_n_steps=0").metrics[0])
    assert "val/accuracy" in columns
    assert not [name for name in columns if name.startswith("train/")]


def test_no_logger_leaves_no_metrics(program):
    finished = program("model=mac", "logger=none")
    assert not (finished.folder / "metrics.csv").exists()


@pytest.mark.parametrize(
    ("key", "login", "offline"),
    [
        (None, None, True),
        ("abc", None, False),
        (None, "api.wandb.ai", False),
        (None, "api.forge.coreweave.com", False),
        (None, "example.org", True),
    ],
)
def test_wandb_is_offline_without_a_key(configured, monkeypatch, tmp_path, key, login, offline):
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("WANDB_API_KEY", "WANDB_MODE", "WANDB_BASE_URL", "NETRC"):
        monkeypatch.delenv(name, raising=False)
    if key:
        monkeypatch.setenv("WANDB_API_KEY", key)
    if login:
        netrc = tmp_path / ".netrc"
        netrc.write_text(f"machine {login}\n  login user\n  password abc\n")
        netrc.chmod(0o600)
    cfg = plain(compose("logger=wandb"))
    assert cfg["logger"]["offline"] is offline
    assert cfg["logger"]["name"] == "clevr_mini-dact-5e-3-s0"


# Options that cannot work.


@pytest.mark.parametrize(
    ("typed", "message"),
    [
        (["+logger.foo=1"], r"^logger: dact.loggers.ContinuedCSVLogger cannot be made: .* 'foo'$"),
        (["logger=none", "+logger.foo=1"], "^logger has no _target_, so nothing takes foo$"),
        (["logger._target_=foo.Bar"], r"^logger: foo.Bar cannot be made: .*No module named 'foo'"),
    ],
)
def test_a_broken_option_is_one_line(configured, tmp_path, typed, message):
    with pytest.raises(UserError, match=message) as caught:
        make_trainer(config.resolve(compose("trainer=cpu", *typed)), tmp_path, [])
    assert "\n" not in str(caught.value)


def test_tensorboard_that_is_not_installed_is_one_line(configured, tmp_path, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"^logger=tensorboard needs `pip install dact-mac\[tens"):
        make_trainer(config.resolve(compose("trainer=cpu", "logger=tensorboard")), tmp_path, [])


# How many steps were taken.


@pytest.mark.slow
def test_every_validation_tells_the_loggers_how_many_steps_were_taken(program, monkeypatch):
    seen = []
    monkeypatch.setattr(
        ContinuedCSVLogger, "log_histogram", lambda self, *told: seen.append(told), raising=False
    )
    finished = program("model=mac", "trainer.max_epochs=2", "trainer.num_sanity_val_steps=1")
    steps = [int(row["step"]) for row in finished.validation()]
    assert len(steps) == 2
    assert seen == [("val/steps_taken", [0, 0, 32], step) for step in steps]
    seen.clear()
    typed = (f"ckpt_path={finished.last}", "data.split=val")
    program.__class__(finished.folder.parent, *program.defaults[:2], "trainer=cpu")(
        "mode=test", *typed, "trainer.enable_progress_bar=false"
    )
    assert seen == [("test/steps_taken", [0, 0, 32], 0)]


def test_tensorboard_gets_the_counts_of_each_step():
    told = {}
    writer = SimpleNamespace(add_histogram_raw=lambda *name, **rest: told.update(rest, name=name))
    logger = type("Logger", (TensorBoardRun,), {"experiment": writer}).__new__(TensorBoardRun)
    logger._experiment = writer
    logger.log_histogram("val/steps_taken", [0, 3, 0, 2, 0], 7)
    values = [2, 2, 2, 4, 4]
    assert told == {
        "name": ("val/steps_taken",),
        "min": min(values),
        "max": max(values),
        "num": len(values),
        "sum": sum(values),
        "sum_squares": sum(value**2 for value in values),
        "bucket_limits": [1.5, 2.5, 3.5, 4.5, 5.5],
        "bucket_counts": [0, 3, 0, 2, 0],
        "global_step": 7,
    }


@pytest.mark.slow
def test_a_run_is_logged_to_tensorboard(program):
    pytest.importorskip("tensorboard", reason="tensorboard is an extra")
    finished = program("model=mac", "logger=tensorboard")
    assert list((finished.folder / "tensorboard").glob("events.*"))


# Reports.


def ended(logger, **changed):
    """A trainer whose fit has come to its end."""
    module = SimpleNamespace(results={"all": GroupMeans(0.5, 2.0, 32)})
    state = {"loggers": [logger], "lightning_module": module, "is_global_zero": True}
    state["datamodule"] = SimpleNamespace(tokenizer="treebank")
    return SimpleNamespace(**(state | {"accelerator": "cpu", "world_size": 1} | changed))


@pytest.mark.slow
def test_a_report_is_logged_to_who_asks_for_it(trained, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(trained.dact.folder, folder)
    got = []
    for asked in (False, True):
        log_report(ended(SimpleNamespace(report=asked, log_report=got.append)), folder)
        assert (folder / "report").exists() is asked
    assert got == [folder / "report"]
    assert "<b>32</b>questions" in (folder / "report" / "report.html").read_text()


def test_a_report_that_cannot_be_made_is_one_line(tmp_path, capsys):
    logger = SimpleNamespace(report=True)
    log_report(ended(logger), tmp_path)
    assert capsys.readouterr().out == f"warning: no report: there is no checkpoint in {tmp_path}\n"
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / "last.ckpt").touch()
    log_report(ended(logger, world_size=2), tmp_path)
    (line,) = capsys.readouterr().out.splitlines()
    command = f"python scripts/report.py --checkpoint {tmp_path / 'checkpoints' / 'last.ckpt'}"
    assert line == f"warning: no report: several processes trained, one makes it: {command}"
    log_report(ended(logger, is_global_zero=False), tmp_path)
    log_report(ended(logger, lightning_module=SimpleNamespace(results={})), tmp_path)
    assert capsys.readouterr().out == ""


# Weights & Biases.


def records(folder):
    """What the W&B runs of a run folder hold, the oldest first.

    A file consists of blocks of 32 KiB, and those of pieces of records, as LevelDB has it.
    """
    from wandb.proto.wandb_internal_pb2 import Record

    for path in sorted(folder.glob("wandb/offline-run-*/*.wandb")):
        data, place, found, record = path.read_bytes(), 7, [], b""
        while place + 7 <= len(data):
            left = -place % 2**15
            if 0 < left < 7:  # the end of a block, too short for a piece
                place += left
                continue
            size, kind = struct.unpack("<HB", data[place + 4 : place + 7])
            record += data[place + 7 : place + 7 + size]
            place += 7 + size
            if kind in (1, 4):  # whole, or a last piece
                found.append(Record.FromString(record))
                record = b""
        yield path.stem.removeprefix("run-"), found


def exit_codes(folder):
    """Of each run; a process of wandb's writes them, on a busy machine a moment later."""
    until = time.monotonic() + 60
    while True:
        codes = [
            [one.exit.exit_code for one in run if one.HasField("exit")]
            for _, run in records(folder)
        ]
        if all(codes) or time.monotonic() > until:
            return codes


@pytest.fixture
def stays_here(monkeypatch):
    for name in ("WANDB_API_KEY", "WANDB_MODE", "WANDB_RUN_ID", "WANDB_ERROR_REPORTING"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NETRC", "nowhere")


@pytest.mark.slow
@pytest.mark.usefixtures("stays_here")
def test_a_run_of_wandb_holds_configuration_metrics_and_steps(program):
    finished = program("model=mac", "logger=wandb")
    ((name, run),) = records(finished.folder)
    assert (finished.folder / RUN_ID).read_text() == f"{name}\n"
    told = {one.key: json.loads(one.value_json) for r in run for one in r.config.update}
    assert (told["model"]["name"], told["model"]["dim"], told["seed"]) == ("mac", 8, 0)
    rows = [
        {" ".join(item.nested_key): json.loads(item.value_json) for item in one.history.item}
        for one in run
        if one.HasField("history")
    ]
    (measured,) = [row for row in rows if "val/accuracy" in row]
    assert measured["val/accuracy"] == pytest.approx(finished.value)
    (steps,) = [row for row in rows if "val/steps_taken values" in row]
    assert steps["val/steps_taken values"] == [0, 0, 32]
    assert steps["val/steps_taken bins"] == [0.5, 1.5, 2.5, 3.5]
    assert steps["trainer/global_step"] == measured["trainer/global_step"]
    assert exit_codes(finished.folder) == [[0]]


@pytest.mark.slow
@pytest.mark.usefixtures("stays_here", "configured")
def test_what_failed_is_marked_and_the_next_run_is_its_own(tmp_path):
    errors = {"good": None, "bad": OSError, "stopped": KeyboardInterrupt, "next": None}
    cfg = config.resolve(compose("logger=wandb", "trainer=cpu"))
    for name, error in errors.items():
        (tmp_path / name).mkdir()
        trainer = make_trainer(cfg, tmp_path / name, [])
        if error is None:
            with at_work(trainer):
                trainer.logger.log_metrics({"a": 1}, 1)
        else:
            with pytest.raises(error), at_work(trainer):
                raise error
    assert [exit_codes(tmp_path / name) for name in errors] == [[[0]], [[1]], [[255]], [[0]]]
    assert len({(tmp_path / name / RUN_ID).read_text() for name in errors}) == len(errors)


def test_an_interrupt_that_lightning_made_an_exit_of_is_one():
    codes = []
    trainer = SimpleNamespace(loggers=[SimpleNamespace(finish=codes.append)])

    def interrupted():
        try:
            raise KeyboardInterrupt
        except KeyboardInterrupt:
            sys.exit(1)

    with pytest.raises(SystemExit), at_work(trainer):
        interrupted()
    with pytest.raises(SystemExit), at_work(trainer):
        raise SystemExit(1)
    assert codes == [255, 1]


@pytest.mark.slow
@pytest.mark.usefixtures("stays_here", "configured")
def test_a_resumed_run_goes_on_with_its_id(tmp_path, capfd):
    cfg = config.resolve(compose("logger=wandb", "trainer=cpu"))
    for _ in range(2):
        with at_work(make_trainer(cfg, tmp_path, [])):
            pass
    kept = (tmp_path / RUN_ID).read_text().strip()
    assert [name for name, _ in records(tmp_path)] == [kept, kept]
    said = capfd.readouterr().err.replace(str(tmp_path), "")
    assert "WARN" not in said
    assert "resume" not in said


@pytest.mark.slow
@pytest.mark.usefixtures("stays_here", "configured")
def test_a_report_becomes_an_artefact(tmp_path):
    (tmp_path / "report").mkdir()
    (tmp_path / "report" / "report.html").write_text("<html>")
    trainer = make_trainer(config.resolve(compose("logger=wandb", "trainer=cpu")), tmp_path, [])
    with at_work(trainer):
        trainer.logger.log_report(tmp_path / "report")
    ((name, run),) = records(tmp_path)
    (one,) = [
        r.request.log_artifact.artifact if r.HasField("request") else r.artifact
        for r in run
        if r.HasField("artifact") or r.request.HasField("log_artifact")
    ]
    assert (one.type, one.name) == ("report", f"report-{name}")
    assert [entry.path for entry in one.manifest.contents] == ["report.html"]


# What leaves this machine.

#: Writes down whom a process connects to or looks up.
SPY = """
import sys

def note(event, arguments):
    if event == "socket.getaddrinfo" or (
        event == "socket.connect" and isinstance(arguments[1], tuple)
    ):
        with open({path!r}, "a") as file:
            file.write(f"{{event}} {{arguments}}\\n")

sys.addaudithook(note)
"""


@pytest.mark.slow
@pytest.mark.usefixtures("stays_here")
@pytest.mark.parametrize(
    ("logger", "mode", "reporting", "sent"),
    [
        ("csv", None, None, False),
        ("wandb", None, None, False),
        ("wandb", "disabled", None, False),
        ("wandb", None, "true", True),  # that the test can fail
    ],
)
def test_nothing_is_sent(mini_root, tmp_path, monkeypatch, logger, mode, reporting, sent):
    notes = tmp_path / "notes"
    (tmp_path / "spy").mkdir()
    (tmp_path / "spy" / "sitecustomize.py").write_text(SPY.format(path=str(notes)))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "spy"))
    for name, value in (("WANDB_MODE", mode), ("WANDB_ERROR_REPORTING", reporting)):
        if value:
            monkeypatch.setenv(name, value)
    with socket.create_server(("127.0.0.1", 0)) as server:  # W&B's service is no Python
        server.setblocking(False)
        proxy = f"http://127.0.0.1:{server.getsockname()[1]}"
        for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
            for spelling in (name, name.lower()):
                monkeypatch.setenv(spelling, proxy)
        data = (f"data.root={mini_root}", f"data.cache_dir={tmp_path / 'cache'}")
        done = command("model=mac", f"logger={logger}", *data, *TINY, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        assert notes.exists() is sent
        if not sent:
            with pytest.raises(BlockingIOError):
                server.accept()
    kept = logger == "wandb" and mode is None
    assert any(tmp_path.glob("logs/fit/*/wandb/*.log")) is kept
    assert any(tmp_path.glob(f"logs/fit/*/{RUN_ID}")) is kept
