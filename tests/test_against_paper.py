"""The network equals the oracle, whatever it is batched with; float64, tiny, no dropout."""

import pytest
import torch
from batches import A, B, N, S, V, examples, make_batch, make_network, make_options
from oracle import answer_one

from dact.losses import answer_loss, total_loss
from dact.models import VQAOutput
from dact.options import DropoutOptions, PonderOptions

CLOSE = {"rtol": 1e-9, "atol": 1e-11}

CASES = {
    "mac": ("mac", {}, {}),
    "mac_gate": ("mac_gate", {}, {}),
    "act": ("act", {}, {}),
    "dact": ("dact", {}, {}),
    "mac_self_attention": ("mac", {"self_attention": True}, {}),
    "mac_gate_self_attention": ("mac_gate", {"self_attention": True}, {}),
    "act_self_attention": ("act", {"self_attention": True, "control_init": "learned"}, {}),
    "dact_self_attention": ("dact", {"self_attention": True}, {}),
    "mac_learned_control": ("mac", {"control_init": "learned"}, {}),
    "dact_learned_control": ("dact", {"control_init": "learned"}, {}),
    "mac_gate_memory": ("mac_gate", {"gate": {"inputs": ["memory"], "hidden_dims": [3]}}, {}),
    "mac_gate_deep": (
        "mac_gate",
        {"gate": {"inputs": ["question", "memory", "control"], "hidden_dims": [5, 3]}},
        {},
    ),
    "act_question": ("act", {"gate": {"inputs": ["question"], "hidden_dims": [3]}}, {}),
    "act_bias": ("act", {"gate": {"bias": -1.0}, "epsilon": 0.2}, {}),
    "dact_all_inputs": ("dact", {"gate": {"inputs": ["memory", "question", "control"]}}, {}),
    "dact_deep": (
        "dact",
        {"gate": {"inputs": ["control", "memory"], "hidden_dims": [3, 5], "bias": 0.7}},
        {},
    ),
    "act_linear": ("act", {}, {"penalty": "linear", "phase": 1.0, "min_penalty": 0.5}),
    "act_exp": ("act", {}, {"penalty": "exp"}),
    "dact_linear": ("dact", {}, {"penalty": "linear", "phase": 0.3}),
    "dact_exp": ("dact", {}, {"penalty": "exp", "min_penalty": 0.0}),
    "dact_exp_phase": ("dact", {}, {"penalty": "exp", "phase": 1.5}),
    "dact_paper_bound": ("dact", {"halting_bound": "paper"}, {}),
    "dact_never_early": ("dact", {"halting_bound": None}, {}),
    "dact_probability": ("dact", {"halting_bound": "probability", "halting_eps": 0.4}, {}),
    "dact_budget": ("dact", {"halting_bound": "budget", "halting_budget": 3}, {}),
    "pondernet": ("pondernet", {}, {}),
    "pondernet_self_attention": ("pondernet", {"self_attention": True, "prior": 0.5}, {}),
    "pondernet_bias": ("pondernet", {"gate": {"bias": -1.0, "hidden_dims": [3]}}, {}),
    "pondernet_one_step": ("pondernet", {"max_steps": 1}, {}),
    "dact_one_step": ("dact", {"max_steps": 1}, {}),
    "act_one_step": ("act", {"max_steps": 1}, {}),
    "dact_scaled_features": ("dact", {"feature_scale": 4.0}, {}),
    "mac_wide_kernel": ("mac", {"stem_kernel": 5}, {}),
    "mac_pointwise_kernel": ("mac", {"stem_kernel": 1}, {}),
}


def build(name, changes, ponder, *, grid=True, seed=0):
    options, ponder = make_options(name, **changes), PonderOptions(**ponder)
    return make_network(options, grid=grid, ponder=ponder, seed=seed), options, ponder


def rows_of(output, order):
    """The output's rows in this order."""
    return VQAOutput(output.log_probs[order], output.ponder_cost[order], output.steps[order])


def assert_same(got, wanted):
    assert got.steps.tolist() == wanted.steps.tolist()
    torch.testing.assert_close(got.log_probs, wanted.log_probs, **CLOSE)
    torch.testing.assert_close(got.ponder_cost, wanted.ponder_cost, **CLOSE)


