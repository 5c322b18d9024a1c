"""Every policy on models that have nothing to do with MAC."""

import math

import pytest
import torch
from torch import nn

from dact.models import ACT, DACT, FixedSteps, PonderNet, Step, run_steps
from dact.models.layers import Gate

CLOSE = {"rtol": 1e-12, "atol": 1e-12}


class Scripted:
    """A recurrent model whose logits and gate values are given: (N, B, A) and (N, B).

    Its inputs are the rows that are still wanted.
    """

    def __init__(self, logits, gates, dtype=torch.float64):
        self.logits = torch.as_tensor(logits, dtype=dtype)
        self.gates = torch.as_tensor(gates, dtype=torch.float64).to(dtype)
        self.calls = 0

    @property
    def rows(self):
        """All of them."""
        return torch.arange(self.logits.shape[1])

    def initial_state(self, inputs):
        return 0

    def step(self, state, inputs, n):
        assert n == state + 1
        self.calls += 1
        gates = self.gates[n - 1, inputs].logit().unsqueeze(-1)
        return n, Step(self.logits[n - 1, inputs], gates, n)


class Counter(nn.Module):
    """A recurrent model that reads a vector again and again."""

    def __init__(self, width=5, answers=4, confidence=8.0):
        super().__init__()
        self.cell = nn.GRUCell(3, width)
        self.answer = nn.Linear(width, answers)
        self.confidence = confidence

    def initial_state(self, inputs):
        return inputs.new_zeros(len(inputs), self.cell.hidden_size)

    def step(self, state, inputs, n):
        state = self.cell(inputs, state)
        return state, Step(self.confidence * self.answer(state), state)


def pass_through():
    """A gate whose value is the one the script says."""
    gate = Gate(1).double()
    nn.init.ones_(gate.linears[0].weight)
    return gate


def logs(*steps):
    """Probabilities of each step as logits."""
    return torch.tensor(steps, dtype=torch.float64).log()


def run(policy, logits, gates, *, training=False, **kwargs):
    model = Scripted(logits, gates)
    halted, _ = run_steps(model, policy.train(training), model.rows, **kwargs)
    return halted


def random_script(max_steps=6, batch=11, answers=4, seed=0):
    generator = torch.Generator().manual_seed(seed)
    logits = 3 * torch.randn(max_steps, batch, answers, generator=generator, dtype=torch.float64)
    return logits, torch.rand(max_steps, batch, generator=generator, dtype=torch.float64)


def policies(max_steps, gate=pass_through):
    return {
        "fixed": FixedSteps(max_steps),
        "act": ACT(gate(), max_steps),
        "dact": DACT(gate(), max_steps),
        "dact_paper": DACT(gate(), max_steps, bound="paper"),
        "dact_never_early": DACT(gate(), max_steps, bound=None),
        "dact_probability": DACT(gate(), max_steps, bound="probability", eps=0.2),
        "dact_budget": DACT(gate(), max_steps, bound="budget", budget=max(max_steps - 2, 1)),
        "pondernet": PonderNet(gate(), max_steps),
    }


every_policy = pytest.mark.parametrize("name", policies(1))
both_modes = pytest.mark.parametrize("training", [False, True], ids=["eval", "train"])

# --- fixed ------------------------------------------------------------------------------------


@both_modes
def test_fixed_steps(training):
    logits, gates = random_script(max_steps=3)
    halted = run(FixedSteps(3), logits, gates, training=training)
    torch.testing.assert_close(halted.log_probs, logits[2].log_softmax(-1), **CLOSE)
    assert halted.steps.tolist() == [3] * 11
    assert halted.ponder_cost.tolist() == [0] * 11


# --- DACT -------------------------------------------------------------------------------------

#: p = .5, .25, .125 and P = .5, .75, .875; a_3 = .25 y_3 + .75 (.5 y_2 + .5 y_1).
BY_HAND = (logs([[0.75, 0.25]], [[0.25, 0.75]], [[0.9, 0.1]]), [[0.5], [0.5], [0.5]])


@both_modes
def test_dact_answer_by_hand(training):
    halted = run(DACT(pass_through(), 3, bound=None), *BY_HAND, training=training)
    torch.testing.assert_close(halted.log_probs.exp(), logs([0.6, 0.4]).exp(), **CLOSE)
    assert halted.steps.tolist() == [3]


