"""Which options of Lightning's Trainer make sense here; loads no PyTorch."""

from dact.errors import UserError
from dact.schema import TrainerConfig

#: Numbers, by the least that they may be; null is possible of all.
_LEAST = {
    "accumulate_grad_batches": 1,
    "check_val_every_n_epoch": 1,
    "gradient_clip_val": 0,
    "log_every_n_steps": 0,
    "num_sanity_val_steps": -1,
}
_LIMITS = ("train", "val", "test", "predict")
#: In the names of strategies whose processes keep the results, which are lost with them.
_IN_CHILDREN = ("spawn", "fork", "notebook")


def check_trainer(trainer: TrainerConfig, mode: str) -> None:
    """Refuse what Lightning takes, but what would train nothing or lose the results.

    Args:
        trainer: its options.
        mode: of the run.

    Raises:
        UserError: names the option, its value and what it may be.
    """
    if any(word in str(trainer.strategy).lower() for word in _IN_CHILDREN):
        raise UserError(
            f"trainer.strategy={trainer.strategy} trains in processes whose results are lost when "
            "they end: use trainer.strategy=ddp"
        )
    _check_numbers(trainer)
    if mode != "fit":
        return
    for name in ("max_epochs", "max_steps"):
        value = getattr(trainer, name)
        if value is not None and value < 1 and value != -1:
            raise UserError(
                f"trainer.{name}={value} trains nothing: give a number of at least 1, or -1 for no "
                "limit"
            )
    if trainer.limit_train_batches in (0, 0.0):
        raise UserError(
            "trainer.limit_train_batches=0 trains nothing: leave it out, or use mode=validate"
        )


def _check_numbers(trainer: TrainerConfig) -> None:
    """Refuse numbers that Lightning takes and stumbles over, or silently reads as others."""
    for name, least in _LEAST.items():
        value = getattr(trainer, name)
        if value is not None and not value >= least:  # NaN is not, either
            raise UserError(f"trainer.{name}={value} is not possible: it is at least {least}")
    numbers = [f"limit_{split}_batches" for split in _LIMITS]
    for name in (*numbers, "overfit_batches"):
        value = getattr(trainer, name)
        if isinstance(value, bool) or not isinstance(value, int | float | None):
            raise UserError(
                f"trainer.{name}={value} is no number: give one of batches, or a share in 0.0..1.0"
            )
    overfit = trainer.overfit_batches or 0
    if overfit < 0 or (isinstance(overfit, float) and not overfit <= 1):
        raise UserError(
            f"trainer.overfit_batches={overfit} is not possible: give a number of batches, or a "
            "share in 0.0..1.0"
        )
    interval = trainer.val_check_interval
    if isinstance(interval, bool) or interval in (0, 0.0):
        raise UserError(
            f"trainer.val_check_interval={interval} is not possible: give a number of batches, or "
            "a share of an epoch in 0.0..1.0; trainer.limit_val_batches=0 leaves validation out"
        )
    if trainer.deterministic not in (None, True, False, "warn"):
        raise UserError(
            f"trainer.deterministic={trainer.deterministic} is unknown: choose one of true, false, "
            "warn"
        )
