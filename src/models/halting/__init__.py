"""One recurrence, interchangeable halting policies.

A policy decides when a recurrent model has thought enough and how the answers of its steps become
one. It knows nothing of questions or images: anything that gives, at every step, answer logits and
a vector to decide on (`Step`) can be driven by it, through `run_steps`. This package holds all that
a model of your own needs, `dact.losses` what training minimises; docs/any-model.md has an example.
"""

from dact.models.halting.act import ACT, ACTState
from dact.models.halting.dact import DACT, MIN_PROBABILITY, Bound, DACTState, make_bound
from dact.models.halting.fixed import FixedState, FixedSteps
from dact.models.halting.loop import LoopTrace, RecurrentModel, run_steps
from dact.models.halting.policy import Halted, HaltingPolicy, Step
from dact.models.halting.pondernet import PonderNet, PonderNetState
from dact.models.halting.step_loss import StepLoss, StepLossState
from dact.models.layers import Gate
from dact.models.rows import Shared

__all__ = [
    "ACT",
    "DACT",
    "MIN_PROBABILITY",
    "ACTState",
    "Bound",
    "DACTState",
    "FixedState",
    "FixedSteps",
    "Gate",
    "Halted",
    "HaltingPolicy",
    "LoopTrace",
    "PonderNet",
    "PonderNetState",
    "RecurrentModel",
    "Shared",
    "Step",
    "StepLoss",
    "StepLossState",
    "make_bound",
    "run_steps",
]
