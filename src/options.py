"""Plain options of networks and ponder costs: the builders' arguments and the configuration schema.

Imports nothing, so that configurations can be checked without loading PyTorch.
"""

from dataclasses import dataclass, field

#: Networks that decide how many steps to take.
ADAPTIVE_NETWORKS = ("act", "dact", "pondernet")
#: Every network, by name.
NETWORKS = ("mac", "mac_gate", *ADAPTIVE_NETWORKS)
#: Options of a network in which it may differ from the plain MAC that it starts from.
BEYOND_THE_MAC = (
    "name",
    "gate",
    "dropout",
    "read_dropout_mode",
    "halting_bound",
    "halting_eps",
    "halting_budget",
    "halting_mode",
    "halting_exit",
    "train_halt_eps",
    "step_loss",
    "eval_steps",
    "epsilon",
    "prior",
)
#: What the names of those options of a network begin with that may differ from its checkpoint's.
CHOSEN_IN_EVALUATION = ("halting", "eval_steps")
#: What becomes of questions about images that have no features.
MISSING_IMAGES = ("refuse", "skip")
#: What to say where nobody but a checkpoint names a function, which would be imported and called.
FUNCTION_IN_CHECKPOINT = (
    "this network was trained with data.tokenizer={0}, a function that would be run: if you trust "
    "it, say data.tokenizer={0}, or --tokenizer {0} to a script"
)
PENALTIES = ("unit", "linear", "exp")
BOUNDS = ("exact", "paper", "probability", "budget")
#: Options that only some networks have; typed for another one they are refused.
USED_BY = {
    "model.halting_bound": ("dact",),
    "model.halting_eps": ("dact",),
    "model.halting_budget": ("dact",),
    "model.train_halt_eps": ("dact",),
    "model.halting_mode": ("pondernet",),
    "model.prior": ("pondernet",),
    "model.epsilon": ("act",),
    "ponder.penalty": ("act", "dact"),
    "ponder.phase": ("act", "dact"),
    "ponder.min_penalty": ("act", "dact"),
    "ponder.target_steps": ("act", "dact"),
    "ponder.target_rate": ("act", "dact"),
    "ponder.target_gain": ("act", "dact"),
}
#: Of a τ that is adapted to a number of steps, in both directions: where those are out of reach, it
#: stays near enough to come back.
LARGEST_ADAPTED_COST = 1.0
#: Bounds after which the answer of all steps might have been another one.
INEXACT_BOUNDS = ("probability", "budget")
HALTING_MODES = ("deterministic", "sampled")
GATE_INPUTS = ("control", "memory", "question")
EXITS = ("example", "batch", "never")
READ_DROPOUT_MODES = ("per_step", "variational")
EMBEDDING_INITS = ("xavier", "normal")
CONTROL_INITS = ("question", "learned")


@dataclass
class GateOptions:
    """The memory gate or halting unit."""

    inputs: list[str] = field(default_factory=lambda: ["control"])
    """Any of control, memory (before gating) and question."""
    hidden_dims: list[int] = field(default_factory=list)
    """Sizes of its hidden layers."""
    bias: float = 0.0
    """Added to its logit: 1 for a memory gate, 0 for halting."""
    dropout: float = 0.0
    """Rate before each of its layers."""


@dataclass
class DropoutOptions:
    """Dropout rates, in 0..1."""

    stem: float = 0.18
    question: float = 0.08
    memory: float = 0.15
    read: float = 0.15
    output: float = 0.15
    variational_memory: bool = True
    """One memory mask for all steps of an example instead of a fresh one each."""


@dataclass
class EmbeddingOptions:
    """What the word embedding starts from, and whether it is trained."""

    path: str | None = None
    """File of word vectors (word2vec or GloVe), read when a fit starts afresh; None: none."""
    trainable: bool = True
    """False: the embedding stays as it starts."""


