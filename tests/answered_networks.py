"""Networks as far as the claims of scripts/reproduce.py look at them, with answers made up."""

from types import SimpleNamespace

import numpy as np
from reproduce_answers import Answered
from reproduce_plan import Training


def network(group, right, taken, *, cost=0.0, seed=0, most=5, milliseconds=1.0, target=None):
    """One of a kind; `right` and `taken` of each question, or `taken` of all alike."""
    ponder = {"cost": cost, "target_steps": target}
    config = {"model": {"max_steps": most, "prior": 0.2}, "ponder": ponder}
    description = SimpleNamespace(config=config, started_from={"all": (0.25, 3.0, 9)})
    restored = SimpleNamespace(model=group, description=description)
    training = Training(f"{group}-{cost}-{most}-s{seed}", group, seed, ())
    right = np.asarray(right)
    taken = np.broadcast_to(np.asarray(taken), right.shape)
    return Answered(training, restored, right, taken, milliseconds)
