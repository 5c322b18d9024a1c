"""Small batches and networks whose sizes are all different, so that swapped axes cannot pass."""

import torch
from torch import Tensor, nn

from dact.batch import PADDING, VQABatch
from dact.models import MACNetwork, build_network
from dact.options import DropoutOptions, GateOptions, NetworkOptions, PonderOptions

B, IMAGES, S, K, HEIGHT, WIDTH, C, D, A, N, E, V = 3, 2, 7, 11, 2, 4, 13, 34, 19, 5, 23, 29
NO_DROPOUT = {"stem": 0.0, "question": 0.0, "memory": 0.0, "read": 0.0, "output": 0.0}


def make_options(name: str = "dact", *, gate: dict | None = None, **changes) -> NetworkOptions:
    """A tiny network's options; no dropout unless asked for."""
    gate = {"bias": 1.0 if name == "mac_gate" else 0.0, **(gate or {})}
    values = {
        "dim": D,
        "max_steps": N,
        "embedding_dim": E,
        "dropout": DropoutOptions(**NO_DROPOUT),
        **changes,
    }
    return NetworkOptions(name=name, gate=GateOptions(**gate), **values)


def make_network(
    options: NetworkOptions,
    *,
    grid: bool = True,
    ponder: PonderOptions | None = None,
    seed: int = 0,
) -> MACNetwork:
    """A float64 network with every parameter random, biases and initial states too."""
    torch.manual_seed(seed)
    network = build_network(
        options, num_words=V, num_answers=A, feature_dim=C, grid=grid, ponder=ponder
    ).double()
    randomise(network)
    return network


def randomise(network: nn.Module) -> None:
    """Random vectors for zero ones, and confident answers."""
    with torch.no_grad():
        for parameter in network.parameters():
            if parameter.dim() == 1:
                parameter.normal_(std=0.5)
        if isinstance(network, MACNetwork):
            network.encoder.embedding.weight.normal_()
            network.head.output.weight.mul_(6)


def make_batch(*, grid: bool = True, seed: int = 1, dtype: torch.dtype = torch.float64) -> VQABatch:
    """B questions about IMAGES < B images, of all lengths from one word and one object up."""
    generator = torch.Generator().manual_seed(seed)
    lengths = torch.tensor([4, 1, S])
    tokens = torch.randint(1, V, (B, S), generator=generator)
    tokens[torch.arange(S) >= lengths.unsqueeze(1)] = PADDING
    if grid:
        features = torch.randn(IMAGES, C, HEIGHT, WIDTH, generator=generator, dtype=dtype)
        num_cells = torch.full((IMAGES,), HEIGHT * WIDTH)
    else:
        features = torch.randn(IMAGES, K, C, generator=generator, dtype=dtype)
        num_cells = torch.tensor([K, 3])
        features[1, 3:] = 0
    return VQABatch(
        tokens=tokens,
        lengths=lengths,
        features=features,
        num_cells=num_cells,
        image_index=torch.tensor([1, 0, 1]),
        answers=torch.tensor([2, 17, 5]),
        question_types=torch.tensor([0, 1, 0]),
        program_lengths=torch.tensor([3, -1, 20]),
        reads_needed=torch.tensor([1, -1, 3]),
        positions=torch.arange(B),
    )


def examples(batch: VQABatch) -> list[tuple[list[int], Tensor]]:
    """Each question's own words and each image's own cells, without any padding."""
    found = []
    for row, image in enumerate(batch.image_index.tolist()):
        tokens = batch.tokens[row, : batch.lengths[row]].tolist()
        features = batch.features[image]
        if features.dim() == 2:
            features = features[: batch.num_cells[image]]
        found.append((tokens, features))
    return found