@pytest.mark.parametrize("training", [False, True], ids=["eval", "train"])
@pytest.mark.parametrize("grid", [True, False], ids=["grid", "objects"])
@pytest.mark.parametrize("case", CASES)
@torch.no_grad()
def test_network_equals_the_oracle(case, grid, training):
    network, options, ponder = build(*CASES[case], grid=grid)
    batch = make_batch(grid=grid)
    output = network.train(training)(batch, trace=True)
    weights = network.state_dict()
    for row, (tokens, features) in enumerate(examples(batch)):
        wanted = answer_one(weights, options, ponder, tokens, features, training=training)
        assert output.steps[row] == wanted.steps
        torch.testing.assert_close(output.log_probs[row], wanted.log_probs, **CLOSE)
        torch.testing.assert_close(output.ponder_cost[row], wanted.ponder_cost, **CLOSE)
        for n, step in enumerate(wanted.trace):
            words, cells = len(step.word_attention), len(step.knowledge_attention)
            got = output.trace.word_attention[row, n, :words]
            torch.testing.assert_close(got, step.word_attention, **CLOSE)
            got = output.trace.knowledge_attention[row, n, :cells]
            torch.testing.assert_close(got, step.knowledge_attention, **CLOSE)
            assert output.trace.still_open[row, n] == pytest.approx(step.still_open, abs=1e-11)
            torch.testing.assert_close(output.trace.log_probs[row, n], step.log_probs, **CLOSE)


@torch.no_grad()
def test_the_cases_above_halt_early_late_and_never():
    taken = {}
    for name, (kind, changes, ponder) in CASES.items():
        if kind in ("act", "dact", "pondernet") and changes.get("max_steps") != 1:
            network, *_ = build(kind, changes, ponder)
            steps = network.eval()(make_batch()).steps.tolist()
            taken.setdefault(kind, set()).update(steps)
            if name == "dact_never_early":
                assert set(steps) == {N}
    for kind in ("act", "pondernet"):
        assert min(taken[kind]) < max(taken[kind])
    assert min(taken["dact"]) < N
    assert max(taken["dact"]) == N


@pytest.mark.parametrize(
    "case", ["mac_gate", "act_linear", "dact_deep", "dact_self_attention", "pondernet_bias"]
)
def test_gradients_equal_the_oracle(case):
    network, options, ponder = build(*CASES[case], grid=False)
    batch = make_batch(grid=False)
    output = network.train()(batch)
    total_loss(answer_loss(output.log_probs, batch.answers), output.ponder_cost, 0.3).backward()

    weights = {name: value.clone().requires_grad_() for name, value in network.state_dict().items()}
    loss = torch.zeros((), dtype=torch.float64)
    for row, (tokens, features) in enumerate(examples(batch)):
        wanted = answer_one(weights, options, ponder, tokens, features, training=True)
        loss = loss - wanted.log_probs[batch.answers[row]] / B + 0.3 * wanted.ponder_cost / B
    loss.backward()
    compared = 0
    for name, parameter in network.named_parameters():
        wanted = weights[name].grad
        if wanted is None:  # a step that ACT never reached
            wanted = torch.zeros_like(weights[name])
        torch.testing.assert_close(parameter.grad, wanted, rtol=1e-7, atol=1e-11)
        compared += bool(wanted.any())
    assert compared > 20


# --- batch-mates, padding, order and shared images --------------------------------------------

INVARIANT = [
    "mac_gate_self_attention",
    "act_question",
    "dact_all_inputs",
    "dact_self_attention",
    "pondernet",
]


def with_more_padding(batch, garbage):
    """Three more words and two more objects for everyone, and garbage in all padding."""
    lengths, cells = batch.lengths, batch.num_cells
    tokens = torch.randint(0, V, (B, S + 3))
    for row, length in enumerate(lengths.tolist()):
        tokens[row, :length] = batch.tokens[row, :length]
    features = batch.features
    if features.dim() == 3:
        padded = torch.full((len(features), features.shape[1] + 2, features.shape[2]), garbage)
        features = padded.to(features)
        for row, count in enumerate(cells.tolist()):
            features[row, :count] = batch.features[row, :count]
    return batch._replace(tokens=tokens, features=features)


