"""Networks as far as the claims of scripts/reproduce.py look at them, with answers made up."""

from types import SimpleNamespace

import numpy as np
from reproduce_answers import Answered
from reproduce_plan import Training


def network(group, right, taken, *, cost=0.0, seed=0, most=5, milliseconds=1.0, target=None):
    """One of a kind; `right` and `taken` of each question, or `taken` of all alike."""
    ponder = {"cost": cost, "target_steps": target}
    recipe = {"recipe": {"learning_rate": 1e-3}, "step_loss": 0.8, "gate": {"bias": 1.5}}
    config = {
        "model": {"max_steps": most, "prior": 0.2, **recipe},
        "ponder": ponder,
        "trainer": {"max_epochs": 6},
    }
    description = SimpleNamespace(config=config, started_from={"all": (0.25, 3.0, 9)})
    model = {"mac_on": "mac", "paper_rule": "dact", "budget": "dact"}.get(group, group)
    restored = SimpleNamespace(model=model, description=description)
    training = Training(f"{group}-{cost}-{most}-s{seed}", group, seed, ())
    right = np.asarray(right)
    taken = np.broadcast_to(np.asarray(taken), right.shape)
    return Answered(training, restored, right, taken, milliseconds)
