"""What `benchmark.py` compares: networks, batches and halting units, at two sizes."""

from dataclasses import dataclass, replace

import torch
from plain_mac import PlainMAC

from dact.batch import VQABatch
from dact.models import MACNetwork, build_network
from dact.models.halting import DACT, Step
from dact.options import DropoutOptions, NetworkOptions


@dataclass(frozen=True)
class Size:
    """Shapes of a benchmark."""

    dim: int
    channels: int
    grid: int
    batch: int
    steps: int
    words: int
    vocabulary: int = 90
    answers: int = 28
    embedding: int = 300


SIZES = {
    "clevr": Size(512, 1024, 14, 64, 12, 30),
    "mini": Size(96, 18, 3, 64, 5, 20, embedding=64),
}


@dataclass(frozen=True)
class How:
    """Where ours and the plain one run, and what is changed in ours."""

    device: str = "cpu"
    compile: bool = False
    fixed_shapes: bool = False
    """Nobody leaves the batch; with `compile`, CUDA graphs are taken."""


@dataclass(frozen=True)
class Case:
    """One comparison."""

    name: str
    model: str = "mac"
    train: bool = False
    questions_per_image: int = 1
    mean_steps: float | None = None
    """Mean active steps that the halting unit is set to."""
    read_dropout_mode: str = "per_step"
    train_halt_eps: float = 0.0
    bf16: bool = False
    halting_exit: str = "example"


CASES = (
    Case("eval_mac"),
    Case("eval_mac_shared", questions_per_image=10),
    Case("eval_dact_shared", "dact", questions_per_image=10, mean_steps=3),
    Case("eval_dact_waiting", "dact", False, 10, 3, halting_exit="batch"),
    Case("eval_dact_bf16", "dact", questions_per_image=10, mean_steps=3, bf16=True),
    Case("train_exact", "dact", True),
    Case("train_shared", "dact", True, 5, None, "variational"),
    Case("train_halt", "dact", True, 5, 4, "variational", 1e-3),
    Case("train_bf16", "dact", True, 5, None, "variational", bf16=True),
)


def make_batch(size: Size, questions_per_image: int) -> VQABatch:
    """Random questions about random images, those of an image next to each other."""
    count, images = size.batch, -(-size.batch // questions_per_image)
    lengths = torch.randint(size.words // 3, size.words + 1, (count,))
    lengths[0] = size.words
    tokens = torch.randint(2, size.vocabulary, (count, size.words))
    tokens = tokens * (torch.arange(size.words) < lengths[:, None])
    zeros = torch.zeros(count, dtype=torch.int64)
    return VQABatch(
        tokens=tokens,
        lengths=lengths,
        features=torch.rand(images, size.channels, size.grid, size.grid),
        num_cells=torch.full((images,), size.grid**2),
        image_index=torch.arange(count) // questions_per_image,
        answers=torch.randint(0, size.answers, (count,)),
        question_types=zeros,
        program_lengths=zeros,
        reads_needed=zeros,
        positions=torch.arange(count),
    )


def options_of(case: Case, size: Size) -> NetworkOptions:
    """The network of a case, with the paper's dropout and halting bound."""
    return NetworkOptions(
        name=case.model,
        dim=size.dim,
        max_steps=size.steps,
        embedding_dim=size.embedding,
        dropout=DropoutOptions(),
        halting_bound="paper",
        read_dropout_mode=case.read_dropout_mode,
        train_halt_eps=case.train_halt_eps,
        halting_exit=case.halting_exit,
    )


def build(case: Case, size: Size, how: How) -> tuple[MACNetwork, PlainMAC, VQABatch]:
    """Ours, the plain twin and a batch, of the same numbers every time."""
    torch.manual_seed(0)
    options = options_of(case, size)
    network = build_network(
        options,
        num_words=size.vocabulary,
        num_answers=size.answers,
        feature_dim=size.channels,
        grid=True,
    )
    batch = make_batch(size, case.questions_per_image)
    if case.mean_steps is not None:
        set_halting(network, batch, case.mean_steps)
        options = replace(options, gate=replace(options.gate, bias=network.gate.bias))
    plain = PlainMAC(network, options).train(case.train).to(how.device)
    network = network.train(case.train).to(how.device)
    if how.compile:
        network.compile_parts(mode="reduce-overhead" if how.fixed_shapes else None)
    if how.fixed_shapes:
        network.halting_exit = "never"
    return network, plain, VQABatch(*(tensor.to(how.device) for tensor in batch))


@torch.no_grad()
def set_halting(network: MACNetwork, batch: VQABatch, mean_steps: float) -> None:
    """Set the halting unit so that the examples of `batch` take `mean_steps` on average, spread.

    Its weights and those of the answers are enlarged, so that examples differ and answers are
    clear; then its bias is found by bisection on a record of all steps.
    """
    policy, unit = network.policy, network.gate
    network.head.output.weight.mul_(20)
    steps = record(network.eval(), batch)
    spread = torch.cat([unit.linears[0](step.halting_input) for step in steps]).std()
    unit.linears[0].weight.mul_(3 / spread)
    policy.train(policy.train_eps > 0)
    low, high = -30.0, 30.0
    while high - low > 0.01:  # the very bias would leave an example between two steps
        unit.bias = (low + high) / 2
        if replay(policy, steps) > mean_steps:
            low = unit.bias
        else:
            high = unit.bias


def record(network: MACNetwork, batch: VQABatch) -> list[Step]:
    """All N steps, whatever the policy thinks of them."""
    inputs = network.cell.prepare(*network.encode(batch))
    state, steps = network.initial_state(inputs), []
    for n in range(1, network.policy.max_steps + 1):
        state, step = network.step(state, inputs, n)
        steps.append(step)
    return steps


def replay(policy: DACT, steps: list[Step]) -> float:
    """Mean steps that a policy would have taken of recorded ones."""
    state = policy.start(steps[0])
    for n, step in enumerate(steps, 1):
        state = policy.update(state, step, n)
    return state.steps.float().mean().item()