@pytest.mark.parametrize("training", [False, True], ids=["eval", "train"])
@pytest.mark.parametrize("garbage", [1e6, float("nan"), float("inf")])
@pytest.mark.parametrize("grid", [True, False], ids=["grid", "objects"])
@pytest.mark.parametrize("case", INVARIANT)
@torch.no_grad()
def test_padding_changes_nothing(case, grid, garbage, training):
    network, *_ = build(*CASES[case], grid=grid)
    network.train(training)
    batch = make_batch(grid=grid)
    assert_same(network(with_more_padding(batch, garbage)), network(batch))


def test_padding_gets_no_gradient():
    network, *_ = build(*CASES["dact"], grid=False)
    batch = make_batch(grid=False)
    features = batch.features.clone().requires_grad_()
    answer_loss(network(batch._replace(features=features)).log_probs, batch.answers).backward()
    assert features.grad[0].ne(0).any()
    assert features.grad[1, :3].ne(0).any()
    assert features.grad[1, 3:].eq(0).all()
    assert network.encoder.embedding.weight.grad[0].eq(0).all()


@pytest.mark.parametrize("case", INVARIANT)
@torch.no_grad()
def test_order_and_batch_mates_change_nothing(case):
    network, *_ = build(*CASES[case], grid=False)
    batch = make_batch(grid=False)
    images = {"features", "num_cells"}
    together = network.eval()(batch)
    for order in ([2, 0, 1], [0], [1], [1, 2], [2, 2, 1, 0, 2]):
        chosen = batch._replace(
            **{
                name: value[torch.tensor(order)]
                for name, value in batch._asdict().items()
                if name not in images
            }
        )
        assert_same(network(chosen), rows_of(together, order))


@pytest.mark.parametrize("training", [False, True], ids=["eval", "train"])
@pytest.mark.parametrize("grid", [True, False], ids=["grid", "objects"])
@torch.no_grad()
def test_sharing_an_image_changes_nothing(grid, training):
    network, *_ = build(*CASES["dact"], grid=grid)
    network.train(training)
    batch = make_batch(grid=grid)
    own = batch._replace(
        features=batch.features[batch.image_index],
        num_cells=batch.num_cells[batch.image_index],
        image_index=torch.arange(B),
    )
    swapped = batch._replace(
        features=batch.features.flip(0),
        num_cells=batch.num_cells.flip(0),
        image_index=1 - batch.image_index,
    )
    assert_same(network(own), network(batch))
    assert_same(network(swapped), network(batch))


