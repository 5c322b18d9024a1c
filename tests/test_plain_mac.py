"""What the benchmark measures against answers and learns like ours."""

import benchmark_cases as cases
import pytest
import torch
from plain_mac import PlainMAC

from dact.losses import answer_loss, total_loss
from dact.models import build_network
from dact.options import DropoutOptions, NetworkOptions

SMALL = cases.Size(dim=10, channels=7, grid=3, batch=13, steps=5, words=11, embedding=6)


def twins(name, bias=0.0, **changes):
    """Ours and the plain one, in float64."""
    torch.manual_seed(0)
    options = NetworkOptions(
        name=name,
        dim=SMALL.dim,
        max_steps=SMALL.steps,
        embedding_dim=SMALL.embedding,
        halting_bound="paper",
        dropout=DropoutOptions(0, 0, 0, 0, 0),
        **changes,
    )
    options.gate.bias = bias
    sizes = {"num_words": SMALL.vocabulary, "num_answers": SMALL.answers}
    network = build_network(options, feature_dim=SMALL.channels, grid=True, **sizes).double()
    with torch.no_grad():
        network.head.output.weight.mul_(20)
        if network.gate is not None:
            network.gate.linears[0].weight.mul_(20)
    return network, PlainMAC(network, options).double()


def batch_of(questions_per_image):
    batch = cases.make_batch(SMALL, questions_per_image)
    return batch._replace(features=batch.features.double())


@torch.no_grad()
@pytest.mark.parametrize("questions_per_image", [1, 4])
@pytest.mark.parametrize("name", ["mac", "dact"])
def test_the_plain_twin_answers_alike(name, questions_per_image):
    network, plain = (module.eval() for module in twins(name, bias=1.0))
    batch = batch_of(questions_per_image)
    ours, theirs = network(batch), plain(batch)
    assert ours.steps.tolist() == theirs[2].tolist()
    if name == "dact":
        assert len(set(ours.steps.tolist())) > 1
    torch.testing.assert_close(ours.log_probs, theirs[0])
    torch.testing.assert_close(ours.ponder_cost, theirs[1])


@pytest.mark.parametrize("name", ["mac", "dact"])
def test_the_plain_twin_learns_alike(name):
    batch = batch_of(1)
    losses, norms = [], []
    for module in twins(name):
        log_probs, cost, *_ = module.train()(batch)
        loss = total_loss(answer_loss(log_probs, batch.answers), cost, 0.1)
        loss.backward()
        losses.append(loss.item())
        gradients = [parameter.grad.square().sum() for parameter in module.parameters()]
        norms.append(torch.stack(gradients).sum().item())
    assert losses[0] == pytest.approx(losses[1])
    # The backward LSTM's two biases are one number more here and there, but add up alike.
    assert norms[0] == pytest.approx(norms[1])


@pytest.mark.parametrize(("eps", "mean"), [(0.0, 2.0), (0.0, 3.5), (1e-3, 3.0)])
def test_the_halting_unit_is_set_to_a_mean(eps, mean):
    case = cases.Case("x", "dact", eps > 0, 4, mean, "variational", eps)
    network, _, batch = cases.build(case, SMALL, cases.How())
    with torch.no_grad():
        steps = network(batch).steps.double()
    assert steps.mean().item() == pytest.approx(mean, abs=0.3)
    assert steps.min() < steps.max()
