"""Build any of our networks from plain options: the one place where names become modules."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from dact.errors import UserError
from dact.models.answer_head import AnswerHead
from dact.models.encoders import GridStem, ObjectStem, QuestionEncoder
from dact.models.halting import ACT, DACT, FixedSteps, HaltingPolicy
from dact.models.layers import Gate
from dact.models.mac_cell import MACCell
from dact.models.network import MACNetwork

#: Networks that decide how many steps to take.
ADAPTIVE = ("act", "dact")


@dataclass(frozen=True)
class GateOptions:
    """The memory gate or halting unit."""

    inputs: Sequence[str] = ("control",)
    """Any of control, memory (before gating) and question."""
    hidden_dims: Sequence[int] = ()
    """Sizes of its hidden layers."""
    bias: float = 0.0
    """Added to its logit: 1 for a memory gate, 0 for halting."""
    dropout: float = 0.0
    """Rate before each of its layers."""


@dataclass(frozen=True)
class DropoutOptions:
    """Dropout rates, in 0..1."""

    stem: float = 0.18
    question: float = 0.08
    memory: float = 0.15
    read: float = 0.15
    output: float = 0.15
    variational_memory: bool = True
    """One memory mask for all steps of an example instead of a fresh one each."""


@dataclass(frozen=True)
class PenaltyOptions:
    """The ponder penalty; None takes the policy's or the penalty's own default."""

    penalty: str = "unit"
    phase: float | None = None
    min_penalty: float | None = None


@dataclass(frozen=True)
class NetworkOptions:
    """Everything about a network but the data's own sizes."""

    name: str = "dact"
    """mac, mac_gate, act or dact."""
    dim: int = 512
    """D, even."""
    max_steps: int = 12
    """N."""
    embedding_dim: int = 300
    stem_kernel: int = 3
    """Odd; for grids only, objects always have 1."""
    self_attention: bool = False
    control_init: str = "question"
    gate: GateOptions = field(default_factory=GateOptions)
    dropout: DropoutOptions = field(default_factory=DropoutOptions)
    penalty: PenaltyOptions = field(default_factory=PenaltyOptions)
    halting_bound: str | None = "exact"
    """exact, paper, or None to run all steps; DACT only."""
    epsilon: float = 0.01
    """ACT only."""

    @classmethod
    def from_dict(cls, options: Mapping) -> "NetworkOptions":
        """From plain containers, for instance those of a checkpoint."""
        nested = {"gate": GateOptions, "dropout": DropoutOptions, "penalty": PenaltyOptions}
        try:
            return cls(
                **{
                    key: nested[key](**value) if key in nested else value
                    for key, value in options.items()
                }
            )
        except TypeError as error:
            raise UserError(f"unknown or missing network option: {error}") from error


def build_network(
    options: NetworkOptions, *, num_words: int, num_answers: int, feature_dim: int, grid: bool
) -> MACNetwork:
    """A network for data of these sizes.

    Args:
        options: what kind of network.
        num_words: rows of the word embedding, padding included.
        num_answers: A, at least 2.
        feature_dim: C.
        grid: whether knowledge is a feature map (else a set of objects).
    """
    if num_answers < 2:
        raise UserError(
            f"the training data has {num_answers} answer(s), which leaves nothing to learn: "
            "check its questions file"
        )
    dropout = options.dropout
    gate = _gate(options)
    stem_options = {"feature_dim": feature_dim, "dim": options.dim, "dropout": dropout.stem}
    return MACNetwork(
        QuestionEncoder(num_words, options.dim, options.embedding_dim, dropout.question),
        GridStem(**stem_options, kernel_size=options.stem_kernel)
        if grid
        else ObjectStem(**stem_options),
        MACCell(
            options.dim,
            options.max_steps,
            self_attention=options.self_attention,
            control_init=options.control_init,
            memory_gate=gate if options.name == "mac_gate" else None,
            gate_inputs=tuple(options.gate.inputs),
            memory_dropout=dropout.memory,
            variational=dropout.variational_memory,
            read_dropout=dropout.read,
        ),
        AnswerHead(options.dim, num_answers, dropout.output),
        _policy(options, gate),
    )


def _gate(options: NetworkOptions) -> Gate | None:
    if options.name == "mac":
        return None
    gate = options.gate
    return Gate(options.dim * len(set(gate.inputs)), gate.hidden_dims, gate.bias, gate.dropout)


def _policy(options: NetworkOptions, gate: Gate | None) -> HaltingPolicy:
    penalty = {
        "penalty": options.penalty.penalty,
        "phase": options.penalty.phase,
        "min_penalty": options.penalty.min_penalty,
    }
    if options.name in ("mac", "mac_gate"):
        return FixedSteps(options.max_steps)
    if options.name == "act":
        return ACT(gate, options.max_steps, epsilon=options.epsilon, **penalty)
    if options.name == "dact":
        return DACT(gate, options.max_steps, bound=options.halting_bound, **penalty)
    raise UserError(f"model.name is mac, mac_gate, act or dact, not {options.name!r}")
