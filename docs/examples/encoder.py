"""A transformer encoder whose layers are the steps: it reads an easy sentence with fewer of them.

As in DACT-BERT (Eyzaguirre et al. 2021, arXiv 2109.11745), every layer is followed by a classifier
and a halting unit that see the first token. There it is a BERT, here it is small and learns from
nothing, on sentences made on the spot:

    who is ann 's friend 's friend ? ann likes bob bob likes eve carl likes ann ...

Such a question takes as many lookups as it says "friend", and layer can follow layer in looking
them up; "who is ann ?" is answered by a word of the question itself. There are 16,404 sentences,
and training draws 64,000: it has seen most of those that evaluation asks.

    python docs/examples/encoder.py
    python docs/examples/encoder.py --policy act
"""

import argparse
import random
import statistics
from functools import partial
from timeit import timeit

import torch
from torch import Tensor, nn

from dact.losses import answer_loss, total_loss
from dact.models.halting import ACT, DACT, FixedSteps, Gate, Halted, PonderNet, Step, run_steps

WIDTH, BATCH, LOOKUPS = 32, 64, 2
NAMES = ("ann", "bob", "carl", "dan", "eve")
WORDS = ("", *NAMES, "who", "is", "'s", "friend", "?", "likes")  # the first one is padding
LONGEST = 4 + 2 * LOOKUPS + 3 * len(NAMES)


# --- What you write ---------------------------------------------------------------------------

POLICIES = {
    "fixed": FixedSteps,
    "act": lambda layers: ACT(Gate(layers * WIDTH), layers),
    "dact": lambda layers: DACT(Gate(layers * WIDTH), layers),
    "pondernet": lambda layers: PonderNet(Gate(layers * WIDTH), layers),
}


class Encoder(nn.Module):
    """Layers of a transformer, and a classifier after each of them."""

    def __init__(self, layers: int) -> None:
        super().__init__()
        self.words = nn.Embedding(len(WORDS), WIDTH)
        self.places = nn.Parameter(torch.randn(LONGEST, WIDTH) / 2)
        self.layers = nn.ModuleList(
            nn.TransformerEncoderLayer(WIDTH, 2, 2 * WIDTH, 0.0, batch_first=True, norm_first=True)
            for _ in range(layers)
        )
        self.norm = nn.LayerNorm(WIDTH)
        self.answers = nn.ModuleList(nn.Linear(WIDTH, len(NAMES)) for _ in range(layers))

    def initial_state(self, tokens: Tensor) -> Tensor:
        """(B, S) words, 0 where there are none -> (B, S, WIDTH)."""
        return self.words(tokens) + self.places[: tokens.shape[1]]

    def step(self, state: Tensor, tokens: Tensor, n: int) -> tuple[Tensor, Step]:
        """Layer n: the next (B, S, WIDTH) state, and what the policy needs to know."""
        state = self.layers[n - 1](state, src_key_padding_mask=tokens == 0)
        first = self.norm(state[:, 0])
        # Zeros but in the n-th place: the halting unit has weights of its own for every layer.
        place = (WIDTH * (n - 1), WIDTH * (len(self.layers) - n))
        logits = self.answers[n - 1](first)
        return state, Step(logits, nn.functional.pad(first, place), trace=logits)


def loss(
    model: nn.Module, policy: nn.Module, tokens: Tensor, answers: Tensor, price: float
) -> Tensor:
    """Answer loss + τ · ponder cost + mean loss of the answers of single layers, a scalar.

    The last term makes the answer right as early as it can be, which is when halting pays.
    """
    halted, trace = run_steps(model, policy, tokens, trace=True)
    at_each_layer = [answer_loss(logits.log_softmax(1), answers) for logits in trace.steps]
    answered = answer_loss(halted.log_probs, answers) + sum(at_each_layer) / len(at_each_layer)
    return total_loss(answered, halted.ponder_cost, price)


# --- What you have already --------------------------------------------------------------------


