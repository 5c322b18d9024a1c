"""The networks once more: slow, one example, one step, one word and one cell at a time.

Written from the papers' equations alone (MAC, arXiv 1803.03067; DACT, arXiv 2004.12770; ACT, arXiv
1603.08983; PonderNet, arXiv 2107.05407) as an independent truth for the tests and the plain
implementation to measure against. An example is answered alone with only its own words and cells,
so there is nothing to mask. There is no dropout. Every operation is differentiable in the weights.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from dact.options import NetworkOptions, PonderOptions

Weights = Mapping[str, Tensor]


class OracleStep(NamedTuple):
    """One reasoning step."""

    word_attention: Tensor  # (S,)
    knowledge_attention: Tensor  # (K,)
    still_open: float
    log_probs: Tensor  # (A,) of the running answer


class OracleAnswer(NamedTuple):
    """One example's answer, and how it came about."""

    log_probs: Tensor  # (A,)
    ponder_cost: Tensor  # scalar
    steps: int
    trace: list[OracleStep]  # of every step taken


def answer_one(
    weights: Weights,
    options: NetworkOptions,
    ponder: PonderOptions,
    tokens: Sequence[int],
    features: Tensor,
    *,
    training: bool = False,
) -> OracleAnswer:
    """Answer one question about one image.

    Args:
        weights: a `MACNetwork`'s state dict or named parameters.
        options: what the network is.
        ponder: its penalty.
        tokens: the question's words and nothing else.
        features: (C, H, W) grid or (K, C) objects and nothing else.
        training: a DACT in training never halts and pays for all its steps; its `steps` are those
            that evaluation takes.
    """
    words, question = encode_question(weights, tokens)
    features = features * options.feature_scale
    cells = (
        encode_grid(weights, features) if features.dim() == 3 else encode_objects(weights, features)
    )
    take_step = reasoning(weights, options, words, question, cells)
    halt = {"act": act, "dact": dact, "pondernet": pondernet}.get(options.name, fixed)
    return halt(take_step, options, ponder, training)


# --- layers -------------------------------------------------------------------------------------


def linear(weights: Weights, name: str, inputs: Tensor) -> Tensor:
    """Wx + b."""
    return weights[f"{name}.weight"] @ inputs + weights[f"{name}.bias"]


def elu(x: Tensor) -> Tensor:
    """x if x > 0, else exp(x) - 1."""
    return torch.where(x > 0, x, torch.exp(x.clamp(max=0)) - 1)


def sigmoid(x: Tensor) -> Tensor:
    """1 / (1 + exp(-x))."""
    return 1 / (1 + torch.exp(-x))


def softmax(logits: Tensor) -> Tensor:
    """exp(x_i) / Σ_j exp(x_j)."""
    powers = torch.exp(logits - logits.max().detach())
    return powers / powers.sum()


def weighted_sum(weights: Tensor, vectors: Sequence[Tensor]) -> Tensor:
    """Σ_i w_i v_i."""
    total = torch.zeros_like(vectors[0])
    for weight, vector in zip(weights, vectors, strict=True):
        total = total + weight * vector
    return total


# --- inputs (REFERENCE 1: Input) ----------------------------------------------------------------


def lstm(weights: Weights, name: str, inputs: Sequence[Tensor]) -> list[Tensor]:
    """The hidden states of a one-layer LSTM that starts at zero; gates i, f, g, o."""
    width = weights[f"{name}.weight_hh_l0"].shape[1]
    hidden = cell = inputs[0].new_zeros(width)
    states = []
    for x in inputs:
        gates = weights[f"{name}.weight_ih_l0"] @ x + weights[f"{name}.bias_ih_l0"]
        gates = gates + weights[f"{name}.weight_hh_l0"] @ hidden + weights[f"{name}.bias_hh_l0"]
        entering, forgetting, candidate, leaving = gates.split(width)
        cell = sigmoid(forgetting) * cell + sigmoid(entering) * torch.tanh(candidate)
        hidden = sigmoid(leaving) * torch.tanh(cell)
        states.append(hidden)
    return states