@torch.no_grad()
def test_float32_agrees_with_float64():
    network, *_ = build(*CASES["dact_all_inputs"])
    batch = make_batch()
    wanted = network.eval()(batch)
    got = network.float()(batch._replace(features=batch.features.float()))
    assert got.log_probs.dtype == got.ponder_cost.dtype == torch.float32
    assert got.steps.dtype == torch.int64
    assert got.steps.tolist() == wanted.steps.tolist()
    torch.testing.assert_close(got.log_probs.double(), wanted.log_probs, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("training", [False, True], ids=["eval", "train"])
@pytest.mark.parametrize("case", ["mac", *INVARIANT])
def test_mixed_precision_answers_in_float32(case, training):
    network, *_ = build(*CASES[case], grid=False)
    network = network.float().train(training)
    batch = make_batch(grid=False, dtype=torch.float32)
    wanted = network(batch)
    with torch.autocast("cpu", torch.bfloat16):
        got = network(batch, trace=True)
        loss = answer_loss(got.log_probs, batch.answers)
    assert got.log_probs.dtype == got.ponder_cost.dtype == loss.dtype == torch.float32
    assert got.trace.log_probs.dtype == got.trace.still_open.dtype == torch.float32
    assert (got.log_probs.exp() - wanted.log_probs.exp()).abs().max() < 0.25
    loss.backward()
    grads = [p.grad for p in network.parameters() if p.grad is not None]
    assert grads
    assert all(grad.dtype == torch.float32 and grad.isfinite().all() for grad in grads)


# --- trace ------------------------------------------------------------------------------------


@pytest.mark.parametrize("training", [False, True], ids=["eval", "train"])
@pytest.mark.parametrize("grid", [True, False], ids=["grid", "objects"])
@pytest.mark.parametrize("case", ["mac", "mac_gate", "act", "dact", "pondernet"])
@torch.no_grad()
def test_trace(case, grid, training):
    network, *_ = build(*CASES[case], grid=grid)
    batch = make_batch(grid=grid)
    output = network.train(training)(batch, trace=True)
    assert network(batch).trace is None
    trace = output.trace
    whole = training and case in ("dact", "pondernet")  # which halts nobody
    taken = N if whole else int(output.steps.max())
    cells = batch.features.flatten(2).shape[2] if grid else batch.features.shape[1]
    assert trace.word_attention.shape == (B, taken, S)
    assert trace.knowledge_attention.shape == (B, taken, cells)
    assert trace.still_open.shape == (B, taken)
    assert trace.log_probs.shape == (B, taken, A)
    ones = torch.ones(B, taken, dtype=torch.float64)
    torch.testing.assert_close(trace.word_attention.sum(-1), ones)
    torch.testing.assert_close(trace.knowledge_attention.sum(-1), ones)
    if not (training and case == "pondernet"):  # which gives expected log-probabilities
        torch.testing.assert_close(trace.log_probs.exp().sum(-1), ones, rtol=0, atol=1e-6)
    for row, length in enumerate(batch.lengths.tolist()):
        assert trace.word_attention[row, :, length:].eq(0).all()
        count = int(batch.num_cells[batch.image_index[row]])
        assert trace.knowledge_attention[row, :, count:].eq(0).all()
    assert ((trace.still_open >= 0) & (trace.still_open <= 1)).all()
    assert (trace.still_open.diff(dim=1) <= 0).all()
    torch.testing.assert_close(trace.log_probs[:, -1], output.log_probs, rtol=0, atol=0)
    for row, steps in enumerate([] if whole else output.steps.tolist()):
        frozen = trace.log_probs[row, steps - 1 :]
        torch.testing.assert_close(frozen, frozen[:1].expand_as(frozen), rtol=0, atol=0)


# --- dropout ----------------------------------------------------------------------------------


def memory_ratios(variational):
    """(N, B, D): what the read unit sees of the memory, divided by the memory."""
    dropout = DropoutOptions(0.0, 0.0, 0.4, 0.0, 0.0, variational_memory=variational)
    network = make_network(make_options("mac", dropout=dropout))
    memories, seen = [], []
    network.cell.register_forward_pre_hook(lambda _, inputs: memories.append(inputs[0].memory))
    network.cell.read.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    network.train()(make_batch())
    return torch.stack(seen) / torch.stack(memories)


@torch.no_grad()
def test_variational_dropout_is_one_mask_for_all_steps():
    ratios = memory_ratios(variational=True)
    kept, dropped = (ratios - 1 / 0.6).abs() < 1e-9, ratios == 0
    assert (kept | dropped).all()
    assert kept.any()
    assert dropped.any()
    assert (kept == kept[:1]).all()
    assert (kept[0, 0] != kept[0, 1]).any()
    assert (kept[0, 0] != kept[0, 2]).any()


@torch.no_grad()
def test_other_dropout_is_a_fresh_mask_each_step():
    ratios = memory_ratios(variational=False)
    kept = ratios != 0
    assert all((kept[n] != kept[n - 1]).any() for n in range(1, N))


@torch.no_grad()
def test_the_same_dropped_out_question_is_used_everywhere():
    dropout = DropoutOptions(0.0, 0.4, 0.0, 0.0, 0.0)
    options = make_options(
        "dact", gate={"inputs": ["control", "memory", "question"]}, dropout=dropout
    )
    network, batch = make_network(options), make_batch()
    used = {}

    def watch(module, name, pick):
        def hook(_, inputs):
            used.setdefault(name, pick(inputs[0]))

        module.register_forward_pre_hook(hook)

    watch(network.cell.control.question, "W_s q", lambda question: question)
    watch(network.head.question, "W_q q", lambda question: question)
    watch(network.policy.halting, "gate", lambda inputs: inputs[:, -options.dim :])
    watch(network.cell, "c_0", lambda state: state.control)
    network.train()(batch)
    first, *others = used.values()
    assert len(others) == 3
    assert first.eq(0).any()
    assert all(torch.equal(first, other) for other in others)


#: Layers whose input each rate thins out; the read unit's score is in test_read_scores.py.
DROPOUT_BEFORE = {
    "stem": {"stem.conv1", "stem.conv2"},
    "question": {"cell.control.question", "head.question"},
    "memory": {"cell.read.memory"},
    "read": {"cell.read.knowledge"},
    "output": {"head.hidden", "head.output"},
}


@pytest.mark.parametrize("rate", DROPOUT_BEFORE)
@torch.no_grad()
def test_dropout_sits_before_the_right_layers(rate):
    """Nothing else makes an exact zero: ELU does not, and padding is inside the convolutions."""
    network = make_network(make_options("mac", dropout=_only(rate, 0.3)))
    fractions = {}

    def watch(path, module):
        def hook(_, inputs):
            fractions.setdefault(path, []).append(inputs[0].eq(0).double().mean().item())

        module.register_forward_pre_hook(hook)

    for path, module in network.named_modules():
        if isinstance(module, torch.nn.Linear | torch.nn.Conv2d):
            watch(path, module)
    torch.manual_seed(0)
    network.train()(make_batch())
    assert {path for path, zeros in fractions.items() if any(zeros)} == DROPOUT_BEFORE[rate]
    for path in DROPOUT_BEFORE[rate]:
        assert sum(fractions[path]) / len(fractions[path]) == pytest.approx(0.3, abs=0.12)


@pytest.mark.parametrize("rate", DROPOUT_BEFORE)
@torch.no_grad()
def test_every_dropout_acts_in_training_only(rate):
    plain = make_network(make_options("dact")).eval()
    network = make_network(make_options("dact", dropout=_only(rate, 0.5)))
    batch = make_batch()
    assert_same(network.eval()(batch), plain(batch))
    torch.manual_seed(3)
    first = network.train()(batch)
    assert not torch.equal(first.log_probs, plain.train()(batch).log_probs)
    assert not torch.equal(first.log_probs, network(batch).log_probs)
    torch.manual_seed(3)
    assert_same(network(batch), first)


def _only(rate, value):
    rates = dict.fromkeys(("stem", "question", "memory", "read", "output"), 0.0)
    return DropoutOptions(**{**rates, rate: value})


@torch.no_grad()
def test_gate_dropout_acts_in_training_only():
    gate = {"hidden_dims": [13], "dropout": 0.5}
    network, plain = (
        make_network(make_options("dact", gate=gate)),
        make_network(make_options("dact", gate={"hidden_dims": [13]})),
    )
    batch = make_batch()
    assert_same(network.eval()(batch), plain.eval()(batch))
    costs = [network.train()(batch).ponder_cost for _ in range(2)]
    assert not torch.equal(*costs)


# --- memory gate ------------------------------------------------------------------------------


@pytest.mark.parametrize(("logit", "keeps_old"), [(40.0, True), (-40.0, False)])
@torch.no_grad()
def test_the_memory_gate_weighs_the_old_memory(logit, keeps_old):
    network, *_ = build(*CASES["mac_gate"])
    gated = network.eval()
    gated.cell.memory_gate.linears[0].weight.zero_()
    gated.cell.memory_gate.linears[0].bias.fill_(logit)
    inputs = gated.cell.prepare(*gated.encode(make_batch()))
    state = gated.cell.initial_state(inputs)
    written = []
    gated.cell.write.register_forward_hook(lambda _, __, output: written.append(output))
    new_state, _, _ = gated.cell(state, inputs.questions.plan[:, 0], inputs)
    torch.testing.assert_close(new_state.memory, state.memory if keeps_old else written[0])
    assert not torch.allclose(state.memory, written[0])


@torch.no_grad()
def test_the_memory_gate_adds_its_bias():
    network, *_ = build(*CASES["mac_gate"])
    linear = network.gate.linears[0]
    linear.weight.zero_()
    linear.bias.zero_()
    gate = network.gate(torch.zeros(B, linear.in_features, dtype=torch.float64))
    assert gate.tolist() == pytest.approx([0.7310585786300049] * B)