@pytest.mark.parametrize(
    ("options", "in_training", "in_evaluation"),
    [
        ({}, 1.875, 1.75),
        ({"min_penalty": 0.0}, 0.875, 0.75),
        ({"penalty": "linear", "phase": 0.6}, 1.875 + 0.15 + 0.275, 1.75 + 0.15),
        ({"penalty": "linear"}, 1.875, 1.75),
        (
            {"penalty": "exp", "phase": 0.5},
            4 + 1 + math.exp(0.25) + math.exp(0.375),
            3 + 1 + math.exp(0.25),
        ),
        (
            {"penalty": "exp"},
            4 + math.exp(-6.5) + math.exp(-6.25) + math.exp(-6.125),
            3 + math.exp(-6.5) + math.exp(-6.25),
        ),
    ],
)
def test_dact_ponder_cost_by_hand(options, in_training, in_evaluation):
    """Evaluation does not pay for the last step."""
    policy = DACT(pass_through(), 3, bound=None, **options)
    cost = run(policy, *BY_HAND, training=True).ponder_cost
    assert cost.tolist() == pytest.approx([in_training])
    cost = run(policy, *BY_HAND).ponder_cost
    assert cost.tolist() == pytest.approx([in_evaluation])


def test_dact_halts_by_hand():
    """Exact: (1 - .1)² 1.5 = 1.215 > 1 at once; .75² 1.5 < 1, then p_2 = .05: .95 · 1.525 > 1."""
    logits = logs([[0.75, 0.25]] * 2, [[0.25, 0.75], [0.8, 0.2]], [[0.5, 0.5]] * 2)
    gates = [[0.9, 0.75], [0.5, 0.8], [0.5, 0.5]]
    halted = run(DACT(pass_through(), 3), logits, gates)
    assert halted.steps.tolist() == [1, 2]
    wanted = logs([0.75, 0.25], [0.75 * 0.75 + 0.25 * 0.8, 0.75 * 0.25 + 0.25 * 0.2])
    torch.testing.assert_close(halted.log_probs, wanted, **CLOSE)
    assert halted.ponder_cost.tolist() == pytest.approx([1.0, 1.25])
    # Paper: .75·.81 - .25 - .2 = .1575 > 0 at once; .75·.5625 - .25 - .5 < 0, then .51 > 0.
    assert run(DACT(pass_through(), 3, bound="paper"), logits, gates).steps.tolist() == [1, 2]


def test_dact_in_training_takes_all_steps():
    model = Scripted(*random_script())
    halted, _ = run_steps(model, DACT(pass_through(), 6).train(), model.rows)
    assert model.calls == 6
    evaluated, _ = run_steps(model, DACT(pass_through(), 6).eval(), model.rows)
    assert halted.steps.tolist() == evaluated.steps.tolist()  # what evaluation would have taken
    assert len(set(halted.steps.tolist())) > 1
    never, _ = run_steps(model, DACT(pass_through(), 6, bound=None).train(), model.rows)
    assert never.steps.tolist() == [6] * 11


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])
@torch.no_grad()
def test_the_early_answer_is_the_full_answer(dtype):
    torch.manual_seed(0)
    steps = {"exact": [], "paper": []}
    for confidence in (1.0, 4.0, 16.0):
        gate = Gate(5, bias=0.5).to(dtype)
        model = Counter(confidence=confidence).to(dtype)
        inputs = 3 * torch.randn(200, 3, dtype=dtype)
        full, _ = run_steps(model, DACT(gate, 9, bound=None).eval(), inputs)
        for bound, taken in steps.items():
            early, _ = run_steps(model, DACT(gate, 9, bound=bound).eval(), inputs)
            assert torch.equal(early.log_probs.argmax(-1), full.log_probs.argmax(-1))
            taken.extend(early.steps.tolist())
    assert sum(steps["exact"]) < sum(steps["paper"]) < 9 * 600
    assert all(exact <= paper for exact, paper in zip(*steps.values(), strict=True))
    assert len(set(steps["exact"])) > 3


@both_modes
def test_open_weight_never_grows(training):
    model = Scripted(*random_script())
    _, trace = run_steps(model, DACT(pass_through(), 6).train(training), model.rows, trace=True)
    assert (trace.still_open.diff(dim=1) <= 0).all()
    probs = trace.log_probs.exp()
    assert (trace.log_probs <= 0).all()
    torch.testing.assert_close(probs.sum(-1), torch.ones_like(probs[..., 0]), rtol=0, atol=1e-6)


