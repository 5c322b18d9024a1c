"""Halting saves work and changes nothing: neither answers, nor costs, nor steps, nor gradients."""

from itertools import pairwise
from typing import NamedTuple

import pytest
import torch
from batches import A, N, make_network, make_options
from hypothesis import given, settings
from hypothesis import strategies as st
from test_halting import Counter, Scripted, pass_through, policies, random_script

from dact.batch import PADDING, VQABatch
from dact.models import ACT, DACT, run_steps
from dact.models.layers import Gate
from dact.models.rows import join_rows, take_rows
from dact.options import NetworkOptions, PonderOptions

EXITS = ("example", "batch", "never")
SAME = {"rtol": 1e-12, "atol": 1e-12}


def questions(count, *, images, seed=0, words=7, objects=5, features=13):
    """`count` questions about `images` images, in any order."""
    generator = torch.Generator().manual_seed(seed)

    def integers(low, high, *shape):
        return torch.randint(low, high, shape, generator=generator)

    lengths = integers(1, words + 1, count)
    tokens = integers(1, 29, count, words)
    tokens[torch.arange(words) >= lengths.unsqueeze(1)] = PADDING
    zeros = torch.zeros(count, dtype=torch.int64)
    return VQABatch(
        tokens=tokens,
        lengths=lengths,
        features=torch.randn(images, objects, features, generator=generator, dtype=torch.float64),
        num_cells=integers(1, objects + 1, images),
        image_index=integers(0, images, count),
        answers=integers(0, A, count),
        question_types=zeros,
        program_lengths=zeros,
        reads_needed=zeros,
        positions=torch.arange(count),
    )


def network_of(name, **changes):
    """Gates wide awake, so that examples halt at different steps."""
    network = make_network(make_options(name, **changes), grid=False, ponder=PonderOptions())
    if network.gate is not None:
        with torch.no_grad():
            network.gate.linears[0].weight.mul_(4)
    return network


# Leaving the batch.


@given(
    name=st.sampled_from(["mac", "mac_gate", "act", "dact", "pondernet"]),
    bound=st.sampled_from(["exact", "paper", "probability", "budget", None]),
    bias=st.sampled_from([-30.0, -1.0, 0.0, 1.0, 3.0, 30.0]),
    self_attention=st.booleans(),
    count=st.integers(1, 23),
    images=st.integers(1, 5),
    seed=st.integers(0, 10),
)
@settings(max_examples=60, deadline=None, derandomize=True)
@torch.no_grad()
def test_every_exit_gives_the_same(name, bound, bias, self_attention, count, images, seed):
    network = network_of(
        name,
        halting_bound=bound,
        halting_budget=2,
        gate={"bias": bias},
        self_attention=self_attention,
    ).eval()
    batch = questions(count, images=images, seed=seed)
    answers = {}
    for network.halting_exit in EXITS:
        answers[network.halting_exit] = network(batch)
    for exit in EXITS[:2]:
        for ours, wanted in zip(answers[exit][:3], answers["never"][:3], strict=True):
            torch.testing.assert_close(ours, wanted, **SAME)
    if name == "dact" and bound and bias == 30:
        assert answers["example"].steps.tolist() == [1] * count
    if name == "dact" and bias == -30:
        assert answers["example"].steps.tolist() == [2 if bound == "budget" else N] * count


class Counting(Counter):
    """Counts the rows of each step."""

    def __init__(self):
        super().__init__()
        self.rows = []

    def step(self, state, inputs, n):
        self.rows.append(len(inputs))
        return super().step(state, inputs, n)


@torch.no_grad()
@pytest.mark.parametrize("name", ["act", "dact", "pondernet"])
def test_who_halted_costs_nothing_more(name):
    """A step is taken by those that need it, and by fewer than one in eight others."""
    torch.manual_seed(0)
    model, inputs = Counting(), torch.randn(101, 3)
    policy = policies(9, lambda: Gate(5))[name].eval()
    policy.halting.linears[0].weight.mul_(5)
    steps = run_steps(model, policy, inputs)[0].steps
    needed = [(steps >= n).sum().item() for n in range(1, 10)]
    assert len(set(needed)) > 3
    assert len(model.rows) == steps.max()
    for rows, need in zip(model.rows, needed, strict=False):
        assert need <= rows <= need / (1 - 1 / 8) + 1
    model.rows.clear()
    run_steps(model, policy, inputs, early_exit="batch")
    assert model.rows == [101] * steps.max()
    model.rows.clear()
    run_steps(model, policy, inputs, early_exit="never")
    assert model.rows == [101] * 9


@pytest.mark.parametrize("name", ["act", "dact"])
def test_leaving_does_not_change_the_gradient(name):
    gradients = {}
    for early_exit in EXITS:
        torch.manual_seed(0)
        model = Counter().double()
        policy = policies(7, lambda: Gate(5).double())[name].train()
        halted, _ = run_steps(
            model, policy, torch.randn(13, 3, dtype=torch.float64), early_exit=early_exit
        )
        (halted.log_probs[:, 0].sum() + halted.ponder_cost.square().sum()).backward()
        parameters = [*model.parameters(), *policy.parameters()]
        gradients[early_exit] = torch.cat([p.grad.ravel() for p in parameters])
    torch.testing.assert_close(gradients["example"], gradients["never"], **SAME)
    torch.testing.assert_close(gradients["batch"], gradients["never"], **SAME)


# Leaving DACT's training.


def dact(eps, max_steps=8, **options):
    return DACT(pass_through(), max_steps, train_eps=eps, **options).train()


