"""Checks of the options that all data modules have."""

from typing import Any

from dact.errors import UserError
from dact.options import MISSING_IMAGES

#: Options of a data module and the least value of each.
_SMALLEST = {
    "batch_size": 1,
    "eval_batch_size": 1,
    "num_workers": 0,
    "seed": 0,
    "questions_per_image": 1,
}


def check_options(options: Any) -> None:
    """Refuse options of a data module that are out of range.

    Raises:
        UserError: naming one of them.
    """
    for name, smallest in _SMALLEST.items():
        value = getattr(options, name)
        if value < smallest:
            raise UserError(f"data.{name}={value} is less than {smallest}")
    if options.missing_images not in MISSING_IMAGES:
        choices = " nor ".join(MISSING_IMAGES)
        raise UserError(f"data.missing_images={options.missing_images} is neither {choices}")
    if not 0 < options.fraction <= 1:
        raise UserError(f"data.fraction={options.fraction} is not in (0, 1]")
