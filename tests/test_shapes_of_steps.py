"""What belongs to examples and what they share: right for every container and size, or refused."""

import types
from collections import OrderedDict, UserDict, namedtuple
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from test_early_exit import EXITS

from dact.models import ACT, DACT, FixedSteps, PonderNet, Step, run_steps
from dact.models.halting import Shared
from dact.models.layers import Gate
from dact.models.rows import surely_examples_first, take_rows

WIDTH = 8
Pair = namedtuple("Pair", ["x", "table"])


@dataclass
class Output(OrderedDict):
    """A dictionary and a dataclass at once, as libraries of models return them."""

    x: torch.Tensor
    table: Any

    def __post_init__(self):
        self.update(x=self.x, table=self.table)


@dataclass(frozen=True)
class Record:
    x: torch.Tensor
    table: Any
    note: str = "kept"


class Thinker(torch.nn.Module):
    """Looks things up in a table; `pack` and `unpack` put state or inputs into a container."""

    def __init__(self, pack, unpack, where):
        super().__init__()
        self.cell, self.out = torch.nn.Linear(WIDTH, WIDTH), torch.nn.Linear(WIDTH, 3)
        self.pack, self.unpack, self.where = pack, unpack, where
        self.rows = []

    def initial_state(self, given):
        if self.where == "inputs":
            return torch.zeros_like(self.unpack(given)[0])
        self.table = torch.linspace(-1, 1, self.length * WIDTH).view(self.length, WIDTH)
        return self.pack(given, self.table)

    def step(self, state, given, n):
        if self.where == "inputs":
            (x, table), z = self.unpack(given), state
        else:
            x, (z, table) = given, self.unpack(state)
        self.rows.append(len(x))
        z = torch.tanh(self.cell(z + x + (x @ table.T).softmax(-1) @ table))
        return (z if self.where == "inputs" else self.pack(z, table)), Step(self.out(z), z)


CONTAINERS = {
    "tuple": (lambda x, t: (x, t), lambda c: c),
    "list": (lambda x, t: [x, t], lambda c: c),
    "dict": (lambda x, t: {"x": x, "t": t}, lambda c: (c["x"], c["t"])),
    "ordered": (lambda x, t: OrderedDict(x=x, t=t), lambda c: (c["x"], c["t"])),
    "user dict": (lambda x, t: UserDict(x=x, t=t), lambda c: (c["x"], c["t"])),
    "named tuple": (Pair, lambda c: (c.x, c.table)),
    "dataclass": (Record, lambda c: (c.x, c.table)),
    "both": (lambda x, t: Output(x, t), lambda c: (c["x"], c["table"])),
    "nested": (lambda x, t: [{"x": (x, None)}, 7, {"t": t}], lambda c: (c[0]["x"][0], c[2]["t"])),
    "namespace": (
        lambda x, t: types.SimpleNamespace(x=x, t=t),
        lambda c: (c.x, c.t),
    ),
    "function": (lambda x, t: lambda: (x, t), lambda c: c()),
}
every_container = pytest.mark.parametrize(("pack", "unpack"), CONTAINERS.values(), ids=CONTAINERS)


@every_container
@pytest.mark.parametrize("where", ["inputs", "state"])
@pytest.mark.parametrize(
    "make", [ACT, *(pytest.param(kind, marks=pytest.mark.slow) for kind in (DACT, PonderNet))]
)
@torch.no_grad()
def test_a_table_of_all_examples_is_never_cut(pack, unpack, where, make):
    """Nobody says that it is one; it may be as long as the batch, which may be as the width."""
    torch.manual_seed(0)
    policy = make(Gate(WIDTH), 3).eval()
    policy.halting.linears[0].weight.mul_(9)
    for count, length in ((12, 12), (12, 3), (12, 13), (WIDTH, WIDTH)):
        model = Thinker(pack, unpack, where)
        model.length = length
        x = torch.randn(count, WIDTH) * torch.linspace(0, 4, count)[:, None]
        table = torch.linspace(-1, 1, length * WIDTH).view(length, WIDTH)
        given = pack(x, table) if where == "inputs" else x
        ours, _ = run_steps(model, policy, given)
        never, _ = run_steps(model, policy, given, early_exit="never")
        assert never.steps.min() < never.steps.max()
        for one, wanted in zip(ours, never, strict=True):
            torch.testing.assert_close(one, wanted, rtol=1e-5, atol=1e-5)


