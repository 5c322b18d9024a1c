"""A number of steps instead of a price: in training, and in evaluation."""

from types import SimpleNamespace

import pytest
import torch
from conftest import json_lines
from test_resume import assert_same
from test_stopping import PARTS, stopped

from dact import checkpoint
from dact.callbacks import PonderBudget
from dact.errors import UserError
from dact.metrics import Agreement
from dact.models import VQAOutput


def adapted(budget, steps, *, rates, start=0.01):
    """τ after each of some batches of these mean steps."""
    module = SimpleNamespace(ponder_cost=start)
    group = {"lr": 0.0}
    optimizer = SimpleNamespace(param_groups=[group])
    trainer = SimpleNamespace(world_size=1, optimizers=[optimizer])
    budget.on_train_start(trainer, module)
    found = [module.ponder_cost]
    for mean, group["lr"] in zip(steps, rates, strict=True):
        outputs = {"steps": torch.tensor(mean)}
        budget.on_train_batch_end(trainer, module, outputs, None, 0)
        found.append(module.ponder_cost)
    return found


def test_the_weight_by_hand():
    """I = .01, then + 2 · .1 · 1 = .21, then + 2 · .2 · (-.5) = .01; τ = I + .5 e."""
    found = adapted(PonderBudget(3, rate=2.0, gain=0.5), [4.0, 2.5], rates=[0.1, 0.2])
    assert found == pytest.approx([0.01, 0.21 + 0.5, 0.01 - 0.25])


def test_a_weight_on_target_stays_as_it_is():
    found = adapted(PonderBudget(2.5, rate=2.0, gain=0.5), [2.5] * 3, rates=[1.0] * 3)
    assert found == [0.01] * 4


def test_a_budget_goes_on_where_it_was():
    steps, rates = [4.0, 2.0, 3.5, 1.5], [0.1, 0.2, 0.3, 0.4]
    whole = adapted(PonderBudget(3, rate=2.0, gain=0.5), steps, rates=rates)
    before, after = (PonderBudget(3, rate=2.0, gain=0.5) for _ in range(2))
    adapted(before, steps[:2], rates=rates[:2])
    after.load_state_dict(before.state_dict())
    assert adapted(after, steps[2:], rates=rates[2:], start=7.0) == whole[2:]


@pytest.mark.slow
def test_more_steps_than_wanted_become_fewer_and_fewer_become_more(program):
    """On the training set: the halting unit follows whichever way τ goes."""
    typed = ("model=dact", "ponder=budget", "warm_start=none", "trainer.max_epochs=12")
    typed += (
        "optimizer.learning_rate=0.02",
        "optimizer.ema_decay=0",
        "optimizer.schedule=constant",
    )
    taken = {}
    for target in (1.3, 2.7):
        finished = program(*typed, f"ponder.target_steps={target}", "ponder.target_gain=0.2")
        rows = [float(row["train/steps"]) for row in finished.metrics if row["train/steps"]]
        taken[target] = sum(rows[-8:]) / 8
        weights = [float(r["train/ponder_weight"]) for r in finished.metrics if r["train/steps"]]
        assert len(set(weights)) > 10
    assert taken[1.3] < 1.8
    assert taken[2.7] > 2.2


@pytest.mark.slow
def test_a_stopped_run_keeps_its_budget(program, tmp_path):
    typed = ("model=dact", "ponder=budget", "ponder.target_steps=2", "warm_start=none")
    typed += ("trainer.max_epochs=2", "optimizer.ema_decay=0.8")
    whole = program(*typed)
    folder = tmp_path / "stopped"
    stopped(program, *typed, step=5, folder=folder)
    resumed = program(*typed, "ckpt_path=last", folder=folder)
    for part in PARTS:
        assert_same(resumed.checkpoint.get(part), whole.checkpoint.get(part), part)
    assert resumed.metrics == whole.metrics
    with pytest.raises(UserError, match=r"ponder\.target_steps=2\.0, not 2\.5: go on with that"):
        program(*typed, "ponder.target_steps=2.5", "ckpt_path=last", folder=folder)


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        (("model=pondernet", "ponder=budget"), "follows its prior: set model.prior"),
        (("model=pondernet", "ponder.target_steps=2"), "follows its prior: set model.prior"),
        (("model=pondernet", "ponder.penalty=exp"), "not for model=pondernet: .* model=act or mod"),
        (("model=pondernet", "ponder.min_penalty=5"), "ponder.min_penalty is not for model=pond"),
        (("model=mac", "ponder.target_steps=2"), "ponder.target_steps is not for model=mac"),
        (("model=dact", "model.prior=0.3"), "model.prior is not for model=dact"),
        (("model=dact", "model.halting_mode=sampled"), "halting_mode is not for model=dact"),
        (("model=dact", "model.halting_eps=0.1"), "needs model.halting_bound=probability"),
        (("model=dact", "model.halting_budget=2"), "needs model.halting_bound=budget"),
        (
            ("model=dact", "ponder=budget", "model.halting_bound=null"),
            r"ponder=budget has no effect with model.halting_bound=null, .* all 3 steps: leave",
        ),
        (
            ("model=dact", "ponder=budget", "model.halting_bound=budget", "model.halting_budget=2"),
            r"target_steps=3 cannot be met: .*bound=budget all questions take at most 2 steps",
        ),
        (
            ("model=dact", "ponder=budget", "ponder.cost=1.5"),
            r"with ponder=budget ponder.cost=1.5 is not possible: .* in 0..1",
        ),
    ],
)
def test_what_has_no_use_is_refused(program, typed, said):
    with pytest.raises(UserError, match=said):
        program(*typed, "warm_start=none")


