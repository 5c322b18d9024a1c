"""A share of the answer loss on the answers of single steps."""

import pytest
import torch
from test_halting import CLOSE, pass_through, random_script, run

from dact.models import ACT, DACT, FixedSteps, PonderNet
from dact.models.halting import StepLoss

STEPS = 6
POLICIES = {
    "fixed": lambda: FixedSteps(STEPS),
    "dact": lambda: DACT(pass_through(), STEPS),
    "dact that lets go": lambda: DACT(pass_through(), STEPS, train_eps=0.3),
    "act": lambda: ACT(pass_through(), STEPS),
    "pondernet": lambda: PonderNet(pass_through(), STEPS),
}


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("name", POLICIES)
def test_each_step_has_its_share_of_the_loss(name, share):
    logits, gates = random_script(STEPS)
    usual = run(POLICIES[name](), logits, gates, training=True, early_exit="never")
    policy = POLICIES[name]().train()
    halted = run(Trained(policy, share), logits, gates, training=True)
    single = torch.stack([step.softmax(-1) for step in logits]).mean(0).log()
    expected = (1 - share) * usual.log_probs + share * single
    torch.testing.assert_close(halted.log_probs, expected, **CLOSE)
    torch.testing.assert_close(halted.ponder_cost, usual.ponder_cost, **CLOSE)
    assert halted.steps.equal(usual.steps)


class Trained(StepLoss):
    """Can be told to train, as `run` does."""

    def train(self, mode):
        assert mode
        return self


@pytest.mark.parametrize("share", [0.3, 1.0])
@pytest.mark.parametrize("name", POLICIES)
def test_answers_that_are_ruled_out_leave_no_nan(name, share):
    logits, gates = random_script(STEPS)
    logits[:, :, 0] = -torch.inf
    logits[2, :, 1] = -torch.inf
    logits.requires_grad_()
    halted = run(Trained(POLICIES[name]().train(), share), logits, gates, training=True)
    (-halted.log_probs[:, 2].sum() + halted.ponder_cost.sum()).backward()
    assert halted.log_probs.isfinite().all()
    assert logits.grad.isfinite().all()


def test_a_step_that_can_answer_learns_most():
    """Its share of the gradient is its share of the steps' probabilities of the right answer."""
    logits, gates = random_script(STEPS)
    logits.requires_grad_()
    run(Trained(FixedSteps(STEPS).train(), 1.0), logits, gates, training=True).log_probs[
        :, 1
    ].sum().backward()
    right = logits.detach().softmax(-1)[:, :, 1]
    torch.testing.assert_close(logits.grad[:, :, 1], right / right.sum(0) * (1 - right), **CLOSE)


@pytest.mark.parametrize("share", [0.0, 0.5])
def test_with_it_alone_the_first_step_learns_where_the_unit_goes_on(share):
    logits, gates = random_script(STEPS)
    logits.requires_grad_()
    policy = Trained(DACT(pass_through(), STEPS).train(), share)
    run(policy, logits, torch.zeros_like(gates), training=True).log_probs[:, 0].sum().backward()
    assert bool(logits.grad[0].abs().sum() > 0) == (share > 0)
    assert logits.grad[-1].abs().sum() > 0


@pytest.mark.parametrize("model", ["mac", "act", "dact", "pondernet"])
def test_every_network_trains_with_it(program, model):
    fitted = program(f"model={model}", "model.step_loss=0.3", "trainer.max_epochs=1")
    assert fitted.checkpoint["dact"]["config"]["model"]["step_loss"] == 0.3