DECLARED = {
    name: CONTAINERS[name] for name in CONTAINERS if name not in ("both", "namespace", "function")
}


@pytest.mark.parametrize(("pack", "unpack"), DECLARED.values(), ids=DECLARED)
@pytest.mark.parametrize("where", ["inputs", "state"])
@pytest.mark.parametrize("length", [8, 12])
@torch.no_grad()
def test_what_is_declared_leaves_the_batch(pack, unpack, where, length):
    torch.manual_seed(0)

    def wrap(x, table):
        return pack(x, Shared(table))

    def unwrap(container):
        x, table = unpack(container)
        return x, table.value

    model, policy = Thinker(wrap, unwrap, where), DACT(Gate(WIDTH), 5).eval()
    policy.halting.linears[0].weight.mul_(6)
    model.length = length
    x = torch.randn(12, WIDTH) * torch.linspace(0, 4, 12)[:, None]
    table = torch.linspace(-1, 1, length * WIDTH).view(length, WIDTH)
    inputs = wrap(x, table) if where == "inputs" else x
    never, _ = run_steps(model, policy, inputs, early_exit="never")
    model.rows.clear()
    ours, _ = run_steps(model, policy, inputs, examples_first=True)
    assert model.rows[-1] < model.rows[0]
    for one, other in zip(ours, never, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "leaf", "said"),
    [
        ("dict", torch.zeros(9, WIDTH), r"inputs\['t'\] has shape \(9, 8\), but the batch has 12"),
        ("named tuple", torch.zeros(3, WIDTH), r"inputs\.table has shape \(3, 8\)"),
        ("nested", torch.zeros(1, WIDTH), r"inputs\[2\]\['t'\] has shape \(1, 8\)"),
        ("tuple", types.SimpleNamespace(), r"inputs\[1\] is a SimpleNamespace"),
        ("tuple", torch.eye(12).to_sparse(), r"inputs\[1\] is a Tensor, of which no examples"),
    ],
)
@torch.no_grad()
def test_a_declaration_that_is_not_true_is_refused_by_name(name, leaf, said):
    pack, unpack = CONTAINERS[name]

    def unpacked(container):
        return unpack(container)[0], torch.zeros(1, WIDTH)

    torch.manual_seed(0)
    x = torch.randn(12, WIDTH) * torch.linspace(0, 4, 12)[:, None]
    policy = DACT(Gate(WIDTH), 5).eval()
    policy.halting.linears[0].weight.mul_(6)
    with pytest.raises(ValueError, match=said):
        run_steps(Thinker(pack, unpacked, "inputs"), policy, pack(x, leaf), examples_first=True)


class Layers(torch.nn.Module):
    """A GRU, whose state has its layers first, for sequences that have their time first."""

    def __init__(self, layers):
        super().__init__()
        self.gru, self.out = torch.nn.GRU(WIDTH, WIDTH, layers), torch.nn.Linear(WIDTH, 3)

    def initial_state(self, x):
        return x.new_zeros(self.gru.num_layers, x.shape[1], WIDTH)

    def step(self, state, x, n):
        _, state = self.gru(x, state)
        return state, Step(self.out(state[-1]), state[-1])


class OneHaltsAtOnce(torch.nn.Module):
    """The second example halts at step 1, the others never."""

    def forward(self, state):
        return torch.zeros(len(state)).index_fill(0, torch.arange(len(state))[1:2], 1.0)