def sentence(chance: random.Random) -> tuple[list[str], str, int]:
    """Words, the name that is the answer, and the lookups that it takes."""
    names = NAMES[: chance.randint(3, len(NAMES))]
    friends = {name: chance.choice([other for other in names if other != name]) for name in names}
    answer, lookups = chance.choice(names), chance.randint(0, LOOKUPS)
    words = ["who", "is", answer, *["'s", "friend"] * lookups, "?"]
    for name, friend in friends.items():
        words += [name, "likes", friend]
    for _ in range(lookups):
        answer = friends[answer]
    return words, answer, lookups


def batch(count: int, chance: random.Random) -> tuple[Tensor, Tensor, Tensor]:
    """Tokens (count, S), answers (count,) in 0..4, and lookups (count,) in 0..2."""
    texts, answers, lookups = zip(*(sentence(chance) for _ in range(count)), strict=True)
    rows = [torch.tensor([WORDS.index(word) for word in words]) for words in texts]
    tokens = nn.utils.rnn.pad_sequence(rows, batch_first=True)
    return tokens, torch.tensor([NAMES.index(name) for name in answers]), torch.tensor(lookups)


def train(
    name: str, *, ponder: float, layers: int, seed: int, updates: int
) -> tuple[Encoder, nn.Module]:
    """A model and a policy, which has no say in the first half of the training."""
    torch.manual_seed(seed)
    chance = random.Random(seed)
    model, policy = Encoder(layers).train(), POLICIES[name](layers).train()
    groups = [{"params": model.parameters()}, {"params": policy.parameters(), "lr": 1e-2}]
    optimizer = torch.optim.Adam(groups, lr=3e-3)
    warmup = torch.optim.lr_scheduler.LinearLR(optimizer, 0.01, total_iters=100)
    for update in range(updates):
        tokens, answers, _ = batch(BATCH, chance)
        present = policy if update >= updates // 2 else FixedSteps(layers)
        optimizer.zero_grad()
        loss(model, present, tokens, answers, ponder).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        warmup.step()
    return model.eval(), policy.eval()


@torch.no_grad()
def answer(
    model: Encoder, policy: nn.Module, tokens: Tensor, early_exit: str = "example"
) -> Halted:
    """Answers, ponder costs and layers in evaluation, where sentences leave when they halt."""
    return run_steps(model, policy, tokens, early_exit=early_exit)[0]


def main() -> None:
    """Train, train encoders of fixed depth as well, and print all by difficulty, and the time."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--policy", choices=POLICIES, default="dact")
    parser.add_argument("--ponder", type=float, default=5e-2, help="τ, the price of a layer")
    parser.add_argument("--layers", type=int, default=4, help="N, layers at most")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--updates", type=int, default=1000)
    options = vars(parser.parse_args())
    torch.set_num_threads(1)  # the same figures whatever the number of cores
    name = options.pop("policy")
    ours, fixed = train(name, **options), train("fixed", **options)
    single = train("fixed", **(options | {"layers": 1}))
    tokens, answers, lookups = batch(4000, random.Random(options["seed"] + 1))
    halted, *others = (answer(*trained, tokens) for trained in (ours, fixed, single))
    right = [h.log_probs.argmax(1) == answers for h in (halted, *others)]
    print(f"{'lookups':>8}{name:>10}{'layers':>8}{options['layers']:>6} fixed{'1 fixed':>9}")
    for label in [*range(LOOKUPS + 1), "all"]:
        rows = lookups == label if label != "all" else lookups >= 0
        columns = [part[rows].double().mean() for part in (right[0], halted.steps, *right[1:])]
        print("{:>8}{:>10.1%}{:>8.2f}{:>12.1%}{:>9.1%}".format(label, *columns))
    calls = [partial(answer, *ours, tokens, early_exit) for early_exit in ("example", "never")]
    rounds = [[timeit(call, number=1) for call in calls] for _ in range(9)]
    early, whole = (statistics.median(times) for times in zip(*rounds, strict=True))
    ratio = statistics.median(whole / early for early, whole in rounds)
    print(f"{1e6 * early / len(tokens):.0f} µs a sentence with early exit,", end=" ")
    print(f"{1e6 * whole / len(tokens):.0f} without: {ratio:.2f} times as fast")


if __name__ == "__main__":
    main()
