"""The report on what a checkpoint's network did: for scripts/report.py, and at the end of a fit."""

from pathlib import Path
from typing import Any

import pytorch_lightning as pl

from dact import run_folder
from dact.errors import UserError

from .parts import say
from .restore import answer_split, open_data, restore


def report_of_checkpoint(
    checkpoint: Path,
    output: Path | None = None,
    *,
    root: Path | None = None,
    split: str | None = None,
    examples: int = 20,
    limit: int | None = None,
    accelerator: Any = "auto",
    tokenizer: str | None = None,
) -> Path:
    """Have a checkpoint's network answer a split, then write the page; returns where it is.

    Args:
        checkpoint: of the network.
        output: folder; None: `report/` in the run folder, or beside a file that is in none.
        root: another folder of data.
        split: another split than the one it was validated on.
        examples: how many questions are shown step by step.
        limit: answer no more than so many questions, rounded up to a whole batch.
        accelerator: as of Lightning's Trainer.
        tokenizer: see `restore`.

    Raises:
        UserError: there is no such checkpoint or folder of data, or nowhere to write.
    """
    # Only now, since few fits draw anything: loads Matplotlib.
    from dact.explain.reasoning import Reasoner
    from dact.explain.report import write_report
    from dact.explain.writing import make_folder

    restored = restore(checkpoint, tokenizer)
    make_folder(output := output or _folder_for(checkpoint))
    data = open_data(restored, root, split)
    (split,) = data.splits_of("predict")
    return write_report(
        output,
        answer_split(restored, data, limit, accelerator=accelerator),
        Reasoner(restored.network, restored.vocabulary),
        data,
        split,
        title=f"How {restored.run} reasons",
        subtitle=f"{restored.model} on {restored.data_name}, split {split}, {restored.path.name}",
        examples=examples,
    )


def _folder_for(checkpoint: Path) -> Path:
    folder = checkpoint.absolute().parent
    return (folder.parent if folder.name == run_folder.CHECKPOINTS else folder) / "report"


def log_report(trainer: pl.Trainer, folder: Path) -> None:
    """Report on the newest checkpoint of a fit to the loggers that ask for it.

    As many questions are answered as in the last validation. Without one there is no report, and
    one that cannot be made costs a line, not the run.

    Args:
        trainer: whose fit has come to its end.
        folder: of the run.
    """
    wanted = [logger for logger in trainer.loggers if getattr(logger, "report", None) is True]
    results = trainer.lightning_module.results
    if not (wanted and results and trainer.is_global_zero):
        return
    try:
        checkpoints = run_folder.checkpoints_in(folder)
        if not checkpoints:
            raise UserError(f"there is no checkpoint in {folder}")
        if trainer.world_size > 1:  # Lightning would wait for the others to predict, too
            command = f"python scripts/report.py --checkpoint {checkpoints[0]}"
            raise UserError(f"several processes trained, one makes it: {command}")
        page = report_of_checkpoint(
            checkpoints[0],
            limit=results["all"].questions,
            accelerator=trainer.accelerator,
            tokenizer=trainer.datamodule.tokenizer,
        )
        for logger in wanted:
            logger.log_report(page.parent)
    except Exception as error:  # of any kind: the network is trained all the same
        say(f"warning: no report: {' '.join(str(error).split()) or type(error).__name__}")
