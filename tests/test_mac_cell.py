"""One reasoning step and its surroundings: initialisation, names, hand-sized attention."""

import math

import pytest
import torch
from batches import (
    HEIGHT,
    IMAGES,
    NO_DROPOUT,
    WIDTH,
    A,
    B,
    C,
    D,
    E,
    N,
    V,
    make_batch,
    make_network,
    make_options,
)
from torch import nn

from dact.models import build_network
from dact.models.attention import Attention, attend
from dact.models.mac_cell import MACCell
from dact.options import DropoutOptions, GateOptions, NetworkOptions

GRID = HEIGHT * WIDTH


def fresh(name="dact", *, grid=True, **changes):
    """A network as initialised, large enough for statistics."""
    torch.manual_seed(0)
    options = NetworkOptions(name=name, dim=D, max_steps=N, embedding_dim=E, **changes)
    return build_network(options, num_words=V, num_answers=A, feature_dim=C, grid=grid)


# --- initialisation ---------------------------------------------------------------------------

KEEPS_PYTORCH_BIAS = {"head.question", "head.hidden", "head.output"}


def fans(weight):
    receptive = weight[0, 0].numel()
    return weight.shape[1] * receptive, weight.shape[0] * receptive


def assert_uniform(values, bound):
    """Uniform in ±bound: none outside, and the spread is right."""
    assert values.abs().max() <= bound
    if values.numel() > 500:
        assert values.abs().max() > 0.98 * bound
        assert values.std().item() == pytest.approx(bound / math.sqrt(3), rel=0.1)


@pytest.mark.parametrize("grid", [True, False], ids=["grid", "objects"])
@pytest.mark.parametrize("name", ["mac_gate", "dact"])
def test_layers_start_xavier_uniform_with_zero_biases(name, grid):
    network = fresh(
        name,
        grid=grid,
        self_attention=True,
        gate=GateOptions(inputs=["control", "memory"], hidden_dims=[17]),
    )
    seen = 0
    for path, module in network.named_modules():
        if not isinstance(module, nn.Linear | nn.Conv2d):
            continue
        fan_in, fan_out = fans(module.weight)
        if path == "head.question":
            assert_uniform(module.weight, 1 / math.sqrt(fan_in))
        else:
            assert_uniform(module.weight, math.sqrt(6 / (fan_in + fan_out)))
        if path in KEEPS_PYTORCH_BIAS:
            assert_uniform(module.bias, 1 / math.sqrt(fan_in))
            assert module.bias.ne(0).all()
        else:
            assert module.bias.eq(0).all(), path
        seen += 1
    assert seen == 2 + (1 + N + 2) + 5 + 3 + 2 + 3


def test_embedding_starts_xavier_uniform_padding_too():
    weight = fresh().encoder.embedding.weight
    assert weight.shape == (V, E)
    assert_uniform(weight, math.sqrt(6 / (V + E)))
    assert weight[0].ne(0).all()


def test_embedding_may_start_normal():
    weight = fresh(embedding_init="normal").encoder.embedding.weight
    assert weight.mean().item() == pytest.approx(0, abs=0.15)
    assert weight.std().item() == pytest.approx(1, rel=0.1)
    assert weight[0].ne(0).all()


