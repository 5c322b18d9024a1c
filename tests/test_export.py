"""Networks with halting policies, exported and traced for batches of any size."""

import pytest
import torch
from torch import nn

from dact.models.halting import ACT, DACT, FixedSteps, Gate, PonderNet, Step, run_steps

POLICIES = {
    "fixed": lambda: FixedSteps(4),
    "dact": lambda: DACT(Gate(7), 4),
    "act": lambda: ACT(Gate(7), 4),
    "pondernet": lambda: PonderNet(Gate(7), 4),
}


class Recurrent(nn.Module):
    """A recurrent network (B, 3) → answers (B, 5) and steps (B,)."""

    def __init__(self, policy, early_exit):
        super().__init__()
        self.cell, self.out = nn.GRUCell(3, 7), nn.Linear(7, 5)
        self.policy, self.early_exit = policy, early_exit

    def initial_state(self, inputs):
        return inputs.new_zeros(inputs.shape[0], 7)

    def step(self, state, inputs, n):
        state = self.cell(inputs, state)
        return state, Step(self.out(state), state)

    def forward(self, inputs):
        halted, _ = run_steps(self, self.policy, inputs, early_exit=self.early_exit)
        return halted.log_probs, halted.steps


@pytest.mark.slow
@pytest.mark.parametrize("policy", POLICIES)
def test_an_exported_network_answers_batches_of_any_size(policy):
    network = Recurrent(POLICIES[policy](), "never").eval()
    sizes = {"inputs": {0: torch.export.Dim("examples", min=2, max=64)}}
    exported = torch.export.export(network, (torch.randn(8, 3),), dynamic_shapes=sizes).module()
    for size in (2, 11):
        inputs = torch.randn(size, 3)
        answers, steps = exported(inputs)
        wanted, wanted_steps = network(inputs)
        torch.testing.assert_close(answers, wanted)
        assert steps.equal(wanted_steps)


@pytest.mark.filterwarnings("ignore:.*torch.jit.trace.*:FutureWarning")
@pytest.mark.parametrize("early_exit", ["example", "batch"])
def test_an_early_exit_is_not_traced(early_exit):
    network = Recurrent(POLICIES["dact"](), early_exit).eval()
    with pytest.raises(ValueError, match=r"cannot be traced.*early_exit=never"):
        torch.jit.trace(network, torch.randn(8, 3))


@pytest.mark.filterwarnings("ignore:.*torch.jit.*:FutureWarning")
def test_a_network_that_never_halts_is_traced_with_any_exit():
    network = Recurrent(POLICIES["fixed"](), "example").eval()
    traced = torch.jit.trace(network, torch.randn(8, 3))
    inputs = torch.randn(11, 3)
    torch.testing.assert_close(traced(inputs)[0], network(inputs)[0])
