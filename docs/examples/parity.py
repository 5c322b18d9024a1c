"""Parity, the first task of adaptive computation time (Graves 2016, arXiv 1603.08983).

An input is a vector of which 1 to `--size` entries, chosen at random, are -1 or 1 and the others 0.
The question is whether the number of ones is odd. The whole vector is shown at every step, with a
flag that is 1 at the first one, so a network that takes more steps sees nothing new: it has only
more time to think. The more entries are not zero, the harder the question.

Graves takes 64 entries; 8 are learned in a minute on a CPU. There are then only 6,560 inputs, and
training shows them all: this is about what a network of this size can compute in one step and in
several, not about inputs that it has never seen.

    python docs/examples/parity.py
    python docs/examples/parity.py --policy act
"""

import argparse

import torch
from torch import Tensor, nn

from dact.losses import answer_loss, total_loss
from dact.models.halting import ACT, DACT, FixedSteps, Gate, Halted, PonderNet, Step, run_steps

WIDTH = 32
BATCH = 128


# --- What you write ---------------------------------------------------------------------------


def halting_unit() -> Gate:
    """Begins with g = 0.12, that is by thinking long, as the network is used to when it comes."""
    return Gate(WIDTH, bias=-2.0)


POLICIES = {
    "fixed": FixedSteps,
    "act": lambda max_steps: ACT(halting_unit(), max_steps),
    "dact": lambda max_steps: DACT(halting_unit(), max_steps),
    "pondernet": lambda max_steps: PonderNet(halting_unit(), max_steps),
}


class Thinker(nn.Module):
    """A recurrent cell that sees the same vector at every step."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.cell = nn.GRUCell(size + 1, WIDTH)
        self.answer = nn.Linear(WIDTH, 2)

    def initial_state(self, inputs: Tensor) -> Tensor:
        """(B, size) inputs -> (B, WIDTH) state before the first step."""
        return inputs.new_zeros(len(inputs), WIDTH)

    def step(self, state: Tensor, inputs: Tensor, n: int) -> tuple[Tensor, Step]:
        """Step n: the next (B, WIDTH) state, and what the policy needs to know."""
        first = inputs.new_full((len(inputs), 1), float(n == 1))
        state = self.cell(torch.cat([inputs, first], 1), state)
        logits = self.answer(state)
        return state, Step(logits, halting_input=state, trace=logits)


def loss(
    model: nn.Module, policy: nn.Module, inputs: Tensor, answers: Tensor, price: float
) -> Tensor:
    """Answer loss + τ · ponder cost + mean loss of the answers of single steps, a scalar.

    The last term makes the answer right as early as it can be, which is when halting pays.
    """
    halted, trace = run_steps(model, policy, inputs, trace=True)
    at_each_step = [answer_loss(logits.log_softmax(1), answers) for logits in trace.steps]
    answered = answer_loss(halted.log_probs, answers) + sum(at_each_step) / len(at_each_step)
    return total_loss(answered, halted.ponder_cost, price)


# --- What you have already --------------------------------------------------------------------


def batch(size: int, count: int, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """Inputs (count, size), answers (count,) 0 or 1, and how many entries are not 0, 1..size."""
    nonzero = torch.randint(1, size + 1, (count,), generator=generator)
    order = torch.rand(count, size, generator=generator).argsort(1)
    signs = 2.0 * torch.randint(2, (count, size), generator=generator) - 1
    inputs = signs * (order < nonzero.unsqueeze(1))
    return inputs, (inputs > 0).sum(1) % 2, nonzero


def train(
    name: str, *, ponder: float, size: int, steps: int, seed: int, updates: int
) -> tuple[Thinker, nn.Module]:
    """A model and a policy, trained with Adam.

    In the first half there is no policy yet, as in the paper: DACT starts from a network that has
    learned with a fixed number of steps. A halting unit that learns from the start learns to give
    up what the network does not understand yet.
    """
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    model, policy = Thinker(size).train(), POLICIES[name](steps).train()
    parameters = [*model.parameters(), *policy.parameters()]
    optimizer = torch.optim.Adam(parameters, lr=3e-3)
    for update in range(updates):
        inputs, answers, _ = batch(size, BATCH, generator)
        present = policy if update >= updates // 2 else FixedSteps(steps)
        optimizer.zero_grad()
        loss(model, present, inputs, answers, ponder).backward()
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
    return model.eval(), policy.eval()


@torch.no_grad()
def answer(
    model: Thinker, policy: nn.Module, inputs: Tensor, early_exit: str = "example"
) -> Halted:
    """Answers, ponder costs and steps in evaluation, where examples leave when they halt."""
    return run_steps(model, policy, inputs, early_exit=early_exit)[0]


def main() -> None:
    """Train, train a network of one step as well, and print both by difficulty."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--policy", choices=POLICIES, default="dact")
    parser.add_argument("--ponder", type=float, default=1e-2, help="τ, the price of a step")
    parser.add_argument("--size", type=int, default=8, help="entries of the vector")
    parser.add_argument("--steps", type=int, default=8, help="N, steps at most")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--updates", type=int, default=4000)
    options = vars(parser.parse_args())
    torch.set_num_threads(1)  # so small a network gains nothing by a second one
    name, size = options.pop("policy"), options["size"]
    thinks = train(name, **options)
    glances = train("fixed", **(options | {"steps": 1}))
    inputs, answers, nonzero = batch(size, 8000, torch.Generator().manual_seed(options["seed"] + 1))
    halted, one_step = (answer(*trained, inputs) for trained in (thinks, glances))
    right, right_in_one = (h.log_probs.argmax(1) == answers for h in (halted, one_step))
    print(f"{'nonzero':>8}{name:>10}{'steps':>8}{'one step':>10}")
    for label in [*range(1, size + 1), "all"]:
        rows = nonzero == label if label != "all" else nonzero > 0
        columns = [part[rows].double().mean() for part in (right, halted.steps, right_in_one)]
        print("{:>8}{:>10.1%}{:>8.2f}{:>10.1%}".format(label, *columns))


if __name__ == "__main__":
    main()
