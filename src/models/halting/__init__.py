"""One recurrence, interchangeable halting policies.

A policy decides when a recurrent model has thought enough and how the answers of its steps become
one. It knows nothing of questions or images: anything that gives, at every step, answer logits and
a vector to decide on (`Step`) can be driven by it, through `run_steps`. This package holds all that
a model of your own needs, `dact.losses` what training minimises; docs/any-model.md says how.

A model has a state and a step:

>>> import torch
>>> from torch import nn
>>> from dact.losses import answer_loss, total_loss
>>> from dact.models.halting import DACT, Gate, Step, run_steps
>>> class Thinker(nn.Module):
...     def __init__(self):
...         super().__init__()
...         self.cell = nn.GRUCell(3, 8)
...         self.answer = nn.Linear(8, 2)
...
...     def initial_state(self, inputs):  # (B, 3) -> (B, 8)
...         return inputs.new_zeros(len(inputs), 8)
...
...     def step(self, state, inputs, n):  # n = 1..N
...         state = self.cell(inputs, state)
...         return state, Step(logits=self.answer(state), halting_input=state)

Training takes all N steps, here 5, and what it minimises is differentiable:

>>> model, policy = Thinker(), DACT(Gate(8), max_steps=5)
>>> inputs, answers = torch.randn(4, 3), torch.tensor([0, 1, 1, 0])
>>> halted, _ = run_steps(model, policy.train(), inputs)
>>> loss = total_loss(answer_loss(halted.log_probs, answers), halted.ponder_cost, weight=5e-3)
>>> loss.backward()
>>> halted.log_probs.shape, halted.ponder_cost.shape
(torch.Size([4, 2]), torch.Size([4]))

In evaluation an example halts as soon as further steps cannot change its top answer:

>>> with torch.no_grad():
...     halted, _ = run_steps(model, policy.eval(), inputs)
>>> bool((halted.steps <= 5).all())
True
"""

from dact.models.halting.act import ACT, ACTState
from dact.models.halting.dact import DACT, MIN_PROBABILITY, Bound, DACTState, make_bound
from dact.models.halting.fixed import FixedState, FixedSteps
from dact.models.halting.loop import LoopTrace, RecurrentModel, run_steps
from dact.models.halting.policy import Halted, HaltingPolicy, Step
from dact.models.halting.pondernet import PonderNet, PonderNetState
from dact.models.layers import Gate

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
    "Step",
    "make_bound",
    "run_steps",
]
