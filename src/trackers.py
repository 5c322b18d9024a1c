"""Weights & Biases and TensorBoard: one run for each job, and what took how many steps.

Neither is imported here: `conf/logger/` names what is needed of them.
"""

import importlib.util
import os
import secrets
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pytorch_lightning.loggers import TensorBoardLogger, WandbLogger
from pytorch_lightning.loggers.logger import rank_zero_experiment
from pytorch_lightning.utilities.rank_zero import rank_zero_only

from dact.errors import UserError

#: In the run folder: which W&B run a resumed run goes on with.
RUN_ID = "wandb_run_id"
#: What in the environment tells a tracker which one run this is.
IDENTITIES = (
    "WANDB_RUN_ID",
    "WANDB_NAME",
    "WANDB_RESUME",
    "WANDB_SWEEP_ID",
    "COMET_EXPERIMENT_KEY",
    "MLFLOW_RUN_ID",
    "NEPTUNE_CUSTOM_RUN_ID",
)


@contextmanager
def nameless() -> Iterator[None]:
    """Around a run that the environment does not name: a job of a sweep, or a MAC trained first.

    What names one run in the environment is not there meanwhile, also not for programs that are
    started.
    """
    names = {name: os.environ.pop(name) for name in IDENTITIES if name in os.environ}
    try:
        yield
    finally:
        os.environ.update(names)
        if names and (wandb := sys.modules.get("wandb")):
            wandb.teardown()  # it reads its environment once, and the next run has another


class WandbRun(WandbLogger):
    """A run of Weights & Biases, which stays on this machine unless an upload is asked for.

    A run that is resumed in its folder goes on with the same id; a new one takes the one that is
    given, else WANDB_RUN_ID. Of an agent of W&B's own sweeps each run takes the agent's id.
    WANDB_MODE may be offline or disabled, whatever is given here.

    Args:
        save_dir: the run folder; W&B makes a folder `wandb` in it.
        project: in which the run is shown.
        name: of the run.
        offline: keep the run here; `wandb sync` may send it later.
        report: log the report on the reasoning, made at the end of training, as an artefact.
        histogram: `wandb.Histogram`; None: log no histogram.
        options: further arguments of `wandb.init`, such as `entity`, `group` and `tags`; `id`, or
            `version` as Lightning calls it, is that of this run alone.

    Raises:
        UserError: another run of the same sweep has the id, or the resumed run another one.
    """

    def __init__(
        self,
        save_dir: str,
        *,
        project: str,
        name: str,
        offline: bool,
        report: bool,
        histogram: Callable[..., Any] | None,
        **options: Any,
    ) -> None:
        # W&B reports its own errors and timings even of runs that stay here; who wants that says
        # so by setting this to true.
        os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
        mode = _mode(offline)
        # Not Lightning's own `offline`, which puts WANDB_MODE into the environment of later runs.
        options |= {"mode": mode, "resume": "allow" if mode == "online" else None}
        self._kept = Path(save_dir) / RUN_ID
        self._disabled = mode == "disabled"
        given = options.pop("id", None) or options.pop("version", None)
        options.pop("version", None)
        identity = _identity(self._kept, None if given is None else str(given))
        super().__init__(name, save_dir, version=identity, project=project, **options)
        self._wandb_init.pop("anonymous", None)  # W&B warns of it, and Lightning always gives it
        self.report = report and not self._disabled
        self._histogram = histogram

    @property
    @rank_zero_experiment
    def experiment(self) -> Any:
        """The run, begun when it is first asked for.

        Raises:
            UserError: W&B refuses to begin it, for instance since nobody is logged in.
        """
        if self._experiment is None:
            try:
                run = super().experiment
            except Exception as error:  # whatever it is: nothing has been trained yet
                reason = " ".join(str(error).split())
                raise UserError(f"logger=wandb cannot begin a run: {reason}") from error
            if not self._disabled:  # a run that is kept nowhere has no id to go on with
                self._kept.write_text(f"{run.id}\n", "utf-8")
        return self._experiment

    @rank_zero_only
    def log_histogram(self, name: str, counts: Sequence[int], step: int) -> None:
        """Log how often each of the values 1, 2, … occurred."""
        if self._histogram is None:
            return
        edges = [value + 0.5 for value in range(len(counts) + 1)]
        self.log_metrics({name: self._histogram(np_histogram=(list(counts), edges))}, step)

    @rank_zero_only
    def log_report(self, folder: Path) -> None:
        """Log a folder as an artefact of the type `report`."""
        run = self.experiment
        run.log_artifact(str(folder), name=f"report-{run.id}", type="report")

    @rank_zero_only
    def finish(self, exit_code: int) -> None:
        """End the run; one with another code than 0 is shown as failed."""
        if self._experiment is not None:
            self._experiment.finish(exit_code=exit_code)


class TensorBoardRun(TensorBoardLogger):
    """TensorBoard's event files in the run folder.

    Args:
        save_dir: the run folder.
        name: folder in it, or nothing.
        version: folder in that.
        options: further arguments of Lightning's logger and of `SummaryWriter`.

    Raises:
        UserError: TensorBoard is not installed.
    """

    def __init__(self, save_dir: str, *, name: str, version: str, **options: Any) -> None:
        if importlib.util.find_spec("tensorboard") is None:
            raise UserError("logger=tensorboard needs `pip install dact-mac[tensorboard]`")
        super().__init__(save_dir, name=name, version=version, **options)

    @rank_zero_only
    def log_histogram(self, name: str, counts: Sequence[int], step: int) -> None:
        """Log how often each of the values 1, 2, … occurred."""
        values = range(1, len(counts) + 1)
        taken = [value for value, count in zip(values, counts, strict=True) if count]
        self.experiment.add_histogram_raw(
            name,
            min=taken[0],
            max=taken[-1],
            num=sum(counts),
            sum=sum(value * count for value, count in zip(values, counts, strict=True)),
            sum_squares=sum(value**2 * count for value, count in zip(values, counts, strict=True)),
            bucket_limits=[value + 0.5 for value in values],
            bucket_counts=list(counts),
            global_step=step,
        )


def _mode(offline: bool) -> str:
    mode = os.environ.get("WANDB_MODE") or "online"
    return "offline" if mode == "dryrun" or (offline and mode != "disabled") else mode


def _identity(kept: Path, given: str | None) -> str:
    """The id of a run: the agent's, the one that it began with, a given one, or a new one.

    Args:
        kept: file that holds the id that the run began with.
        given: by an option.

    Raises:
        UserError: the id is that of another run of the same sweep, or not that of this run.
    """
    named, before = os.environ.get("WANDB_RUN_ID"), _read(kept)
    if named and "WANDB_SWEEP_ID" in os.environ:
        return named
    if before and given not in (None, before):
        raise UserError(
            f"logger.id={given}: the run in {kept.parent} goes on as {before}: leave logger.id out"
        )
    if not before and given:
        for other in kept.parent.parent.glob(f"*/{RUN_ID}"):
            if _read(other) == given:
                raise UserError(
                    f"logger.id={given} is the run in {other.parent}: leave logger.id out, then "
                    "each run has an id of its own"
                )
    return before or given or named or secrets.token_hex(4)


def _read(path: Path) -> str | None:
    return path.read_text("utf-8").strip() if path.exists() else None