def test_what_the_network_of_a_checkpoint_has_no_use_for_is_refused(program, evaluate):
    fitted = program("model=act", "warm_start=none")
    for typed in (
        ("model.halting_bound=budget", "model.halting_budget=1"),
        ("model.halting_mode=sampled",),
    ):
        with pytest.raises(UserError, match=r"model\.halting_\w+ is not for model=act"):
            evaluate("mode=validate", f"ckpt_path={fitted.last}", *typed)


def test_a_complete_run_still_says_what_its_budget_came_to(program, tmp_path, capsys):
    typed = ("model=dact", "ponder=budget", "ponder.target_steps=2", "warm_start=none")
    program(*typed, folder=tmp_path / "run")
    said = capsys.readouterr().out.splitlines()[-1]
    assert said.startswith("budget: 2 steps, taken: ")
    program(*typed, "ckpt_path=last", folder=tmp_path / "run")
    assert capsys.readouterr().out.splitlines()[-1] == said


def test_a_target_out_of_reach_does_not_wind_up():
    budget = PonderBudget(3, rate=100.0, gain=0.0)
    assert adapted(budget, [5.0] * 9, rates=[1.0] * 9)[-1] == 1.0
    assert adapted(budget, [1.0] * 9, rates=[1.0] * 9)[-1] == -1.0


# Evaluation.


def output(*answers, steps=1):
    log_probs = torch.eye(4)[list(answers)].log()
    return VQAOutput(log_probs, torch.zeros(len(answers)), torch.full((len(answers),), steps))


def test_agreement_is_a_share_of_questions_whatever_the_batches():
    metric = Agreement()
    metric.update(output(1, 2, 3), output(1, 2, 0))
    metric.update(output(1), output(1))
    assert metric.compute() == 3 / 4


@pytest.mark.slow
@pytest.mark.parametrize(
    "bound",
    [
        ("model.halting_bound=budget", "model.halting_budget=1"),
        ("model.halting_bound=probability", "model.halting_eps=0.9"),
    ],
)
def test_what_a_bound_changes_is_said(evaluate, decided, bound, capsys):
    """Against the answers of a run that halts nobody."""
    typed = ("mode=predict", f"ckpt_path={decided}")
    early = evaluate(*typed, *bound).predictions
    full = evaluate(*typed, "model.halting_bound=null").predictions
    assert {line["steps"] for line in full} == {3}
    same = [a["prediction"] == b["prediction"] for a, b in zip(early, full, strict=True)]
    saved = 3 - sum(line["steps"] for line in early) / len(early)
    capsys.readouterr()
    finished = evaluate("mode=validate", f"ckpt_path={decided}", *bound)
    share = sum(same) / len(same)
    text = f"the same answer to {100 * share:.2f} % of questions, {saved:.2f} steps saved"
    assert f"against all 3 steps: {text}" in capsys.readouterr().out
    assert float(finished.metrics[-1]["val/agreement"]) == pytest.approx(share)


def test_the_budget_of_steps_is_kept_by_all(evaluate, decided):
    typed = ("model.halting_bound=budget", "model.halting_budget=2")
    lines = evaluate("mode=predict", f"ckpt_path={decided}", *typed).predictions
    assert {line["steps"] for line in lines} == {1, 2}


def test_a_budget_that_the_network_cannot_take_is_refused(evaluate, decided):
    """The network of the checkpoint, that is, which has three steps."""
    typed = ("model.halting_bound=budget", "model.halting_budget=4")
    with pytest.raises(UserError, match=r"halting_budget=4 is not possible: .* in 1\.\.3"):
        evaluate("mode=validate", f"ckpt_path={decided}", *typed)


def test_other_bounds_are_compared_on_request(evaluate, decided, capsys):
    evaluate("mode=validate", f"ckpt_path={decided}")
    assert "against all" not in capsys.readouterr().out
    for bound in ("exact", "paper"):
        evaluate("mode=validate", f"ckpt_path={decided}", f"model.halting_bound={bound}")
        assert "the same answer to 100.00 % of questions" in capsys.readouterr().out


# PonderNet.


@pytest.mark.slow
def test_pondernet_from_training_to_predictions(program, evaluate, trained, tmp_path):
    fitted = program("model=pondernet", f"warm_start={trained.mac.last}")
    saved = checkpoint.describe(fitted.checkpoint).config
    assert (saved["model"]["name"], saved["ponder"]["cost"]) == ("pondernet", 1e-2)
    (row,) = fitted.validation()
    assert 1 <= row["val/steps"] <= 3
    assert row["val/ponder_cost"] > 0
    lines = evaluate("mode=predict", f"ckpt_path={fitted.last}").predictions
    assert {line["steps"] for line in lines} <= {1, 2, 3}
    typed = ("mode=predict", f"ckpt_path={fitted.last}", "model.halting_mode=sampled")
    first, again = (evaluate(*typed).folder / "predictions.jsonl" for _ in range(2))
    assert json_lines(first) == json_lines(again)  # by the seed
    assert [line["steps"] for line in json_lines(first)] != [line["steps"] for line in lines]


@pytest.mark.slow
def test_a_stopped_pondernet_goes_on_as_if_it_had_not_been(program, tmp_path):
    typed = ("model=pondernet", "warm_start=none", "trainer.max_epochs=2")
    whole = program(*typed)
    folder = tmp_path / "stopped"
    stopped(program, *typed, step=5, folder=folder)
    resumed = program(*typed, "ckpt_path=last", folder=folder)
    for part in PARTS:
        assert_same(resumed.checkpoint.get(part), whole.checkpoint.get(part), part)