def encode_question(weights: Weights, tokens: Sequence[int]) -> tuple[list[Tensor], Tensor]:
    """The words in context, and q = [last forward state; first backward state]."""
    embedded = [weights["encoder.embedding.weight"][token] for token in tokens]
    ahead = lstm(weights, "encoder.forward_lstm", embedded)
    back = lstm(weights, "encoder.backward_lstm", embedded[::-1])[::-1]
    words = [torch.cat([left, right]) for left, right in zip(ahead, back, strict=True)]
    return words, torch.cat([ahead[-1], back[0]])


def convolution(weights: Weights, name: str, image: Tensor) -> Tensor:
    """A convolution with an odd square kernel, padded so that the (C, H, W) map keeps its size."""
    kernel, bias = weights[f"{name}.weight"], weights[f"{name}.bias"]  # (D, C, k, k), (D,)
    _, height, width = image.shape
    middle = kernel.shape[-1] // 2
    rows = []
    for y in range(height):
        row = []
        for x in range(width):
            total = bias
            for dy in range(-middle, middle + 1):
                for dx in range(-middle, middle + 1):
                    if 0 <= y + dy < height and 0 <= x + dx < width:
                        pixel = image[:, y + dy, x + dx]
                        total = total + kernel[:, :, middle + dy, middle + dx] @ pixel
            row.append(total)
        rows.append(torch.stack(row, dim=-1))
    return torch.stack(rows, dim=1)


def encode_grid(weights: Weights, features: Tensor) -> list[Tensor]:
    """A (C, H, W) feature map as H·W cells, row by row."""
    hidden = elu(convolution(weights, "stem.conv1", features))
    hidden = elu(convolution(weights, "stem.conv2", hidden))
    _, height, width = hidden.shape
    return [hidden[:, y, x] for y in range(height) for x in range(width)]


def encode_objects(weights: Weights, features: Tensor) -> list[Tensor]:
    """(K, C) objects as K cells: 1×1 convolutions."""
    hidden = [elu(linear(weights, "stem.linear1", row)) for row in features]
    return [elu(linear(weights, "stem.linear2", row)) for row in hidden]


# --- one reasoning step (REFERENCE 1: Control, Read, Write, Answer head, Gate) ------------------


def control_unit(
    weights: Weights, n: int, control: Tensor, words: Sequence[Tensor], question: Tensor
) -> tuple[Tensor, Tensor]:
    """c_n, and how much of each word is in it."""
    projected = torch.tanh(linear(weights, "cell.control.question", question))
    position = linear(weights, f"cell.control.positions.{n - 1}", projected)
    query = linear(weights, "cell.control.combine", torch.cat([control, position]))
    score = "cell.control.attention.score"
    attention = softmax(torch.cat([linear(weights, score, query * word) for word in words]))
    return weighted_sum(attention, words), attention


def read_unit(
    weights: Weights, memory: Tensor, control: Tensor, cells: Sequence[Tensor]
) -> tuple[Tensor, Tensor]:
    """r_n, and how much of each cell is in it."""
    memory = linear(weights, "cell.read.memory", memory)
    logits = []
    for cell in cells:
        known = linear(weights, "cell.read.knowledge", cell)
        joined = torch.cat([memory * known, known])
        joined = elu(linear(weights, "cell.read.combine", joined))
        joined = linear(weights, "cell.read.interact", joined)
        logits.append(linear(weights, "cell.read.score", elu(joined * control)))
    attention = softmax(torch.cat(logits))
    return weighted_sum(attention, cells), attention


def write_unit(
    weights: Weights,
    retrieved: Tensor,
    control: Tensor,
    controls: Sequence[Tensor],
    memories: Sequence[Tensor],
    self_attention: bool,
) -> Tensor:
    """m_n before any gate; controls and memories are those of steps 0..n-1."""
    parts = [retrieved, memories[-1]]
    if self_attention:
        query = linear(weights, "cell.write.control", control)
        score = "cell.write.attention.score"
        attention = softmax(torch.cat([linear(weights, score, query * c) for c in controls]))
        parts.append(weighted_sum(attention, memories))
    return linear(weights, "cell.write.combine", torch.cat(parts))


