"""Optimizer, schedules and the weight average, each against the same thing worked out by hand."""

import itertools
from types import SimpleNamespace

import pytest
import torch
from batches import make_network, make_options

from dact import checkpoint
from dact.lit_module import VQALitModule
from dact.schedules import trapezoid

TYPES = ["count", "exist"]


def make_module(name="dact", **options):
    network = make_network(make_options(name))
    module = VQALitModule(network, ponder_cost=1e-2, type_names=TYPES, **options)
    module.trainer = SimpleNamespace(precision="32-true")
    return module


def optimizer_of(module):
    configured = module.configure_optimizers()
    return configured["optimizer"] if isinstance(configured, dict) else configured


# The gate's own learning rate.


@pytest.mark.parametrize("name", ["mac_gate", "act", "dact"])
def test_the_gate_rate_selects_exactly_the_gate(name):
    module = make_module(name, schedule="constant", learning_rate=1e-3, gate_learning_rate=0.5)
    own, gate = optimizer_of(module).param_groups
    assert (own["lr"], gate["lr"]) == (1e-3, 0.5)
    names = {id(parameter): key for key, parameter in module.named_parameters()}
    found = {names[id(parameter)] for parameter in gate["params"]}
    part = "memory_gate" if name == "mac_gate" else "policy.halting"
    assert found == {key for key in names.values() if part in key}
    assert found
    assert len(own["params"]) + len(gate["params"]) == len(names)


def test_without_a_gate_or_a_rate_of_its_own_there_is_one_group():
    for module in (
        make_module("mac", schedule="constant", gate_learning_rate=0.5),
        make_module("dact", schedule="constant"),
    ):
        (group,) = optimizer_of(module).param_groups
        assert len(group["params"]) == len(list(module.parameters()))


def test_the_gate_moves_at_its_own_rate(program):
    rates = ("optimizer.learning_rate=0", "optimizer.gate_learning_rate=1e-2")
    typed = ("model=dact", "warm_start=none", *rates, "optimizer.schedule=constant")
    finished = program(*typed, "trainer.max_epochs=2", "keep_checkpoints=-1")
    first, last = (
        checkpoint.load(path)["current_model_state"]
        for path in sorted(finished.last.parent.glob("epoch*"))
    )
    moved = {name for name in first if not torch.equal(first[name], last[name])}
    assert moved == {name for name in first if "policy.halting" in name}


# Mixed precision.


def test_a_run_goes_on_in_another_precision(program, tmp_path):
    folder = tmp_path / "run"
    typed = ("model=dact", "warm_start=none", "logger=none")
    for epochs, precision in enumerate(["32-true", "bf16-mixed", "32-true"], start=1):
        last = ["ckpt_path=last"] if epochs > 1 else []
        limits = (f"trainer.precision={precision}", f"trainer.max_epochs={epochs}")
        saved = program(*typed, *limits, *last, folder=folder).checkpoint
        parts = [saved["state_dict"].values(), saved["current_model_state"].values()]
        moments = [
            moment
            for state in saved["optimizer_states"][0]["state"].values()
            for moment in (state["exp_avg"], state["exp_avg_sq"])
        ]
        for values in (*parts, moments):
            assert all(v.dtype == torch.float32 and v.isfinite().all() for v in values)
        (group,) = saved["optimizer_states"][0]["param_groups"]
        assert bool(group["fused"]) == (precision == "32-true")


# Schedules.


def factors(total, **shares):
    """What the trapezoid multiplies the rate by, at each of `total` steps and after them."""
    return [trapezoid(step, total, **shares) for step in range(total + 1)]


@pytest.mark.parametrize("total", [1, 2, 7, 100, 1001])
@pytest.mark.parametrize(("warmup", "decay"), [(0.05, 0.5), (0.1, 0.2), (0, 0), (0, 1), (1, 0)])
def test_the_trapezoid_rises_holds_and_falls(total, warmup, decay):
    values = factors(total, warmup=warmup, decay=decay)
    assert all(0 < value <= 1 for value in values[:-1])
    assert values[-1] == 0
    changes = [round(after - before, 9) for before, after in itertools.pairwise(values)]
    signs = [(change > 0) - (change < 0) for change in changes]
    assert signs == sorted(signs, reverse=True)


def test_the_trapezoid_by_hand():
    values = factors(20, warmup=0.2, decay=0.5)
    rising, falling = [0.25, 0.5, 0.75, 1], [1 - n / 10 for n in range(11)]
    assert values == pytest.approx([*rising, *[1] * 6, *falling])


def test_a_run_follows_the_trapezoid(program):
    finished = program(
        "model=mac",
        "optimizer.schedule=trapezoid",
        "optimizer.decay=0.5",
        "optimizer.learning_rate=0.01",
        "trainer.max_epochs=4",
        "keep_checkpoints=-1",
    )
    values = factors(4 * 8, warmup=0.05, decay=0.5)
    assert rates(finished) == pytest.approx([0.01 * values[8 * epoch] for epoch in (1, 2, 3, 4)])