@dataclass
class NetworkOptions:
    """Everything about a network but the data's own sizes."""

    name: str = "dact"
    """mac, mac_gate, act, dact or pondernet."""
    dim: int = 512
    """D, even."""
    max_steps: int = 12
    """N."""
    embedding_dim: int = 300
    embedding_init: str = "xavier"
    """xavier (the released code) or normal, N(0, 1), which learns small data much sooner."""
    embedding: EmbeddingOptions = field(default_factory=EmbeddingOptions)
    feature_scale: float = 1.0
    """Factor on the image features, for those that are small in number or size."""
    stem_kernel: int = 3
    """Odd; for grids only, objects always have 1."""
    background: bool = False
    """Objects and tokens: whether one constant cell more can be attended to; no paper has it."""
    self_attention: bool = False
    """Whether the write unit attends to earlier steps."""
    control_init: str = "question"
    """c_0 is the question vector or a learned one."""
    gate: GateOptions = field(default_factory=GateOptions)
    dropout: DropoutOptions = field(default_factory=DropoutOptions)
    halting_bound: str | None = "exact"
    """When a DACT halts in evaluation: exact or paper (neither changes the answer); probability or
    budget (as exact, or sooner: once p_n ≤ halting_eps, or after halting_budget steps); None
    never."""
    halting_eps: float = 0.2
    """ε in 0..1 of halting_bound=probability."""
    halting_budget: int | None = None
    """Steps in 1..N of halting_bound=budget."""
    halting_mode: str = "deterministic"
    """When a PonderNet halts in evaluation: deterministic (as soon as halting is likelier than not)
    or sampled."""
    halting_exit: str = "example"
    """What halting saves, never what it answers: example (who halted leaves the batch), batch (it
    runs until the last has halted) or never (all steps for all: fixed shapes, for CUDA graphs)."""
    train_halt_eps: float = 0.0
    """ε in 0..1: a DACT in training lets an example go once p_n < ε; 0 never, as in the paper."""
    step_loss: float = 0.0
    """λ in 0..1: share of the answer loss on the answers of single steps; 0 in the papers."""
    eval_steps: int | None = None
    """The most steps in evaluation, if not N; beyond N the last step's W_N is used again."""
    read_dropout_mode: str = "per_step"
    """A fresh read dropout mask each step, as in the paper, or one for all steps (variational)."""
    epsilon: float = 0.01
    """ε of ACT."""
    prior: float = 0.2
    """λ_p in 0.001..0.999 of PonderNet, the rate of its geometric prior."""


@dataclass
class PonderOptions:
    """The price of thinking."""

    cost: float = 5e-3
    """τ ≥ 0, the weight of the ponder cost in the loss (PonderNet's β); where a budget is given,
    what it begins with, 0..1."""
    target_steps: float | None = None
    """Mean steps in 1..N that τ is adapted to while training; None: τ stays as it is."""
    target_rate: float = 0.02
    """How fast τ is adapted: by so much times the learning rate, for each step over the target."""
    target_gain: float = 0.02
    """What each step over the target adds to τ for as long as it is over."""
    penalty: str = "unit"
    """unit, linear or exp."""
    phase: float | None = None
    """Steps after which a linear or exp penalty sets in; None: 5 and 7."""
    min_penalty: float | None = None
    """Constant part of the ponder cost; None: DACT 1, ACT 0."""


@dataclass
class BackboneOptions:
    """A network that turns images into features, and how they are prepared for it."""

    name: str = "resnet101"
    """What it is called in messages and in feature files."""
    model: str = "resnet101"
    """Torchvision's name of it, or `package.module:function`, called without arguments."""
    layer: str | None = None
    """Node of the network whose output is taken; None: its own output."""
    weights: str | None = None
    """Torchvision's name of them, a file with a state dict, or None: those it is made with."""
    size: list[int] = field(default_factory=lambda: [224, 224])
    """Height and width that images are scaled to."""
    mean: list[float] = field(default_factory=lambda: [0.485, 0.456, 0.406])
    """Of red, green and blue in 0..1, subtracted from an image."""
    std: list[float] = field(default_factory=lambda: [0.229, 0.224, 0.225])
    """By which the difference is divided."""
    white: float | None = None
    """Value that is white in pictures of more than 8 bits a channel, such as 4095; None: 255 or
    65535 for integers, and 1 as well for floats, as the values show."""


@dataclass
class MemberOptions:
    """Files of an archive that are unpacked."""

    match: str = ""
    """Shell pattern of the end of a file's path; so many parts of the path are kept."""
    to: str = ""
    """Folder below the dataset's root."""
    features: list[str] | None = None
    """Values of `data.features` that need them; None: all."""
    optional: bool = False
    """Whether an archive without them will do."""


@dataclass
class ArchiveOptions:
    """One zip file of a dataset."""

    url: str | None = ""
    """Where it is; None: do without it."""
    md5: str | None = None
    """Of the whole file; None: nobody has published it."""
    pictures: bool = False
    """Whether it holds pictures that only reports show."""
    members: list[MemberOptions] = field(default_factory=list)