def answer_head(weights: Weights, memory: Tensor, question: Tensor) -> Tensor:
    """y_n."""
    question = linear(weights, "head.question", question)
    hidden = elu(linear(weights, "head.hidden", torch.cat([memory, question])))
    return linear(weights, "head.output", hidden)


def gate_unit(
    weights: Weights,
    name: str,
    options: NetworkOptions,
    control: Tensor,
    memory: Tensor,
    question: Tensor,
) -> Tensor:
    """g_n; the input is in the order control, memory, question."""
    inputs = []
    if "control" in options.gate.inputs:
        inputs.append(control)
    if "memory" in options.gate.inputs:
        inputs.append(memory)
    if "question" in options.gate.inputs:
        inputs.append(question)
    hidden = torch.cat(inputs)
    for layer in range(len(options.gate.hidden_dims)):
        hidden = elu(linear(weights, f"{name}.linears.{layer}", hidden))
    last = len(options.gate.hidden_dims)
    logit = linear(weights, f"{name}.linears.{last}", hidden)[0]
    return sigmoid(logit + options.gate.bias)


def reasoning(
    weights: Weights,
    options: NetworkOptions,
    words: Sequence[Tensor],
    question: Tensor,
    cells: Sequence[Tensor],
):
    """A function that takes step n and gives y_n, g_n and both attentions."""
    learned = options.control_init == "learned"
    controls = [weights["cell.initial_control"] if learned else question]
    memories = [weights["cell.initial_memory"]]

    def take_step(n: int) -> tuple[Tensor, Tensor | None, Tensor, Tensor]:
        control, word_attention = control_unit(weights, n, controls[-1], words, question)
        retrieved, knowledge_attention = read_unit(weights, memories[-1], control, cells)
        memory = write_unit(weights, retrieved, control, controls, memories, options.self_attention)
        halting = None
        if options.name == "mac_gate":
            gate = gate_unit(weights, "cell.memory_gate", options, control, memory, question)
            memory = gate * memories[-1] + (1 - gate) * memory
        elif options.name != "mac":
            halting = gate_unit(weights, "policy.halting", options, control, memory, question)
        controls.append(control)
        memories.append(memory)
        logits = answer_head(weights, memory, question)
        return logits, halting, word_attention, knowledge_attention

    return take_step


# --- halting (REFERENCE 2) ----------------------------------------------------------------------


def fixed(take_step, options: NetworkOptions, ponder: PonderOptions, training: bool):
    """N steps, and the answer of the last."""
    trace = []
    for n in range(1, options.max_steps + 1):
        logits, _, *attentions = take_step(n)
        log_probs = torch.log(softmax(logits))
        trace.append(OracleStep(*attentions, float(n < options.max_steps), log_probs))
    return OracleAnswer(log_probs, torch.zeros_like(logits[0]), n, trace)


def penalty_phase(ponder: PonderOptions) -> float:
    """Where the linear and the exponential penalty set in."""
    defaults = {"unit": 0.0, "linear": 5.0, "exp": 7.0}
    return defaults[ponder.penalty] if ponder.phase is None else ponder.phase


def dact(take_step, options: NetworkOptions, ponder: PonderOptions, training: bool):
    """Weights p_{n-1} over the steps' answers, by the recursion of the paper."""
    still_open = cumulative = answer = 0.0
    phase = penalty_phase(ponder)
    cost = 1.0 if ponder.min_penalty is None else ponder.min_penalty
    trace, steps = [], None
    for n in range(1, options.max_steps + 1):
        logits, gate, *attentions = take_step(n)
        before = still_open if n > 1 else 1.0
        answer = before * softmax(logits) + (1 - before) * answer
        still_open = (1 - gate) * before
        cumulative = cumulative + still_open
        log_probs = torch.log(answer.clamp(min=1e-8))
        trace.append(OracleStep(*attentions, still_open.item(), log_probs))
        remaining = options.max_steps - n
        if steps is None and (remaining == 0 or stops(answer, still_open, options, n)):
            steps = n
        halts = remaining == 0 or (not training and steps is not None)
        if training or not halts:
            cost = (
                cost
                + {
                    "unit": still_open,
                    "linear": (cumulative - phase).clamp(min=0) + still_open,
                    "exp": torch.exp(cumulative - phase) + 1,
                }[ponder.penalty]
            )
        if halts:
            return OracleAnswer(log_probs, torch.as_tensor(cost).to(answer), steps, trace)
    raise AssertionError("the last step always halts")


