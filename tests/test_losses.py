"""What training minimises."""

import math

import pytest
import torch

from dact.batch import NO_ANSWER
from dact.losses import answer_loss, total_loss
from dact.models import DACT, Step
from dact.models.layers import Gate


def log_probs(*rows):
    return torch.tensor(rows).log().requires_grad_()


def test_answer_loss_by_hand():
    predicted = log_probs([0.5, 0.25, 0.25], [0.125, 0.75, 0.125])
    loss = answer_loss(predicted, torch.tensor([1, 0]))
    assert loss.item() == pytest.approx((math.log(4) + math.log(8)) / 2)
    loss.backward()
    assert predicted.grad.tolist() == [[0, -0.5, 0], [-0.5, 0, 0]]


def test_questions_without_an_answer_do_not_count():
    predicted = log_probs([0.5, 0.5], [0.25, 0.75], [0.9, 0.1])
    loss = answer_loss(predicted, torch.tensor([NO_ANSWER, 0, NO_ANSWER]))
    assert loss.item() == pytest.approx(math.log(4))
    loss.backward()
    assert predicted.grad.tolist() == [[0, 0], [-1, 0], [0, 0]]


def test_a_batch_without_answers_costs_nothing():
    predicted = log_probs([0.5, 0.5])
    loss = answer_loss(predicted, torch.tensor([NO_ANSWER]))
    loss.backward()
    assert loss.item() == 0
    assert predicted.grad.eq(0).all()


def test_total_loss_by_hand():
    cost = torch.tensor([1.0, 3.0, 2.0], requires_grad=True)
    loss = total_loss(torch.tensor(0.5), cost, 0.25)
    assert loss.item() == 1.0
    loss.backward()
    assert cost.grad.tolist() == pytest.approx([0.25 / 3] * 3)


def dact_log_probs(logits):
    policy = DACT(Gate(1), max_steps=1)
    step = Step(logits, torch.zeros(len(logits), 1))
    return policy.finish(policy.update(policy.start(step), step, 1)).log_probs


def test_below_the_clamp_there_is_no_gradient():
    logits = torch.tensor([[0.0, 30.0], [0.0, 2.0]], requires_grad=True)
    predicted = dact_log_probs(logits)
    assert predicted[0, 0].item() == pytest.approx(math.log(1e-8))
    answer_loss(predicted, torch.tensor([0, 0])).backward()
    assert logits.grad[0].tolist() == [0, 0]
    right = math.exp(2) / (1 + math.exp(2)) / 2
    assert logits.grad[1].tolist() == pytest.approx([-right, right])


def test_impossible_answers_cost_a_finite_amount():
    loss = answer_loss(dact_log_probs(torch.tensor([[-1e4, 1e4]])), torch.tensor([0]))
    assert loss.item() == pytest.approx(8 * math.log(10))