def train(eps, seed, penalty="unit", **options):
    logits, gates = random_script(max_steps=8, batch=31, seed=seed)
    model = Scripted(logits, gates)
    policy = dact(eps, penalty=penalty, phase=1.5, bound=None, **options)  # steps: who left when
    return run_steps(model, policy, model.rows)[0]


@given(eps=st.sampled_from([1e-4, 1e-3, 1e-2, 0.1]), seed=st.integers(0, 50))
@settings(max_examples=40, deadline=None, derandomize=True)
@pytest.mark.parametrize("penalty", ["unit", "linear", "exp"])
def test_what_leaving_training_can_change_is_bounded(penalty, eps, seed):
    whole, left = train(0.0, seed, penalty), train(eps, seed, penalty)
    remaining = (8 - left.steps).double()
    assert (whole.steps == 8).all()
    apart = (whole.log_probs.exp() - left.log_probs.exp()).abs().sum(-1)
    assert (apart <= 2 * remaining * eps + 1e-12).all()
    cost = (whole.ponder_cost - left.ponder_cost).abs()
    growth = {"unit": 1.0, "linear": (remaining + 3) / 2}
    if penalty in growth:
        assert (cost <= remaining * growth[penalty] * eps + 1e-12).all()
    else:  # each step's exp(P - phase) + 1 is off by a factor of at most exp(sum of the p left out)
        assert (cost <= whole.ponder_cost * torch.expm1(remaining * eps) + 1e-12).all()


def test_training_lets_go_below_epsilon_and_never_at_zero():
    gates = torch.tensor([[0.5], [0.9], [0.9], [0.0]])  # p = 0.5, 0.05, 0.005, 0.005
    model = Scripted(torch.zeros(4, 1, 3), gates)
    taken = [
        run_steps(model, dact(eps, 4, bound=None), model.rows)[0].steps.item()
        for eps in (0.0, 0.001, 0.01, 0.1, 0.6)
    ]
    assert taken == [4, 4, 3, 2, 1]


def test_the_halting_unit_learns_although_examples_leave():
    torch.manual_seed(0)
    policy = DACT(Gate(5), 6, train_eps=0.2).train()
    halted, _ = run_steps(Counter(), policy, torch.randn(17, 3))
    assert halted.steps.min() < 6
    halted.ponder_cost.sum().backward()
    for parameter in policy.parameters():
        assert parameter.grad.isfinite().all()
        assert parameter.grad.ne(0).any()


def test_evaluation_does_not_know_the_epsilon_of_training():
    wanted, ours = (
        run_steps(Scripted(*random_script()), dact(eps, 6).eval(), torch.arange(11))[0]
        for eps in (0.0, 0.9)
    )
    for one, other in zip(ours, wanted, strict=True):
        assert torch.equal(one, other)


def test_act_may_halt_in_training_and_fixed_steps_never():
    assert ACT(Gate(5), 3).train().may_halt
    assert not DACT(Gate(5), 3).train().may_halt
    assert not DACT(Gate(5), 3, bound=None).eval().may_halt
    assert not policies(3)["fixed"].may_halt


# Rows.


class NetworkParts(NamedTuple):
    """Two things that examples have."""

    pair: torch.Tensor
    number: torch.Tensor


@given(st.permutations(range(11)), st.sets(st.integers(1, 10)))
@settings(deadline=None, derandomize=True)
def test_taking_rows_apart_and_joining_them_gives_the_whole(order, cuts):
    whole = NetworkParts(torch.arange(22).reshape(11, 2), torch.arange(11) * 1.5)
    ends = [0, *sorted(cuts), 11]
    parts = []
    for begin, end in pairwise(ends):
        rows = torch.tensor(order[begin:end])
        parts.append((rows, take_rows(whole, rows)))
    joined = join_rows(parts)
    assert type(joined) is NetworkParts
    for one, other in zip(joined, whole, strict=True):
        assert torch.equal(one, other)


def test_rows_are_taken_from_trees_of_any_kind():
    rows = torch.tensor([2, 0])
    tree = {"a": [torch.arange(3), (torch.arange(6).reshape(3, 2), None)], "n": 7, "text": "x"}
    taken = take_rows(tree, rows)
    assert taken["a"][0].tolist() == [2, 0]
    assert taken["a"][1][0].tolist() == [[4, 5], [0, 1]]
    assert (taken["a"][1][1], taken["n"], taken["text"]) == (None, 7, "x")
    assert isinstance(taken["a"][1], tuple)
    assert NetworkOptions(name="mac") == take_rows(NetworkOptions(name="mac"), rows)


@pytest.mark.parametrize("bias", [40.0, 0.0, -40.0], ids=["at once", "somewhen", "never"])
@pytest.mark.parametrize(
    "options",
    [{"name": "act"}, {"name": "dact", "train_halt_eps": 1.0}, {"name": "dact"}, {"name": "mac"}],
    ids=lambda options: "-".join(map(str, options.values())),
)
@pytest.mark.parametrize("self_attention", [False, True])
def test_every_parameter_has_a_gradient_however_soon_all_halt(options, bias, self_attention):
    """Processes that halt at different steps wait for each other's gradients, or hang."""
    gate = None if options["name"] == "mac" else {"bias": bias}
    network = make_network(
        make_options(**options, gate=gate, self_attention=self_attention), grid=False
    ).train()
    if gate:
        with torch.no_grad():
            for parameter in network.gate.parameters():
                parameter.fill_(bias if parameter.dim() == 1 else 0)
    output = network(questions(5, images=3))
    if options != {"name": "dact"} and gate and bias:
        assert set(output.steps.tolist()) == {1 if bias > 0 else N}
    (output.log_probs.mean() + output.ponder_cost.mean()).backward()
    assert [name for name, p in network.named_parameters() if p.grad is None] == []
