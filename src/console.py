"""Which of the libraries' messages reach the console: none that sell or state the obvious."""

import logging
import warnings

#: Beginnings of Lightning's information that say nothing about the run.
_CHATTER = (
    "GPU available",
    "TPU available",
    "HPU available",
    "💡 Tip",
    "Loading `train_dataloader`",
    "`Trainer.fit` stopped: `max_",
    "`Trainer(limit_predict_batches",
    "Found current_model_state",
    "Restoring states from the checkpoint",
    "Restored all states from the checkpoint",
    "Initializing distributed",
    "-----",
)

_TALKATIVE = (
    "pytorch_lightning.utilities.rank_zero",
    "lightning_fabric.utilities.rank_zero",
    "lightning_fabric.utilities.distributed",
)

#: Warnings about things that are as they should be: (message, why).
_WARNINGS = (
    (".*does not have many workers", "clevr_mini makes a batch in well under a millisecond"),
    (".*The number of training batches .* is smaller than the logging interval", "trial runs"),
    (".*isinstance.treespec, LeafSpec.. is deprecated", "inside Lightning"),
    (".*recommended to use .self.log.*sync_dist=True", "torchmetrics has added up the processes"),
    (".*grad attribute of a Tensor that is not a leaf", "torch.compile looks at every tensor"),
    (".*Checkpoint directory .* exists and is not empty", "a resumed run goes on in its folder"),
)


def silence_libraries() -> None:
    """Filter Lightning's messages; safe to call more than once."""
    for name in _TALKATIVE:
        logger = logging.getLogger(name)
        if not any(isinstance(known, _NoChatter) for known in logger.filters):
            logger.addFilter(_NoChatter())
    for handler in logging.getLogger().handlers:
        if "[HYDRA]" in (getattr(handler.formatter, "_fmt", None) or ""):
            handler.setFormatter(_WithoutHydra(handler.formatter))
    for message, _ in _WARNINGS:
        warnings.filterwarnings("ignore", message=message)


class _WithoutHydra(logging.Formatter):
    """Hydra's formatter, but the lines of a run, which are not Hydra's, are shown as they are."""

    def __init__(self, own: logging.Formatter) -> None:
        super().__init__()
        self._own = own

    def format(self, record: logging.LogRecord) -> str:
        talkative = record.name in _TALKATIVE
        return record.getMessage() if talkative else self._own.format(record)


class _NoChatter(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        return not record.getMessage().strip().startswith(_CHATTER)
