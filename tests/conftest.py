"""A tiny dataset, and the program itself called in one process and in a folder of its own."""

import csv
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import hydra
import pytest
import pytorch_lightning as pl
import torch
from fault_table import pytest_collection_modifyitems, pytest_terminal_summary  # noqa: F401
from hydra.core.global_hydra import GlobalHydra
from hypothesis import HealthCheck, settings
from omegaconf import DictConfig, OmegaConf

import run
from dact import checkpoint, checkpoint_file, command_line, config, run_folder
from dact.datamodules import clevr_mini, gqa_mini

# A busy machine is no mistake of the code.
settings.register_profile("any", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any")

REPOSITORY = Path(__file__).parents[1]
CONF = REPOSITORY / "conf"
#: A network and a trainer small enough for a test.
TINY = (
    "model.dim=8",
    "model.embedding_dim=6",
    "model.max_steps=3",
    "data.batch_size=16",
    "data.num_workers=0",
    "trainer=cpu",
    "threads=1",
    "trainer.max_epochs=1",
    "trainer.log_every_n_steps=4",
    "trainer.enable_progress_bar=false",
)


class Finished(NamedTuple):
    """A run that came to its end."""

    value: float | None
    """What run.run returned: the accuracy, if there is one."""
    folder: Path
    """Its run folder."""

    @property
    def last(self) -> Path:
        """The newest checkpoint."""
        return self.folder / run_folder.CHECKPOINTS / run_folder.LAST

    @property
    def checkpoint(self) -> dict[str, Any]:
        """The newest checkpoint, loaded."""
        return checkpoint.load(self.last)

    @property
    def metrics(self) -> list[dict[str, str]]:
        """Rows of metrics.csv."""
        with (self.folder / "metrics.csv").open(newline="") as file:
            return list(csv.DictReader(file))

    @property
    def predictions(self) -> list[dict[str, Any]]:
        """Lines of predictions.jsonl."""
        return json_lines(self.folder / "predictions.jsonl")

    def validation(self) -> list[dict[str, float]]:
        """Validation's rows of metrics.csv, one for each epoch."""
        rows = [row for row in self.metrics if row["val/accuracy"]]
        return [{name: float(value) for name, value in row.items() if value} for row in rows]


class Program:
    """`python run.py …`, called in this process.

    Args:
        folder: run folders are made in it.
        defaults: typed before everything else.
    """

    def __init__(self, folder: Path, *defaults: str) -> None:
        self.folder = folder
        self.defaults = defaults
        self._number = 0

    def typed(self, *arguments: str) -> list[str]:
        """What Hydra gets to see of a command line."""
        return command_line.rewrite(arguments, run.ponder_files(), CONF)

    def compose(self, *arguments: str) -> DictConfig:
        """The configuration of a command line, without the defaults of this object."""
        return compose(*arguments)

    def __call__(self, *arguments: str, folder: Path | None = None) -> Finished:
        """Run a command line: the defaults, then `arguments`."""
        if folder is None:
            self._number += 1
            folder = self.folder / f"run{self._number}"
        folder.mkdir(exist_ok=True)
        typed = self.typed(*self.defaults, *arguments)
        return Finished(run.run(compose(*typed), folder=folder, typed=typed), folder)


def compose(*arguments: str, config_name: str = "config") -> DictConfig:
    """Compose what a user might type."""
    typed = command_line.rewrite(arguments, run.ponder_files(), CONF)
    return hydra.compose(config_name, overrides=typed)


def option_names(tree: Any, prefix: str = "") -> Iterator[str]:
    """Dotted names of all leaves."""
    for name, value in tree.items():
        if isinstance(value, dict | DictConfig):
            yield from option_names(value, f"{prefix}{name}.")
        else:
            yield prefix + str(name)


def command(*arguments: str, cwd: Path, timeout: float = 300) -> subprocess.CompletedProcess[str]:
    """Run `python run.py …` as a user would, on one thread."""
    environment = {
        name: value
        for name, value in os.environ.items()
        if name not in ("PYTHONWARNINGS", "HYDRA_FULL_ERROR")
    }
    return subprocess.run(
        [sys.executable, str(REPOSITORY / "run.py"), *arguments],
        cwd=cwd,
        env=environment | {"OMP_NUM_THREADS": "1", "COLUMNS": "200"},
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )


def json_lines(path: Path) -> list[dict[str, Any]]:
    """Predictions."""
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def everything_in(folder: Path) -> list[str]:
    """Names of all files and folders below `folder`, in order."""
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def plain(cfg: DictConfig) -> dict[str, Any]:
    """As plain containers, resolved."""
    return OmegaConf.to_container(cfg, resolve=True)


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    """Also for what is made once for all tests: sums over two threads differ in the last digit."""
    torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def seed() -> None:
    """Tests do not depend on their order."""
    pl.seed_everything(0, verbose=False)
    torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Logs and data land in the test's folder, and run folders are looked for there."""
    monkeypatch.chdir(tmp_path)
    run_folder.allocate.cache_clear()


@pytest.fixture
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A SLURM job; returns where its `scontrol` notes what it was told."""
    tools = tmp_path / "bin"
    tools.mkdir()
    (tools / "scontrol").write_text('#!/bin/sh\necho "$@" >> "$REQUEUED"\n')
    (tools / "scontrol").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tools}:{os.environ['PATH']}")
    monkeypatch.setenv("REQUEUED", str(tmp_path / "requeued"))
    monkeypatch.setenv("SLURM_JOB_ID", "4711")
    return tmp_path / "requeued"


@pytest.fixture
def configured() -> Iterator[None]:
    """Hydra knows conf/, so that `compose` works."""
    GlobalHydra.instance().clear()
    config.register()
    with hydra.initialize_config_dir(str(CONF), version_base="1.3"):
        yield
    GlobalHydra.instance().clear()


@pytest.fixture(scope="session")
def mini_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clevr_mini of 30 training and 8 validation images; read only: give a cache_dir."""
    root = tmp_path_factory.mktemp("mini") / "clevr_mini"
    clevr_mini.generate(
        root,
        images={"train": 30, "val": 8},
        questions_per_image=4,
        workers=1,
        drawings=0,
        progress=False,
    )
    return root


@pytest.fixture(scope="session")
def gqa_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A gqa_mini of a few images; read only: give a cache_dir."""
    root = tmp_path_factory.mktemp("gqa") / "gqa_mini"
    gqa_mini.generate(
        root,
        images={"train": 20, "val": 6, "testdev": 5, "test": 4, "challenge": 3},
        questions_per_image=8,
        rows=10,
        feature_dim=23,
        shards=2,
        workers=1,
        progress=False,
    )
    return root


@pytest.fixture(scope="session")
def shared_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache for runs that leave nothing in it but what they all make alike."""
    return tmp_path_factory.mktemp("shared_cache")


@pytest.fixture
def data(mini_root: Path, tmp_path: Path) -> tuple[str, str]:
    """Overrides for the tiny clevr_mini, with a cache of the test's own."""
    return f"data.root={mini_root}", f"data.cache_dir={tmp_path / 'cache'}"


@pytest.fixture
def program(configured: None, data: tuple[str, str], tmp_path: Path) -> Program:
    """run.py at a tiny size, on the tiny clevr_mini."""
    return Program(tmp_path, *data, *TINY)


@pytest.fixture
def evaluate(configured: None, data: tuple[str, str], tmp_path: Path) -> Program:
    """run.py on the tiny clevr_mini, with no word about the network."""
    return Program(tmp_path, *data, "trainer=cpu", "threads=1", "trainer.enable_progress_bar=false")


class Trained(NamedTuple):
    """A DACT network fitted for two epochs, and the MAC it started from; read only."""

    mac: Finished
    dact: Finished
    cache: Path
    root: Path


@pytest.fixture(scope="session")
def trained(mini_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """See `Trained`."""
    folder = tmp_path_factory.mktemp("trained")
    cache = folder / "cache"
    arguments = [f"data.root={mini_root}", f"data.cache_dir={cache}", *TINY]
    program = Program(folder, *arguments, "trainer.max_epochs=2", "optimizer.ema_decay=0.8")
    GlobalHydra.instance().clear()
    config.register()
    with hydra.initialize_config_dir(str(CONF), version_base="1.3"):
        mac = program("model=mac")
        dact = program("model=dact", "ponder=5e-3")
    GlobalHydra.instance().clear()
    return Trained(mac, dact, cache, mini_root)


@pytest.fixture(scope="session")
def decided(trained: Trained, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The trained DACT with a halting unit that lets some questions go early; a checkpoint."""
    saved = checkpoint.load(trained.dact.last)
    weight = saved["state_dict"]["network.policy.halting.linears.0.weight"]
    generator = torch.Generator().manual_seed(4)  # of those tried, the one with most variety
    weight.copy_(30 * torch.randn(weight.shape, generator=generator))
    path = tmp_path_factory.mktemp("decided") / "decided.ckpt"
    checkpoint_file.write(path, saved)
    return path
