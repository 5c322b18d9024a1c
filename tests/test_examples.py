"""The examples of docs/any-model.md: small in the default suite, at full size with `slow`."""

import importlib.util
import random
import re
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from torch import nn

from dact.losses import answer_loss, total_loss
from dact.models.halting import DACT, FixedSteps, Gate, run_steps

PAGE = Path(__file__).parents[1] / "docs" / "any-model.md"
FOLDER = PAGE.parent / "examples"


def load(name):
    """An example; it is not part of the package."""
    spec = importlib.util.spec_from_file_location(f"example_{name}", FOLDER / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


parity, encoder = load("parity"), load("encoder")


@pytest.fixture(autouse=True)
def _one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def vectors(count=400, size=6, seed=1):
    return parity.batch(size, count, torch.Generator().manual_seed(seed))


def sentences(count=400, seed=1):
    return encoder.batch(count, random.Random(seed))


def decided(policy):
    """The same policy with a halting unit that separates the examples from each other."""
    if hasattr(policy, "halting"):
        nn.init.normal_(policy.halting.linears[0].weight, std=2.0)
    return policy.eval()


@pytest.fixture(params=[(which, name) for which in "pe" for name in parity.POLICIES])
def untrained(request):
    """An example, its model that has learned nothing, a policy and 400 inputs."""
    torch.manual_seed(0)
    which, name = request.param
    if which == "p":
        example, model, (inputs, _, _) = parity, parity.Thinker(6), vectors()
    else:
        example, model, (inputs, _, _) = encoder, encoder.Encoder(4), sentences()
    return example, model.eval(), decided(example.POLICIES[name](4)), inputs


def test_leaving_early_changes_no_answer(untrained):
    example, model, policy, inputs = untrained
    early, whole = (example.answer(model, policy, inputs, how) for how in ("example", "never"))
    torch.testing.assert_close(early.log_probs, whole.log_probs, rtol=0, atol=1e-5)
    torch.testing.assert_close(early.ponder_cost, whole.ponder_cost, rtol=0, atol=1e-5)
    assert torch.equal(early.log_probs.argmax(1), whole.log_probs.argmax(1))
    assert torch.equal(early.steps, whole.steps)
    if not isinstance(policy, FixedSteps):
        assert early.steps.unique().numel() > 1


def test_others_in_the_batch_change_no_answer(untrained):
    example, model, policy, inputs = untrained
    together = example.answer(model, policy, inputs)
    for row in range(0, 400, 50):
        words = inputs[row : row + 1]
        if example is encoder:
            words = words[:, : int((words != 0).sum())]  # alone there is nothing to pad
        alone = example.answer(model, policy, words)
        for mine, all_of_them in zip(alone, together, strict=True):
            torch.testing.assert_close(mine[0], all_of_them[row], rtol=0, atol=1e-5)


def test_halting_at_once_gives_the_final_answer_of_dact():
    """What DACT promises: an early answer is the one that all steps would give."""
    torch.manual_seed(0)
    model, gate = parity.Thinker(6).eval(), Gate(parity.WIDTH)
    nn.init.normal_(gate.linears[0].weight, std=2.0)
    inputs, _, _ = vectors()
    early, whole = (
        parity.answer(model, DACT(gate, 6, bound=bound).eval(), inputs) for bound in ("exact", None)
    )
    assert torch.equal(early.log_probs.argmax(1), whole.log_probs.argmax(1))
    assert early.steps.double().mean() < 6


def test_questions_of_parity():
    inputs, answers, nonzero = vectors(2000)
    assert inputs.unique().tolist() == [-1, 0, 1]
    assert torch.equal(inputs.abs().sum(1), nonzero.float())
    assert sorted(nonzero.unique().tolist()) == list(range(1, 7))
    assert torch.equal(answers, (inputs == 1).sum(1) % 2)
    assert 0.45 < answers.double().mean() < 0.55


def test_sentences_can_be_answered():
    chance = random.Random(0)
    kinds = set()
    for _ in range(200):
        words, answer, lookups = encoder.sentence(chance)
        text = " ".join(words)
        assert text.count("friend") == lookups
        assert len(words) <= encoder.LONGEST
        friends = dict(re.findall(r"(\w+) likes (\w+)", text))
        name = words[2]
        for _ in range(lookups):
            name = friends[name]
        assert name == answer
        kinds.add(lookups)
    assert kinds == {0, 1, 2}


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(parity.POLICIES))
def test_parity_is_learned_a_little(name):
    model, policy = parity.train(name, ponder=1e-2, size=3, steps=3, seed=0, updates=400)
    inputs, answers, _ = vectors(size=3)
    halted = parity.answer(model, policy, inputs)
    assert (halted.log_probs.argmax(1) == answers).double().mean() > 0.75
    assert 1 <= halted.steps.min() <= halted.steps.max() <= 3


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(encoder.POLICIES))
def test_the_encoder_learns_a_little(name):
    model, policy = encoder.train(name, ponder=1e-2, layers=2, seed=0, updates=150)
    tokens, answers, _ = sentences()
    halted = encoder.answer(model, policy, tokens)
    assert (halted.log_probs.argmax(1) == answers).double().mean() > 0.45
    assert 1 <= halted.steps.min() <= halted.steps.max() <= 2


