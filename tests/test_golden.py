"""Parity with the released code: outputs, ponder costs, steps, loss and every gradient, in float64.

The expected numbers were computed example by example; here examples are batched and shuffled, and
padding holds garbage, so that the tests also hold that batch-mates are invisible.
"""

import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch

from dact.batch import VQABatch
from dact.losses import answer_loss, total_loss
from dact.models import build_network
from dact.models.reference import (
    convert_state_dict,
    convert_tensor,
    network_options,
    parameter_name,
    ponder_options,
    settings,
)

GOLDEN = Path(os.environ.get("DACT_GOLDEN_DIR", "not-set"))
PACKS = sorted(path.parent.name for path in GOLDEN.glob("*/config.json"))

pytestmark = pytest.mark.skipif(not PACKS, reason="DACT_GOLDEN_DIR does not hold golden packs")


def load_pack(name):
    folder = GOLDEN / name
    config = json.loads((folder / "config.json").read_text())
    values = settings(config["overrides"], config["mode"])
    options = network_options(values)
    reference = torch.load(folder / "reference.model", weights_only=True)
    network = build_network(
        options,
        num_words=values["INPUT.N_VOCAB"],
        num_answers=values["OUTPUT.DIM"],
        feature_dim=values["MAC.KNOW_DIM"],
        grid=config["mode"] == "clevr",
        ponder=ponder_options(values),
    ).double()
    network.load_state_dict(convert_state_dict(reference, options))
    inputs, expected = np.load(folder / "inputs.npz"), np.load(folder / "expected.npz")
    return network, options, values, inputs, expected, list(reference)


def shuffled_batch(inputs, grid):
    """All examples in a shuffled order, garbage in every padding; and that order."""
    order = torch.randperm(len(inputs["answers"]))
    tensors = {name: torch.from_numpy(inputs[name])[order] for name in inputs.files}
    size = tensors["tokens"].shape[1] + 3
    tokens = torch.randint(1, 40, (len(order), size))
    for row, length in enumerate(tensors["lengths"].tolist()):
        tokens[row, :length] = tensors["tokens"][row, :length]
    features = tensors["features"].double()
    if not grid:
        features = features[:, :, 0].transpose(1, 2).contiguous()
        for row, count in enumerate(tensors["num_objects"].tolist()):
            features[row, count:] = 1e3
    unused = torch.zeros_like(order)
    return (
        VQABatch(
            tokens=tokens,
            lengths=tensors["lengths"],
            features=features,
            num_cells=tensors["num_objects"],
            image_index=torch.arange(len(order)),
            answers=tensors["answers"],
            question_types=unused,
            program_lengths=unused,
            reads_needed=unused,
            positions=order,
        ),
        order,
    )


def normalised(output, name):
    """Logits (MAC, ACT) as log-probabilities, probabilities (DACT) as their clamped logarithm."""
    output = torch.from_numpy(output)
    return output.clamp(min=1e-8).log() if "dact" in name else output.log_softmax(-1)


@pytest.mark.parametrize("name", PACKS)
def test_evaluation_equals_the_reference(name):
    network, _, _, inputs, expected, _ = load_pack(name)
    batch, order = shuffled_batch(inputs, grid="gqa" not in name)
    with torch.no_grad():
        output = network.eval()(batch)
    assert output.steps.tolist() == expected["eval_steps"][order].astype(int).tolist()
    close = {"rtol": 1e-8, "atol": 1e-12}
    wanted = normalised(expected["eval_output"][order], name)
    torch.testing.assert_close(output.log_probs, wanted, **close)
    cost = torch.from_numpy(expected["eval_ponder_cost"][order])
    torch.testing.assert_close(output.ponder_cost, cost, **close)


@pytest.mark.parametrize("name", PACKS)
def test_loss_and_gradients_equal_the_reference(name):
    network, options, values, inputs, expected, names = load_pack(name)
    batch, order = shuffled_batch(inputs, grid="gqa" not in name)
    output = network.train()(batch)
    close = {"rtol": 1e-8, "atol": 1e-12}
    wanted = normalised(expected["train_output"][order], name)
    torch.testing.assert_close(output.log_probs, wanted, **close)
    cost = torch.from_numpy(expected["train_ponder_cost"][order])
    torch.testing.assert_close(output.ponder_cost, cost, **close)
    loss = total_loss(
        answer_loss(output.log_probs, batch.answers),
        output.ponder_cost,
        values["ACT.PENALTY_COEF"],
    )
    assert loss.item() == pytest.approx(expected["train_loss"].item(), rel=1e-8)
    loss.backward()
    ours = dict(network.named_parameters())
    assert len(names) == len(ours)
    for theirs in names:
        wanted = torch.from_numpy(expected[f"grad:{theirs}"])
        wanted = convert_tensor(theirs, wanted, options)
        got = ours[parameter_name(theirs, options)].grad
        got = torch.zeros_like(wanted) if got is None else got
        bound = 1e-8 * wanted.abs().max() + 1e-12
        assert (got - wanted).abs().max() <= bound, theirs