def test_lstms_keep_pytorchs_initialisation():
    encoder = fresh().encoder
    for lstm in (encoder.forward_lstm, encoder.backward_lstm):
        assert lstm.hidden_size == D // 2
        for parameter in lstm.parameters():
            assert_uniform(parameter, 1 / math.sqrt(D // 2))
            assert parameter.ne(0).all()


def test_initial_states_start_at_zero_and_are_learned():
    cell = fresh(control_init="learned").cell
    for state in (cell.initial_memory, cell.initial_control):
        assert isinstance(state, nn.Parameter)
        assert state.shape == (D,)
        assert state.eq(0).all()
    assert fresh().cell.initial_control is None


def test_one_position_matrix_per_step():
    network = make_network(make_options("mac"))
    positions = network.cell.control.positions
    assert len(positions) == N
    assert all((positions[0].weight != positions[n].weight).any() for n in range(1, N))
    batch = make_batch()
    before = network.eval()(batch, trace=True).trace.word_attention
    with torch.no_grad():
        positions[2].weight.normal_()
    after = network(batch, trace=True).trace.word_attention
    assert torch.equal(before[:, :2], after[:, :2])
    assert all((before[:, n] != after[:, n]).any() for n in range(2, N))


# --- names ------------------------------------------------------------------------------------


def linear(*names):
    return [f"{name}.{part}" for name in names for part in ("weight", "bias")]


LSTM = ["weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0"]
COMMON = [
    "encoder.embedding.weight",
    *(f"encoder.{way}_lstm.{part}" for way in ("forward", "backward") for part in LSTM),
    "cell.initial_memory",
    *linear("cell.control.question", "cell.control.combine", "cell.control.attention.score"),
    *linear(*(f"cell.control.positions.{n}" for n in range(N))),
    *linear(*(f"cell.read.{x}" for x in ("memory", "knowledge", "combine", "interact", "score"))),
    *linear("cell.write.combine"),
    *linear("head.question", "head.hidden", "head.output"),
]
CONVOLUTIONS = linear("stem.conv1", "stem.conv2")


@pytest.mark.parametrize(
    ("name", "changes", "names"),
    [
        ("mac", {}, CONVOLUTIONS),
        ("mac", {"grid": False}, linear("stem.linear1", "stem.linear2")),
        ("mac_gate", {}, CONVOLUTIONS + linear("cell.memory_gate.linears.0")),
        ("act", {}, CONVOLUTIONS + linear("policy.halting.linears.0")),
        (
            "dact",
            {"gate": GateOptions(hidden_dims=[3])},
            CONVOLUTIONS + linear("policy.halting.linears.0", "policy.halting.linears.1"),
        ),
        (
            "mac",
            {"self_attention": True, "control_init": "learned"},
            [
                *CONVOLUTIONS,
                *linear("cell.write.control", "cell.write.attention.score"),
                "cell.initial_control",
            ],
        ),
    ],
    ids=["mac", "objects", "mac_gate", "act", "dact_deep", "self_attention_learned"],
)
def test_names_in_checkpoints_are_stable(name, changes, names):
    assert sorted(fresh(name, **changes).state_dict()) == sorted(COMMON + names)


def test_the_gate_is_found_wherever_it_lives():
    assert fresh("mac").gate is None
    network = fresh("mac_gate")
    assert network.gate is network.cell.memory_gate
    network = fresh("act")
    assert network.gate is network.policy.halting


# --- by hand ----------------------------------------------------------------------------------


def test_attention_by_hand():
    """Logits w·(query ⊙ key) + b = 2·1·(log 3)/2 and 0: weights 3/4 and 1/4; b does nothing."""
    attention = Attention(2)
    with torch.no_grad():
        attention.score.weight.copy_(torch.tensor([[2.0, 5.0]]))
        attention.score.bias.fill_(7.0)
    query = torch.tensor([[1.0, 3.0]])
    keys = torch.tensor([[[math.log(3) / 2, 0.0], [0.0, 0.0], [9.0, 9.0]]])
    weights = attention(query, keys, torch.tensor([[True, True, False]]))
    torch.testing.assert_close(weights, torch.tensor([[0.75, 0.25, 0.0]]))
    values = torch.tensor([[[4.0, 0.0], [0.0, 8.0], [torch.e, torch.pi]]])
    torch.testing.assert_close(attend(weights, values), torch.tensor([[3.0, 2.0]]))


def test_attention_over_one_key_is_certain():
    weights = Attention(3)(torch.randn(2, 3), torch.randn(2, 1, 3))
    assert weights.tolist() == [[1.0], [1.0]]


def test_gate_input_is_in_the_released_codes_order():
    cell = MACCell(2, 1, gate_inputs=("question", "memory", "control"))
    parts = [torch.full((1, 2), value) for value in (1.0, 2.0, 3.0)]
    assert cell.gate_input(*parts).tolist() == [[1, 1, 2, 2, 3, 3]]
    cell = MACCell(2, 1, gate_inputs=("question", "control"))
    assert cell.gate_input(*parts).tolist() == [[1, 1, 3, 3]]


# --- how often things are computed ------------------------------------------------------------


def calls(network, path, training):
    """Leading sizes of the inputs that a submodule gets while a batch is answered."""
    sizes = []
    module = network.get_submodule(path)
    hook = module.register_forward_hook(lambda _, inputs, __: sizes.append(len(inputs[0])))
    network.train(training)(make_batch())
    hook.remove()
    return sizes


def network_with(**rates):
    return make_network(make_options("mac", dropout=DropoutOptions(**{**NO_DROPOUT, **rates})))


@torch.no_grad()
def test_knowledge_is_projected_once_unless_dropout_forbids_it():
    path = "cell.read.knowledge"
    assert calls(network_with(), path, training=False) == [IMAGES]
    assert calls(network_with(), path, training=True) == [IMAGES]
    dropping = network_with(read=0.2)
    assert calls(dropping, path, training=True) == [B] * N
    assert calls(dropping, path, training=False) == [IMAGES]
    sharing = make_options(
        "mac",
        dropout=DropoutOptions(**{**NO_DROPOUT, "read": 0.2}),
        read_dropout_mode="variational",
    )
    assert calls(make_network(sharing), path, training=True) == [B]


@torch.no_grad()
def test_the_stem_runs_once_per_image():
    for training in (False, True):
        assert calls(network_with(stem=0.2), "stem.conv1", training=training) == [IMAGES]


@torch.no_grad()
def test_knowledge_dropout_is_fresh_each_step_and_used_twice():
    """The cells that the read unit weighs are the dropped-out ones it also looks at."""
    network = network_with(read=0.3).train()
    torch.manual_seed(0)
    seen = []
    network.cell.read.knowledge.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    retrieved = []
    network.cell.read.register_forward_hook(lambda _, __, output: retrieved.append(output))
    cells = network.cell.prepare(*network.encode(make_batch())).images.cells
    network(make_batch())
    for cells_seen, (vector, weights) in zip(seen, retrieved, strict=True):
        kept = cells_seen != 0
        torch.testing.assert_close(cells_seen[kept], cells[kept] / 0.7)
        torch.testing.assert_close(attend(weights, cells_seen), vector)
    assert all((seen[0] != other).any() for other in seen[1:])
    assert cells.shape == (B, GRID, D)