def test_the_same_seed_gives_the_same_network():
    options = {"ponder": 1e-2, "size": 3, "steps": 3, "seed": 4, "updates": 20}
    first, second = (parity.train("dact", **options)[0].state_dict() for _ in range(2))
    assert all(torch.equal(first[name], second[name]) for name in first)
    options = {"ponder": 1e-2, "layers": 2, "seed": 4, "updates": 6}
    first, second = (encoder.train("dact", **options)[0].state_dict() for _ in range(2))
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_training_reaches_every_parameter():
    torch.manual_seed(0)
    for example, model, batch in (
        (parity, parity.Thinker(6), vectors(50)),
        (encoder, encoder.Encoder(4), sentences(50)),
    ):
        policy = example.POLICIES["dact"](4)
        inputs, answers, _ = batch
        example.loss(model, policy, inputs, answers, 1e-2).backward()
        for parameter in [*model.parameters(), *policy.parameters()]:
            assert parameter.grad.isfinite().all()
            assert parameter.grad.ne(0).any()


def test_the_code_on_the_page_runs():
    [code] = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    names = {}
    exec(code, names)
    assert names["halted"].log_probs.shape == (64, 2)
    assert names["halted"].steps.min() >= 1
    assert names["halted"].steps.max() <= 8
    assert all(parameter.grad is not None for parameter in names["policy"].parameters())


@pytest.mark.parametrize("name", ["fixed", "dact", "pondernet"])
@pytest.mark.parametrize("example", [parity, encoder])
def test_the_loss_of_every_step_is_that_of_its_own_answer(example, name):
    """Whatever the policy makes of them: PonderNet's sums in training are no answers."""
    torch.manual_seed(0)
    if example is parity:
        model, (inputs, answers, _) = parity.Thinker(6), vectors(50)
    else:
        model, (inputs, answers, _) = encoder.Encoder(4), sentences(50)
    policy = decided(example.POLICIES[name](4)).train()
    _, trace = run_steps(model, FixedSteps(4), inputs, trace=True)
    alone = [answer_loss(log_probs, answers) for log_probs in trace.log_probs.unbind(1)]
    halted, _ = run_steps(model, policy, inputs)
    without = total_loss(answer_loss(halted.log_probs, answers), halted.ponder_cost, 1e-2)
    added = example.loss(model, policy, inputs, answers, 1e-2) - without
    torch.testing.assert_close(added, torch.stack(alone).mean(), rtol=0, atol=1e-5)


# --- What the page says -----------------------------------------------------------------------


def printed(name, *arguments):
    """The table that an example prints: a row of numbers for each difficulty, and the rest."""
    command = [sys.executable, str(FOLDER / f"{name}.py"), *arguments]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    lines = text.splitlines()[1:]
    rows = [line.replace("%", "").split() for line in lines if "%" in line]
    return {label: [float(entry) for entry in entries] for label, *entries in rows}, lines[-1]


@pytest.mark.slow
def test_parity_as_the_page_says():
    table, _ = printed("parity")
    accuracy, _, one_step = table["all"]
    assert accuracy > 97
    assert one_step < 75
    steps = [table[str(nonzero)][1] for nonzero in range(1, 9)]
    assert steps[-1] > steps[0] + 0.5
    assert all(later > earlier - 0.1 for earlier, later in pairwise(steps))


@pytest.mark.slow
def test_the_encoder_as_the_page_says():
    table, last = printed("encoder")
    accuracy, layers, fixed, single = table["all"]
    assert accuracy > fixed - 3
    assert accuracy > single + 5
    assert layers < 3
    assert table["0"][1] + 0.3 < table["1"][1] < table["2"][1] - 0.3
    assert float(re.search(r"([\d.]+) times as fast", last)[1]) > 1.3
