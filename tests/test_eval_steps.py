"""More or fewer steps in evaluation than in training."""

import pytest
import torch
from batches import N
from test_early_exit import SAME, network_of, questions
from test_halting import pass_through, random_script, run

from dact.errors import UserError
from dact.models import ACT, DACT, FixedSteps, PonderNet

NETWORKS = ("mac", "mac_gate", "act", "dact", "pondernet")
BATCH = questions(23, images=7, seed=3)


def with_positions(name, steps):
    """The network of N steps, and one of `steps` whose W_n beyond N are copies of W_N."""
    network, other = network_of(name).eval(), network_of(name, max_steps=steps).eval()
    weights = network.state_dict()
    for n in range(steps):
        for part in ("weight", "bias"):
            own = f"cell.control.positions.{min(n, N - 1)}.{part}"
            weights[f"cell.control.positions.{n}.{part}"] = network.state_dict()[own]
    for n in range(steps, N):
        for part in ("weight", "bias"):
            del weights[f"cell.control.positions.{n}.{part}"]
    other.load_state_dict(weights)
    return network, other


@pytest.mark.parametrize("steps", [1, N - 1, N, N + 1, 2 * N + 1])
@pytest.mark.parametrize("name", NETWORKS)
def test_it_is_a_network_of_so_many_steps_whose_last_position_is_repeated(name, steps):
    network, other = with_positions(name, steps)
    network.eval_steps = steps
    assert network.max_steps == other.max_steps == steps
    found, expected = network(BATCH), other(BATCH)
    torch.testing.assert_close(found.log_probs, expected.log_probs, **SAME)
    torch.testing.assert_close(found.ponder_cost, expected.ponder_cost, **SAME)
    assert found.steps.equal(expected.steps)


@pytest.mark.parametrize("name", NETWORKS)
def test_training_has_its_own_number(name):
    network = network_of(name).train()
    torch.manual_seed(0)
    before = network(BATCH)
    network.eval_steps = 1
    torch.manual_seed(0)
    after = network(BATCH)
    assert after.log_probs.equal(before.log_probs)
    assert after.steps.equal(before.steps)


def test_an_early_answer_is_that_of_all_steps_however_many():
    network = network_of("dact").eval()
    network.eval_steps = 2 * N
    early, full = network(BATCH), network.answer_in_full(BATCH)
    assert full.steps.eq(2 * N).all()
    assert early.steps.lt(2 * N).any()
    assert early.log_probs.argmax(-1).equal(full.log_probs.argmax(-1))


@pytest.mark.parametrize("more", [2, 5, 9])
@pytest.mark.parametrize(
    "build",
    [
        FixedSteps,
        lambda n: ACT(pass_through(), n),
        lambda n: DACT(pass_through(), n),
        lambda n: DACT(pass_through(), n, bound="budget", budget=3),
        lambda n: PonderNet(pass_through(), n, prior=0.4),
    ],
    ids=["fixed", "act", "dact", "dact with a budget", "pondernet"],
)
def test_a_policy_with_other_steps_is_the_policy_of_those_steps(build, more):
    if more < 3 and getattr(build(5), "bound", None) is not None:
        expected = DACT(pass_through(), more)
    else:
        expected = build(more)
    before = build(5)
    logits, gates = random_script(more)
    found = run(before.with_steps(more), logits, gates, training=False)
    wanted = run(expected, logits, gates, training=False)
    assert all(a.equal(b) for a, b in zip(found, wanted, strict=True))
    assert before.max_steps == 5


def test_the_number_is_an_option_of_evaluations(evaluate, trained):
    for steps in (1, 7):
        found = evaluate(
            "mode=validate", f"ckpt_path={trained.mac.last}", f"model.eval_steps={steps}"
        )
        assert {float(row["val/steps"]) for row in found.metrics} == {steps}
    with pytest.raises(UserError, match=r"model.eval_steps=0 is not possible"):
        evaluate("mode=validate", f"ckpt_path={trained.mac.last}", "model.eval_steps=0")
