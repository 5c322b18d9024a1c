"""Which options of Lightning's Trainer make sense here; loads no PyTorch."""

from typing import Any

from dact.errors import UserError
from dact.schema import TrainerConfig

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
    strategy = trainer.strategy
    if any(word in _name(strategy) for word in _IN_CHILDREN):
        raise UserError(
            f"trainer.strategy={_name(strategy)} trains in processes whose results are lost when "
            "they end: use trainer.strategy=ddp"
        )
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


def _name(strategy: Any) -> str:
    """Of a strategy, also one that is given as an object of some class."""
    if isinstance(strategy, str):
        return strategy
    return str(strategy.get("_target_", "")) if hasattr(strategy, "get") else str(strategy)