def stops(answer: Tensor, still_open: Tensor, options: NetworkOptions, n: int) -> bool:
    """Whether evaluation stops after step n < N, each bound in its textbook form."""
    runner_up, top = answer.sort().values[-2:].tolist()
    p, d = still_open.item(), options.max_steps - n
    if options.halting_bound == "paper":
        return top * (1 - p) ** d - runner_up - p * d > 0
    if options.halting_bound == "probability" and p <= options.halting_eps:
        return True
    if options.halting_bound == "budget" and n >= options.halting_budget:
        return True
    if options.halting_bound in ("exact", "probability", "budget"):
        return (1 - p) ** d * (1 + top - runner_up) > 1
    return False


def act(take_step, options: NetworkOptions, ponder: PonderOptions, training: bool):
    """Weights π_n over the steps' logits, by Graves' equations."""
    spent, total = 0.0, 0.0
    phase = penalty_phase(ponder)
    cost = 0.0 if ponder.min_penalty is None else ponder.min_penalty
    trace = []
    for n in range(1, options.max_steps + 1):
        logits, gate, *attentions = take_step(n)
        remainder = 1 - spent
        halts = n == options.max_steps or (spent + gate).item() >= 1 - options.epsilon
        total = total + (remainder if halts else gate) * logits
        spent = spent + gate
        still_open = 0.0 if halts else 1 - spent.item()
        log_probs = torch.log(softmax(total))
        trace.append(OracleStep(*attentions, still_open, log_probs))
        if halts:
            cost = torch.as_tensor(cost + remainder).to(total)
            return OracleAnswer(log_probs, cost, n, trace)
        cost = (
            cost
            + {
                "unit": torch.tensor(1.0),
                "linear": torch.tensor(n - phase).clamp(min=0) + 1,
                "exp": torch.exp(torch.tensor(n - phase, dtype=total.dtype)) + 1,
            }[ponder.penalty]
        )
    raise AssertionError("the last step always halts")


def pondernet(take_step, options: NetworkOptions, ponder: PonderOptions, training: bool):
    """The distribution over the halting step, its divergence from the prior, and the answer."""
    total = options.max_steps
    prior = [options.prior * (1 - options.prior) ** (n - 1) for n in range(1, total + 1)]
    prior = [weight / sum(prior) for weight in prior]
    halting, answers, trace, steps = [], [], [], None
    for n in range(1, total + 1):
        logits, gate, *attentions = take_step(n)
        left = 1 - sum(halting, torch.zeros_like(gate))
        halting.append(left if n == total else gate * left)
        answers.append(torch.log(softmax(logits)))
        if steps is None and (n == total or sum(halting).item() >= 0.5):
            steps = n
        expected = sum(p * answer for p, answer in zip(halting, answers, strict=True))
        shown = expected if training else answers[-1]
        trace.append(OracleStep(*attentions, 1 - sum(halting).item(), shown))
        if not training and steps is not None:
            break
    cost = sum(p * torch.log(p / q) for p, q in zip(halting, prior, strict=False))
    if training:
        return OracleAnswer(expected, cost, steps, trace)
    if steps < total:
        later = 1 - sum(halting)
        cost = cost + later * torch.log(later / sum(prior[steps:]))
    return OracleAnswer(answers[-1], torch.as_tensor(cost).to(answers[-1]), steps, trace)
