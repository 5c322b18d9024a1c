"""Build any of our networks from plain options: the one place where names become modules."""

from dact.errors import UserError
from dact.models.answer_head import AnswerHead
from dact.models.encoders import GridStem, ObjectStem, QuestionEncoder
from dact.models.halting import ACT, DACT, FixedSteps, HaltingPolicy, PonderNet
from dact.models.layers import Gate
from dact.models.mac_cell import MACCell
from dact.models.network import MACNetwork
from dact.options import NETWORKS, NetworkOptions, PonderOptions


def build_network(
    options: NetworkOptions,
    *,
    num_words: int,
    num_answers: int,
    feature_dim: int,
    grid: bool,
    ponder: PonderOptions | None = None,
) -> MACNetwork:
    """A network for data of these sizes.

    Args:
        options: what kind of network.
        num_words: rows of the word embedding, padding included.
        num_answers: A, at least 2.
        feature_dim: C.
        grid: whether knowledge is a feature map (else a set of objects).
        ponder: penalty of an adaptive network; its weight in the loss is not used here.
    """
    if num_answers < 2:
        raise UserError(
            f"the training data has {num_answers} answer(s), which leaves nothing to learn: "
            "check its questions file"
        )
    gate = _gate(options)
    return MACNetwork(
        QuestionEncoder(
            num_words,
            options.dim,
            options.embedding_dim,
            options.dropout.question,
            embedding_init=options.embedding_init,
            embedding_trainable=options.embedding.trainable,
        ),
        _stem(options, feature_dim, grid),
        _cell(options, gate),
        AnswerHead(options.dim, num_answers, options.dropout.output),
        _policy(options, gate, ponder or PonderOptions()),
        feature_scale=options.feature_scale,
        halting_exit=options.halting_exit,
        step_loss=options.step_loss,
        eval_steps=options.eval_steps,
    )


def _stem(options: NetworkOptions, feature_dim: int, grid: bool) -> GridStem | ObjectStem:
    rate = options.dropout.stem
    if grid and options.background:
        raise UserError(
            "model.background=true is for objects and tokens; a feature map shows the background "
            "of its picture: leave model.background out"
        )
    if grid:
        return GridStem(feature_dim, options.dim, rate, options.stem_kernel)
    return ObjectStem(feature_dim, options.dim, rate, background=options.background)


def _cell(options: NetworkOptions, gate: Gate | None) -> MACCell:
    dropout = options.dropout
    return MACCell(
        options.dim,
        options.max_steps,
        self_attention=options.self_attention,
        control_init=options.control_init,
        memory_gate=gate if options.name == "mac_gate" else None,
        gate_inputs=tuple(options.gate.inputs),
        memory_dropout=dropout.memory,
        variational=dropout.variational_memory,
        read_dropout=dropout.read,
        variational_read=options.read_dropout_mode == "variational",
    )


def _gate(options: NetworkOptions) -> Gate | None:
    if options.name == "mac":
        return None
    gate = options.gate
    return Gate(options.dim * len(set(gate.inputs)), gate.hidden_dims, gate.bias, gate.dropout)


def _policy(options: NetworkOptions, gate: Gate | None, ponder: PonderOptions) -> HaltingPolicy:
    penalty = {
        "penalty": ponder.penalty,
        "phase": ponder.phase,
        "min_penalty": ponder.min_penalty,
    }
    if options.name in ("mac", "mac_gate"):
        return FixedSteps(options.max_steps)
    if options.name == "act":
        return ACT(gate, options.max_steps, epsilon=options.epsilon, **penalty)
    if options.name == "pondernet":
        sampled = options.halting_mode == "sampled"
        return PonderNet(gate, options.max_steps, prior=options.prior, sampled=sampled)
    if options.name == "dact":
        return DACT(
            gate,
            options.max_steps,
            bound=options.halting_bound,
            eps=options.halting_eps,
            budget=options.halting_budget,
            train_eps=options.train_halt_eps,
            **penalty,
        )
    known = ", ".join(NETWORKS)
    raise UserError(f"model.name={options.name} is unknown: choose one of {known}")