@pytest.mark.parametrize("layers", [1, 2, 6])
@pytest.mark.parametrize("time", [1, 3, 6])
@torch.no_grad()
def test_examples_on_another_axis_are_never_cut_along_the_first(layers, time):
    torch.manual_seed(0)
    model, policy = Layers(layers), ACT(OneHaltsAtOnce(), 5).eval()
    x = 4 * torch.randn(time, 6, WIDTH)
    never, _ = run_steps(model, policy, x, early_exit="never")
    for exit in EXITS:
        ours, _ = run_steps(model, policy, x, early_exit=exit)
        for one, other in zip(ours, never, strict=True):
            torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-5)
    assert never.steps.tolist() == [5, 1, 5, 5, 5, 5]


class Says:
    """Gives the same step again and again."""

    def __init__(self, *logits, halting_input=None):
        self.logits, self.halting_input = logits, halting_input

    def initial_state(self, inputs):
        return None

    def step(self, state, inputs, n):
        logits = self.logits[min(n, len(self.logits)) - 1]
        seen = torch.zeros(len(logits), 4) if self.halting_input is None else self.halting_input
        return None, Step(logits, seen)


@pytest.mark.parametrize("make", [ACT, DACT, PonderNet])
@pytest.mark.parametrize("training", [True, False])
def test_wrong_shapes_are_refused_in_a_sentence(make, training):
    policy = make(Gate(4, bias=-1.0), 3).train(training)
    for shape in ((7,), (7, 7, 3), (7, 5, 3), (1, 7, 3)):
        with pytest.raises(ValueError, match=rf"step 1 have shape \({str(shape)[1:-1]}\)"):
            run_steps(Says(torch.zeros(shape), halting_input=torch.zeros(7, 4)), policy, None)
    with pytest.raises(ValueError, match=r"step 2 have shape \(7, 1\) where \(7, 3\)"):
        run_steps(Says(torch.zeros(7, 3), torch.zeros(7, 1)), policy, None)
    with pytest.raises(ValueError, match=r"halting unit gives \(7, 7\) for a .* \(7, 7, 4\)"):
        run_steps(Says(torch.zeros(7, 3), halting_input=torch.zeros(7, 7, 4)), policy, None)
    policy.halting.forward = lambda inputs: inputs[:, :1].sigmoid()
    with pytest.raises(ValueError, match=r"halting unit gives \(7, 1\)"):
        run_steps(Says(torch.zeros(7, 3)), policy, None)


def test_fixed_steps_take_answers_of_each_example_and_nothing_less():
    assert run_steps(Says(torch.zeros(7, 5, 3)), FixedSteps(2), None)[0].log_probs.shape == (
        7,
        5,
        3,
    )
    with pytest.raises(ValueError, match=r"step 1 have shape \(7,\)"):
        run_steps(Says(torch.zeros(7)), FixedSteps(2), None)


def test_a_single_answer_is_no_choice():
    with pytest.raises(ValueError, match=r"shape \(7, 1\): a halting bound compares two answers"):
        run_steps(Says(torch.zeros(7, 1)), DACT(Gate(4), 3), None)
    for policy in (FixedSteps(3), ACT(Gate(4), 3), PonderNet(Gate(4), 3)):
        assert run_steps(Says(torch.zeros(7, 1)), policy, None)[0].log_probs.eq(0).all()


def test_rows_are_taken_from_every_container_as_its_own_type():
    x = torch.arange(5)
    for pack, unpack in DECLARED.values():
        before = pack(x, Shared(x))
        after = take_rows(before, torch.tensor([4, 1]))
        assert type(after) is type(before)
        assert unpack(after)[0].tolist() == [4, 1]
        assert unpack(after)[1].value is x
        assert unpack(before)[0] is x  # the one that was given stays as it is
    assert take_rows(torch.tensor(3), torch.tensor([4, 1])).item() == 3


def test_what_holds_its_parts_twice_stays_whole():
    output = Output(torch.arange(5), None)
    assert not surely_examples_first(output, 5)
    assert take_rows(output, torch.tensor([4, 1])) is output
