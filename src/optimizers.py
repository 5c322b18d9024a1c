"""The optimizer."""

from collections.abc import Iterable
from typing import Any

import torch
from torch.optim import Adam, Optimizer


def make_adam(groups: Iterable[dict[str, Any]], *, learning_rate: float, fused: bool) -> Adam:
    """Adam that stays fused, or not, whatever the checkpoint says that it resumes from.

    Training can then move between CPU and GPU, and between precisions.

    Args:
        groups: parameters, some with rates of their own.
        learning_rate: of the others.
        fused: all in one kernel, which is fastest on a CPU; Lightning does not clip gradients in
            mixed precision then. If not, PyTorch chooses.
    """
    own = fused or None

    def keep_own(_: Optimizer, state: dict[str, Any]) -> dict[str, Any]:
        saved = [{**group, "fused": own} for group in state["param_groups"]]
        return {**state, "param_groups": saved}

    optimizer = torch.optim.Adam(groups, lr=learning_rate, fused=own)
    optimizer.register_load_state_dict_pre_hook(keep_own)
    return optimizer