def rates(finished):
    """Learning rate at the end of each epoch."""
    paths = sorted(finished.last.parent.glob("epoch*"))
    states = [checkpoint.load(path)["optimizer_states"][0] for path in paths]
    return [state["param_groups"][0]["lr"] for state in states]


def halved(rate, accuracies):
    """The plateau schedule by hand: halved whenever the best is not beaten by 0.1 %."""
    found, best = [], None
    for accuracy in accuracies:
        if best is None or accuracy > best * 1.001:
            best = accuracy
        else:
            rate /= 2
        found.append(rate)
    return found


def test_the_plateau_schedule_halves_the_rate_when_accuracy_stalls(program):
    finished = program(
        "model=mac",
        "optimizer.schedule=plateau",
        "optimizer.learning_rate=0.01",
        "optimizer.ema_decay=0.5",
        "trainer.max_epochs=7",
        "keep_checkpoints=-1",
    )
    accuracies = [row["val/accuracy"] for row in finished.validation()]
    found = rates(finished)
    assert found == pytest.approx(halved(0.01, accuracies))
    assert 0.01 in found
    assert found[-1] < 0.01


def test_a_constant_rate_stays(program):
    schedule = ("optimizer.schedule=constant", "optimizer.learning_rate=0.01")
    finished = program("model=mac", *schedule, "trainer.max_epochs=3", "keep_checkpoints=-1")
    assert rates(finished) == [0.01] * 3


# The weight average.


def test_the_saved_weights_are_the_average_by_hand(program):
    finished = program(
        "model=dact",
        "warm_start=none",
        "optimizer.ema_decay=0.7",
        "checkpoint_every=1",
        "keep_checkpoints=-1",
    )
    paths = sorted(finished.last.parent.glob("epoch*"))
    assert len(paths) == 8
    average = None
    for path in paths:
        saved = checkpoint.load(path)
        raw = saved["current_model_state"]
        average = {
            name: value if average is None else 0.7 * average[name] + 0.3 * value
            for name, value in raw.items()
        }
        assert set(saved["state_dict"]) == set(raw)
        for name, value in saved["state_dict"].items():
            torch.testing.assert_close(value, average[name], rtol=1e-5, atol=1e-7)
    assert any(not torch.equal(average[name], raw[name]) for name in raw)


def test_validate_test_and_predict_give_the_numbers_of_the_fit(trained, evaluate):
    ckpt_path = f"ckpt_path={trained.dact.last}"
    (*_, fitted) = trained.dact.validation()
    validated = evaluate("mode=validate", ckpt_path, "data.eval_batch_size=5")
    tested = evaluate("mode=test", ckpt_path, "data.split=val")
    predicted = evaluate("mode=predict", ckpt_path).predictions
    right = [line["prediction"] == line["answer"] for line in predicted]
    assert validated.value == trained.dact.value == fitted["val/accuracy"]
    assert tested.value == validated.value == sum(right) / len(right)
    (row,) = validated.validation()
    same = {name: value for name, value in fitted.items() if name.startswith("val/")}
    assert {name: row[name] for name in same} == pytest.approx(same, rel=1e-5)
    steps = [line["steps"] for line in predicted]
    assert sum(steps) / len(steps) == pytest.approx(fitted["val/steps"], abs=1e-6)


def test_evaluation_uses_the_average_and_not_the_raw_weights(trained, evaluate, tmp_path):
    saved = trained.dact.checkpoint
    nll = evaluate("mode=validate", f"ckpt_path={trained.dact.last}").validation()[0]["val/nll"]
    saved["state_dict"] = saved["current_model_state"]
    torch.save(saved, tmp_path / "raw.ckpt")
    raw = evaluate("mode=validate", f"ckpt_path={tmp_path / 'raw.ckpt'}").validation()[0]["val/nll"]
    (*_, fitted) = trained.dact.validation()
    assert nll == pytest.approx(fitted["val/nll"], rel=1e-5)
    assert raw != pytest.approx(fitted["val/nll"], rel=1e-4)


# Randomness.


def test_masks_depend_on_the_place_alone():
    module = make_module(seed=3)
    module._trainer = SimpleNamespace(current_epoch=2, global_rank=0, global_step=9)
    drawn = {}
    for batch in (0, 1, 0):
        torch.rand(5)
        module.on_train_batch_start(None, batch)
        drawn.setdefault(batch, []).append(torch.rand(4).tolist())
    assert drawn[0][0] == drawn[0][1] != drawn[1][0]
    other = make_module(seed=4)
    for epoch, rank in ((2, 0), (3, 0), (2, 1)):
        other._trainer = SimpleNamespace(current_epoch=epoch, global_rank=rank, global_step=9)
        other.on_train_batch_start(None, 0)
        drawn[epoch, rank] = torch.rand(4).tolist()
    assert len({str(value) for value in drawn.values()}) == len(drawn)
