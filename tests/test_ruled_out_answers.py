"""Logits of -inf rule answers out: never NaN, neither in answers nor in gradients."""

import math

import pytest
import torch
from test_early_exit import EXITS
from test_halting import Scripted, both_modes, pass_through, policies, random_script

from dact.losses import answer_loss, total_loss
from dact.models import ACT, DACT, Step, run_steps
from dact.models.layers import Gate

INF = math.inf
STEPS, BATCH, ANSWERS = 6, 11, 4


def masks():
    """(N, B, A) bool by name, True where an answer is ruled out."""
    nothing = torch.zeros(STEPS, BATCH, ANSWERS, dtype=torch.bool)
    for_all, per_example, per_step, one_left = (nothing.clone() for _ in range(4))
    for_all[:, :, 3] = True
    per_example[:, torch.arange(BATCH), torch.arange(BATCH) % 3] = True
    for n in range(STEPS):  # answer 3 is always left, as ACT needs
        per_step[n, :, n % 3] = True
    one_left[:, :, :3] = True
    return {
        "for all": for_all,
        "per example": per_example,
        "per step": per_step,
        "all but one": one_left,
    }


every_policy = pytest.mark.parametrize("name", ["fixed", "act", "dact", "pondernet"])
every_mask = pytest.mark.parametrize("mask", masks().values(), ids=masks())


class Learned(torch.nn.Module):
    """A network whose logits are masked; some examples halt at once."""

    def __init__(self, mask):
        super().__init__()
        self.cell, self.out = torch.nn.GRUCell(3, 8), torch.nn.Linear(8, ANSWERS)
        self.mask = mask

    def initial_state(self, inputs):
        return inputs[:, 1:].new_zeros(len(inputs), 8)

    def step(self, state, inputs, n):
        state = self.cell(inputs[:, 1:].to(state.dtype), state)
        mask = self.mask[n - 1, inputs[:, 0].long()]
        return state, Step(self.out(state).masked_fill(mask, -INF), state)


class Sure(torch.nn.Module):
    """Halts with 1 where the state says so, which leaves a weight of exactly 0 to later steps."""

    def forward(self, state):
        rates = torch.sigmoid(4 * state[:, 0].float())
        return torch.where(state[:, 1] > 0, torch.ones_like(rates), rates)


@every_policy
@every_mask
@both_modes
@pytest.mark.parametrize("precision", ["float32", pytest.param("bfloat16", marks=pytest.mark.slow)])
def test_neither_answers_nor_gradients_are_nan(name, mask, training, precision):
    torch.manual_seed(0)
    inputs = torch.cat([torch.arange(BATCH)[:, None], torch.randn(BATCH, 3)], 1)
    answers = (~mask[-1]).int().argmax(-1)
    answers[0] = mask[-1, 0].int().argmax()  # a right answer that is ruled out
    for exit in EXITS:
        for gate in (lambda: Gate(8), Sure)[name == "fixed" :]:
            model, policy = Learned(mask), policies(STEPS, gate)[name].train(training)
            with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bfloat16"):
                halted, _ = run_steps(model, policy, inputs, early_exit=exit)
                loss = total_loss(answer_loss(halted.log_probs, answers), halted.ponder_cost, 1e-2)
            loss.backward()
            assert not halted.log_probs.isnan().any()
            assert loss.isfinite()
            for parameter in [*model.parameters(), *policy.parameters()]:
                assert parameter.grad is None or parameter.grad.isfinite().all()


@every_policy
@every_mask
@both_modes
def test_every_exit_gives_the_same_and_a_batch_is_its_examples(name, mask, training):
    logits, gates = random_script()
    logits = logits.masked_fill(mask, -INF)
    gates[:, 0] = 1.0
    policy = policies(STEPS)[name].train(training)
    model = Scripted(logits, gates)
    never, _ = run_steps(model, policy, model.rows, early_exit="never")
    for exit in EXITS[:2]:
        for ours, wanted in zip(
            run_steps(model, policy, model.rows, early_exit=exit)[0], never, strict=True
        ):
            torch.testing.assert_close(ours, wanted, rtol=1e-12, atol=1e-12)
    for row in (0, 4):
        alone, _ = run_steps(model, policy, model.rows[row : row + 1])
        for ours, wanted in zip(never, alone, strict=True):
            torch.testing.assert_close(ours[row], wanted[0], rtol=1e-12, atol=1e-12)