# --- ACT --------------------------------------------------------------------------------------

#: H = .3, .6, 1.1 halts at 3 with R = .4; .1 each never halts, R = .8; .995 at once, R = 1.
ACT_GATES = [[0.3, 0.1, 0.995], [0.3, 0.1, 0.5], [0.5, 0.1, 0.5]]


@both_modes
def test_act_by_hand(training):
    logits, _ = random_script(max_steps=3, batch=3)
    halted = run(ACT(pass_through(), 3), logits, ACT_GATES, training=training)
    assert halted.steps.tolist() == [3, 3, 1]
    assert halted.ponder_cost.tolist() == pytest.approx([2.4, 2.8, 1.0])
    weights = torch.tensor([[0.3, 0.1, 1.0], [0.3, 0.1, 0.0], [0.4, 0.8, 0.0]]).double()
    wanted = (weights.unsqueeze(-1) * logits).sum(0).log_softmax(-1)
    torch.testing.assert_close(halted.log_probs, wanted, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(
    ("options", "wanted"),
    [
        ({"min_penalty": 1.0}, [3.4, 3.8, 2.0]),
        ({"penalty": "linear"}, [2.4, 2.8, 1.0]),
        ({"penalty": "linear", "phase": 0.5}, [4.4, 4.8, 1.0]),
        (
            {"penalty": "exp", "phase": 1.0},
            [3 + math.e + 0.4, 3 + math.e + 0.8, 1.0],
        ),
        (
            {"penalty": "exp"},
            [2 + math.exp(-6) + math.exp(-5) + remainder for remainder in (0.4, 0.8)] + [1.0],
        ),
    ],
)
@both_modes
def test_act_ponder_cost_by_hand(options, wanted, training):
    """Step penalties 1, then max(n - phase, 0) + 1 or exp(n - phase) + 1 for n = 1, 2; and R."""
    policy = ACT(pass_through(), 3, **options)
    logits, _ = random_script(max_steps=3, batch=3)
    cost = run(policy, logits, ACT_GATES, training=training).ponder_cost
    assert cost.tolist() == pytest.approx(wanted)


@both_modes
def test_act_weights_sum_to_one(training):
    """Constant logits come out as they went in."""
    logits, gates = random_script()
    logits = logits[:1].expand_as(logits)
    halted = run(ACT(pass_through(), 6), logits, gates, training=training)
    torch.testing.assert_close(halted.log_probs, logits[0].log_softmax(-1), **CLOSE)
    assert halted.steps.unique().numel() > 2


@pytest.mark.parametrize(("gate", "steps"), [(0.9501, 1), (0.9499, 2), (1.0, 1)])
def test_act_halts_at_one_minus_epsilon(gate, steps):
    logits, _ = random_script(max_steps=3, batch=1)
    halted = run(ACT(pass_through(), 3, epsilon=0.05), logits, [[gate]] * 3)
    assert halted.steps.tolist() == [steps]


# --- DACT, told when to stop ------------------------------------------------------------------


@torch.no_grad()
def test_the_probability_bound_stops_at_epsilon_or_as_the_exact_one():
    """Answers so near each other that the exact bound takes all steps, and one that is sure."""
    gates = torch.tensor([[0.5, 0.95, 0.6], [0.9, 0.5, 0.9], [0.9, 0.5, 0.9]])
    logits = torch.tensor([[1.0, 1.01, 0], [1.0, 1.01, 0], [20.0, 0, 0]], dtype=torch.float64)
    logits = logits.expand(3, 3, 3)  # p = .5, .05, .005 and .05, .025, … and .4, .04, …
    for eps, steps in ((1.0, [1, 1, 1]), (0.1, [2, 1, 2]), (0.045, [3, 2, 2]), (0.0, [3, 3, 2])):
        policy = DACT(pass_through(), 3, bound="probability", eps=eps)
        assert run(policy, logits, gates).steps.tolist() == steps


@pytest.mark.parametrize("eps", [0.5, 0.3, 0.1])
@torch.no_grad()
def test_what_the_probability_bound_changes_is_bounded(eps):
    """Each of the d steps left moves the answer by at most 2 p_n ≤ 2ε in sum."""
    logits, gates = random_script(max_steps=9, batch=200)
    early = run(DACT(pass_through(), 9, bound="probability", eps=eps), logits, gates)
    full = run(DACT(pass_through(), 9, bound=None), logits, gates)
    exact = run(DACT(pass_through(), 9), logits, gates)
    assert 1 < early.steps.double().mean() < exact.steps.double().mean()
    sooner = early.steps < exact.steps
    apart = (early.log_probs.exp() - full.log_probs.exp()).abs().sum(-1)
    assert (apart <= 2 * (9 - early.steps) * eps + 1e-6)[sooner].all()
    assert (early.steps <= exact.steps).all()


@pytest.mark.parametrize("budget", [1, 3, 6])
@torch.no_grad()
def test_the_budget_bound_is_the_exact_one_cut_short(budget):
    logits, gates = random_script()
    exact = run(DACT(pass_through(), 6), logits, gates)
    cut = run(DACT(pass_through(), 6, bound="budget", budget=budget), logits, gates)
    assert torch.equal(cut.steps, exact.steps.clamp(max=budget))
    same = exact.steps <= budget
    torch.testing.assert_close(cut.log_probs[same], exact.log_probs[same], rtol=0, atol=0)


@pytest.mark.parametrize(("name", "budget"), [("budget", None), ("budget", 0), ("budget", 7)])
def test_a_budget_beyond_the_steps_there_are_is_refused(name, budget):
    with pytest.raises(ValueError, match=r"1\.\.6 steps, not"):
        DACT(pass_through(), 6, bound=name, budget=budget)


def test_an_unknown_bound_is_refused():
    with pytest.raises(ValueError, match="not 'tight'"):
        DACT(pass_through(), 6, bound="tight")


@torch.no_grad()
def test_without_halting_is_the_same_policy_run_to_its_end():
    logits, gates = random_script()
    policy = DACT(pass_through(), 6)
    full = run(policy.without_halting(), logits, gates)
    wanted = run(DACT(pass_through(), 6, bound=None), logits, gates)
    assert torch.equal(full.log_probs, wanted.log_probs)
    assert full.steps.tolist() == [6] * 11
    assert policy.without_halting().halting is policy.halting
    assert run(policy, logits, gates).steps.tolist() != [6] * 11


# --- PonderNet --------------------------------------------------------------------------------

#: λ = .2, .5, anything: P = .2, .4, .4.
PONDER_GATES = [[0.2], [0.5], [0.3]]
P = torch.tensor([0.2, 0.4, 0.4], dtype=torch.float64)
#: λ_p = 1/2, over three steps.
PRIOR = torch.tensor([4 / 7, 2 / 7, 1 / 7], dtype=torch.float64)


def test_pondernet_in_training_by_hand():
    logits, _ = random_script(max_steps=3, batch=1)
    halted = run(PonderNet(pass_through(), 3, prior=0.5), logits, PONDER_GATES, training=True)
    wanted = (P.view(3, 1, 1) * logits.log_softmax(-1)).sum(0)
    torch.testing.assert_close(halted.log_probs, wanted, **CLOSE)
    divergence = (P * (P / PRIOR).log()).sum()
    torch.testing.assert_close(halted.ponder_cost, divergence.unsqueeze(0), **CLOSE)
    assert halted.steps.tolist() == [2]  # .2 < .5 ≤ .6


def test_pondernet_in_evaluation_by_hand():
    """It has halted at 1 or 2, or would later: .2, .4, .4 against 4/7, 2/7, 1/7, here all of it."""
    logits, _ = random_script(max_steps=3, batch=1)
    halted = run(PonderNet(pass_through(), 3, prior=0.5), logits, PONDER_GATES)
    torch.testing.assert_close(halted.log_probs, logits[1].log_softmax(-1), **CLOSE)
    assert halted.steps.tolist() == [2]
    divergence = (P * (P / PRIOR).log()).sum()
    torch.testing.assert_close(halted.ponder_cost, divergence.unsqueeze(0), **CLOSE)


@torch.no_grad()
def test_what_evaluation_knows_of_the_divergence_is_at_most_the_whole():
    logits, gates = random_script()
    whole = run(PonderNet(pass_through(), 6), logits, gates, training=True)
    known = run(PonderNet(pass_through(), 6), logits, gates)
    assert (known.ponder_cost <= whole.ponder_cost + 1e-12).all()
    assert (known.ponder_cost < whole.ponder_cost - 1e-3).any()
    assert torch.equal(known.steps, whole.steps)


def test_a_pondernet_that_halts_as_its_prior_says_pays_nothing():
    """λ_n of the cut geometric distribution: P_n / (1 - P_1 - ... - P_{n-1})."""
    prior = torch.tensor(PonderNet(pass_through(), 5, prior=0.3).prior, dtype=torch.float64)
    left = 1 - prior.cumsum(0) + prior
    gates = (prior / left).clamp(max=1 - 1e-9).unsqueeze(1)
    logits, _ = random_script(max_steps=5, batch=1)
    halted = run(PonderNet(pass_through(), 5, prior=0.3), logits, gates, training=True)
    assert prior.sum().item() == pytest.approx(1)
    assert halted.ponder_cost.item() == pytest.approx(0, abs=1e-12)


@torch.no_grad()
def test_sampled_steps_follow_the_distribution():
    torch.manual_seed(0)
    count = 20_000
    logits = torch.zeros(3, count, 4, dtype=torch.float64)
    gates = torch.tensor(PONDER_GATES).expand(3, count)
    steps = run(PonderNet(pass_through(), 3, sampled=True), logits, gates).steps
    shares = torch.bincount(steps, minlength=4)[1:] / count
    torch.testing.assert_close(shares.double(), P, rtol=0, atol=0.015)  # four standard deviations


@pytest.mark.parametrize("bias", [-1000.0, 1000.0])
def test_pondernet_survives_a_halting_unit_that_is_sure(bias):
    logits, gates = random_script(max_steps=3, batch=1)
    policy = PonderNet(Gate(1, bias=bias).double(), 3)
    halted = run(policy, logits, gates, training=True)
    assert halted.steps.tolist() == [1 if bias > 0 else 3]
    (halted.ponder_cost.sum() - halted.log_probs[0, 0]).backward()
    assert halted.ponder_cost.isfinite().all()
    for parameter in policy.parameters():
        assert parameter.grad.isfinite().all()


# --- all of them ------------------------------------------------------------------------------


@every_policy
@both_modes
def test_one_step_is_a_plain_classifier(name, training):
    logits, gates = random_script(max_steps=1)
    halted = run(policies(1)[name], logits, gates, training=training)
    torch.testing.assert_close(halted.log_probs, logits[0].log_softmax(-1), **CLOSE)
    assert halted.steps.tolist() == [1] * 11
    if name in ("fixed", "pondernet"):
        wanted = [0.0] * 11
    elif name == "act" or not training:
        wanted = [1.0] * 11
    else:
        wanted = (2 - gates[0]).tolist()
    assert halted.ponder_cost.tolist() == pytest.approx(wanted)


@every_policy
@both_modes
def test_a_batch_is_its_examples_one_by_one(name, training):
    """A halted example stays as it is while others run on; sizes of a batch may round otherwise."""
    logits, gates = random_script()
    together = run(policies(6)[name], logits, gates, training=training)
    last_bits = {"rtol": 4 * torch.finfo(torch.float64).eps, "atol": 0.0}
    for row in range(11):
        alone = run(policies(6)[name], logits[:, [row]], gates[:, [row]], training=training)
        assert alone.steps[0] == together.steps[row]
        assert alone.log_probs[0].argmax() == together.log_probs[row].argmax()
        probs = together.log_probs[row].exp()
        torch.testing.assert_close(alone.log_probs[0].exp(), probs, **last_bits)
        cost = together.ponder_cost[row]
        torch.testing.assert_close(alone.ponder_cost[0], cost, **last_bits)


@every_policy
@both_modes
@pytest.mark.parametrize("early_exit", ["never", "batch"])
def test_the_others_in_a_batch_change_no_bit(name, training, early_exit):
    logits, gates = random_script()
    how = {"training": training, "early_exit": early_exit}
    wanted = run(policies(6)[name], logits, gates, **how)
    for row in range(11):
        others = random_script(seed=row + 1)
        for values, own in zip(others, (logits, gates), strict=True):
            values[:, row] = own[:, row]
        for one, same in zip(run(policies(6)[name], *others, **how), wanted, strict=True):
            assert one[row].equal(same[row])


@every_policy
def test_the_loop_stops_when_everyone_has_halted(name):
    logits, gates = random_script(max_steps=9)
    model = Scripted(logits, gates.clamp(min=0.4))
    halted, _ = run_steps(model, policies(9)[name].eval(), model.rows)
    assert model.calls == halted.steps.max()
    if name not in ("fixed", "dact_never_early"):
        assert model.calls < 9
        assert halted.steps.min() < halted.steps.max()
    else:
        assert model.calls == 9


def test_an_unknown_exit_is_refused():
    model = Scripted(*random_script())
    with pytest.raises(AssertionError, match=r"early_exit is example, batch, never, not 'none'"):
        run_steps(model, FixedSteps(6), model.rows, early_exit="none")


@every_policy
def test_halted_values_are_what_they_are_documented_to_be(name):
    halted = run(policies(6)[name], *random_script())
    assert halted.steps.dtype == torch.int64
    assert ((halted.steps >= 1) & (halted.steps <= 6)).all()
    assert (halted.log_probs <= 0).all()
    assert (halted.ponder_cost >= 0).all()


@every_policy
def test_trace_is_on_request_and_ends_in_the_answer(name):
    model = Scripted(*random_script())
    assert run_steps(model, policies(6)[name].eval(), model.rows)[1] is None
    halted, trace = run_steps(model, policies(6)[name].eval(), model.rows, trace=True)
    taken = int(halted.steps.max())
    assert trace.still_open.shape == (11, taken)
    assert trace.log_probs.shape == (11, taken, 4)
    assert trace.steps == tuple(range(1, taken + 1))
    assert torch.equal(trace.log_probs[:, -1], halted.log_probs)
    assert ((trace.still_open >= 0) & (trace.still_open <= 1)).all()
    for row, steps in enumerate(halted.steps.tolist()):
        assert (trace.log_probs[row, steps - 1 :] == halted.log_probs[row]).all()


@pytest.mark.parametrize("name", ["act", "dact", "pondernet"])
@pytest.mark.parametrize("part", ["log_probs", "ponder_cost"])
def test_training_reaches_the_halting_unit_and_the_model(name, part):
    torch.manual_seed(0)
    model = Counter()
    policy = policies(5, lambda: Gate(5, [3], bias=-1.0))[name].train()
    halted, _ = run_steps(model, policy, torch.randn(7, 3))
    getattr(halted, part).square().sum().backward()
    for module in (policy.halting, model.cell):
        for parameter in module.parameters():
            assert parameter.grad.isfinite().all()
            assert parameter.grad.ne(0).any()


@every_policy
@both_modes
def test_low_precision_logits_are_accumulated_in_float32(name, training):
    logits, gates = random_script()
    low = Scripted(logits, gates, dtype=torch.bfloat16)
    high = Scripted(low.logits, low.gates, dtype=torch.float32)
    # The script's logit() would round differently in the two precisions.
    high.step = lambda state, inputs, n: (
        n,
        Step(high.logits[n - 1, inputs], low.gates[n - 1, inputs].logit().unsqueeze(-1).float()),
    )
    policy = policies(6)[name].to(torch.float32).train(training)
    with torch.autocast("cpu", torch.bfloat16):
        got, trace = run_steps(low, policy, low.rows, trace=True)
    wanted, _ = run_steps(high, policy, high.rows)
    assert got.log_probs.dtype == got.ponder_cost.dtype == torch.float32
    assert trace.log_probs.dtype == trace.still_open.dtype == torch.float32
    assert torch.equal(got.steps, wanted.steps)
    torch.testing.assert_close(got.log_probs, wanted.log_probs)
    torch.testing.assert_close(got.ponder_cost, wanted.ponder_cost)


def test_defaults_of_the_penalties():
    gate = Gate(1)
    assert DACT(gate, 3).min_penalty == 1
    assert ACT(gate, 3).min_penalty == 0
    for policy in (ACT, DACT):
        assert policy(gate, 3, penalty="linear").phase == 5
        assert policy(gate, 3, penalty="exp").phase == 7
        assert policy(gate, 3, penalty="exp", phase=0.0).phase == 0
        assert policy(gate, 3, min_penalty=0.0).min_penalty == 0
