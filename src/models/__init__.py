"""Networks, halting policies and the mathematics they are made of."""

from dact.models.factory import build_network
from dact.models.halting import (
    ACT,
    DACT,
    FixedSteps,
    Halted,
    HaltingPolicy,
    PonderNet,
    Step,
    run_steps,
)
from dact.models.network import MACNetwork, Trace, VQAOutput
from dact.options import DropoutOptions, GateOptions, NetworkOptions, PonderOptions

__all__ = [
    "ACT",
    "DACT",
    "DropoutOptions",
    "FixedSteps",
    "GateOptions",
    "Halted",
    "HaltingPolicy",
    "MACNetwork",
    "NetworkOptions",
    "PonderNet",
    "PonderOptions",
    "Step",
    "Trace",
    "VQAOutput",
    "build_network",
    "run_steps",
]
