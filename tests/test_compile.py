"""Compiled parts answer alike, keep their names, and are not compiled again and again."""

import pytest
import torch
from batches import make_network, make_options
from test_early_exit import network_of, questions
from torch._dynamo.testing import CompileCounter


@pytest.fixture(autouse=True)
def fresh():
    torch._dynamo.reset()


def test_names_in_checkpoints_do_not_change():
    network = make_network(make_options("dact"))
    before = list(network.state_dict())
    network.compile_parts(backend="eager")
    assert list(network.state_dict()) == before


@torch.no_grad()
@pytest.mark.parametrize("name", ["mac_gate", "dact"])
def test_shrinking_batches_share_a_few_graphs_without_breaks(name):
    network = network_of(name).eval()
    batches = [questions(count, images=3, seed=count) for count in (19, 17, 13, 11, 8, 5)]
    wanted = [network(batch) for batch in batches]
    counter = CompileCounter()
    network.compile_parts(backend=counter, fullgraph=True)
    for batch, plain in zip(batches, wanted, strict=True):
        compiled = network(batch)
        torch.testing.assert_close(compiled.log_probs, plain.log_probs)
        assert torch.equal(compiled.steps, plain.steps)
    # Stem, step and answer: once as they are, once for any number of rows, and once for one row.
    assert counter.frame_count <= 9


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor:UserWarning")  # Dynamo looks
def test_compiled_parts_learn_alike():
    gradients = []
    for compiled in (False, True):
        network = network_of("dact").train()
        if compiled:
            network.compile_parts(backend="aot_eager")
        batch = questions(7, images=3)
        output = network(batch)
        (output.log_probs[:, 1].sum() + output.ponder_cost.sum()).backward()
        gradients.append(torch.cat([p.grad.ravel() for p in network.parameters()]))
    torch.testing.assert_close(*gradients)