@every_policy
@both_modes
def test_an_answer_ruled_out_at_every_step_is_as_good_as_none(name, training):
    logits, gates = random_script()
    policy = policies(STEPS)[name].train(training)
    without = Scripted(logits[..., :3], gates)
    masked = Scripted(logits.index_fill(-1, torch.tensor([3]), -INF), gates)
    wanted, _ = run_steps(without, policy, without.rows)
    ours, _ = run_steps(masked, policy, masked.rows)
    torch.testing.assert_close(ours.log_probs[:, :3], wanted.log_probs)
    assert (ours.log_probs[:, 3].float().exp() <= (1e-8 if name == "dact" else 0)).all()
    assert torch.equal(ours.steps, wanted.steps)


def test_act_rules_out_what_any_of_its_steps_rules_out_and_no_later_one():
    """It halts at step 2 of 3 with weights .4 and .6."""
    logits = torch.tensor([[[1.0, 2, 3]], [[3.0, -INF, 1]], [[-INF, 0, 0]]], dtype=torch.float64)
    model = Scripted(logits, [[0.4], [0.7], [0.5]])
    halted, _ = run_steps(model, ACT(pass_through(), 3), model.rows, early_exit="never")
    wanted = torch.tensor([[0.4 * 1 + 0.6 * 3, -INF, 0.4 * 3 + 0.6 * 1]]).log_softmax(-1)
    torch.testing.assert_close(halted.log_probs, wanted.double(), rtol=1e-6, atol=1e-6)


def test_dact_with_one_answer_left_gives_it():
    logits = torch.full((3, 1, 4), -INF, dtype=torch.float64)
    logits[..., 2] = -7.0
    model = Scripted(logits, [[0.9], [0.9], [0.9]])
    for bound in ("exact", "paper", "probability", None):
        policy = DACT(pass_through(), 3, bound=bound).eval()
        halted, _ = run_steps(model, policy, model.rows)
        assert halted.log_probs.argmax().item() == 2
        assert halted.log_probs[0, 2].item() == pytest.approx(0)


def test_a_right_answer_that_is_ruled_out_costs_a_finite_amount_without_gradient():
    logits = torch.tensor([[0.0, -INF], [0.0, 0.0]], requires_grad=True)
    loss = answer_loss(logits.log_softmax(-1), torch.tensor([1, 1]))
    assert loss.item() == pytest.approx((104 + math.log(2)) / 2)
    loss.backward()
    assert logits.grad.tolist() == [[0, 0], [0.25, -0.25]]


@every_policy
@both_modes
def test_an_example_without_any_answer_is_refused(name, training):
    logits, gates = random_script()
    logits[:, 2] = -INF
    model = Scripted(logits, gates)
    with pytest.raises(ValueError, match=r"every answer is ruled out \(-inf\) in row 2 .* step"):
        run_steps(model, policies(STEPS)[name].train(training), model.rows)


def test_act_refuses_steps_that_rule_out_every_answer_together():
    logits = torch.tensor([[[-INF, 0.0]], [[0.0, -INF]]])
    model = Scripted(logits, [[0.5], [0.5]])
    with pytest.raises(ValueError, match=r"row 0 of the logits of all steps together"):
        run_steps(model, ACT(pass_through(), 2), model.rows)
    halted, _ = run_steps(model, DACT(pass_through(), 2, bound=None), model.rows)
    torch.testing.assert_close(halted.log_probs.exp(), torch.tensor([[0.5, 0.5]]).double())


@pytest.mark.parametrize("name", ["act", "dact", "pondernet"])
def test_what_follows_halting_does_not_matter(name):
    """With `never`, those that have halted take further steps, which may rule out anything."""
    logits, gates = random_script()
    gates[0, :4] = 1.0
    wanted = Scripted(logits, gates)
    wanted = run_steps(wanted, policies(STEPS)[name].eval(), wanted.rows)[0]
    logits = logits.clone()
    logits[1:, :2], logits[1:, 2:4] = -INF, math.nan
    model = Scripted(logits, gates)
    ours = run_steps(model, policies(STEPS)[name].eval(), model.rows, early_exit="never")[0]
    for one, other in zip(ours, wanted, strict=True):
        torch.testing.assert_close(one, other)
