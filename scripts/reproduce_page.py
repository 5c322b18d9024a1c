"""The page that `scripts/reproduce.py` writes: tables, verdicts, and what made them."""

import os
import platform
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from reproduce_answers import Answered, Answers, Questions
from reproduce_verdict import NOTHING, Claim, spread_text, table, text_of

from dact.explain.sweep import Setting
from dact.options import ADAPTIVE_NETWORKS

#: What groups of the plan are called, but for those with another N.
GROUPS = {
    "mac": "MAC, one schedule",
    "mac_on": "MAC, trained on",
    "mac_gate": "MAC with a memory gate",
    "dact": "DACT",
    "paper_rule": "DACT by the paper's rule",
    "act": "ACT",
    "pondernet": "PonderNet",
    "budget": "DACT to a number of steps",
}
#: How near a training to a number of steps must come.
NEAR = 0.2


class Provenance(NamedTuple):
    """What makes the figures of a page checkable."""

    command: str
    trained: Sequence[str]
    """Commits that the trainings were begun at."""
    evaluated: str
    """The commit that answered and wrote the page."""
    date: str
    hours: float
    """That all trainings took, one after the other."""
    jobs: int
    """How many of them ran at once."""
    seeds: str
    """Of what, in a sentence."""
    questions: str
    """How many, of what."""


def machine() -> str:
    """What the figures were measured on."""
    path = Path("/proc/cpuinfo")
    lines = path.read_text("utf-8").splitlines() if path.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"{os.cpu_count()} cores, {names[0] if names else platform.processor()}"


def settings_table(settings: Sequence[Setting]) -> str:
    """Every setting, with mean and deviation over seeds."""
    rows = [["network", "setting", "seeds", "accuracy in %", "mean steps", "ms per question"]]
    for one in settings:
        time = "" if one.milliseconds is None else text_of(one.milliseconds, 3)
        numbers = (text_of(one.accuracy, 1, 100), text_of(one.steps), time)
        rows.append([one.model, one.label, str(one.seeds), *numbers])
    return table(rows, words=2)


def bounds_table(
    networks: Sequence[Answered],
    bounded: Mapping[str, Mapping[str, Answers]],
    questions: Questions,
) -> str:
    """What each halting bound saves and changes, over some DACTs of one cost.

    Args:
        networks: of one ponder cost.
        bounded: answers by bound, then by name of the training; '' is without halting.
        questions: that were answered.
    """
    rows = [["bound", "mean steps", "saved", "same answer in %", "accuracy in %"]]
    for bound, answers in bounded.items():
        own = [answers[one.training.name] for one in networks]
        full = [bounded[""][one.training.name].answers for one in networks]
        same = [float((a.answers == f).mean()) for a, f in zip(own, full, strict=True)]
        saved = [one.max_steps - a.steps.mean() for one, a in zip(networks, own, strict=True)]
        rows.append(
            [
                f"`{bound}`" if bound else "none: all steps",
                spread_text(a.steps.mean() for a in own),
                spread_text(saved),
                spread_text(same, 2, 100),
                spread_text([(a.answers == questions.right).mean() for a in own], 1, 100),
            ]
        )
    return table(rows)


def sampling_table(
    networks: Sequence[Answered], sampled: Mapping[str, Answers], questions: Questions
) -> str:
    """PonderNets in both modes."""
    rows = [["", "steps", "accuracy in %", "steps, by lot", "accuracy in %, by lot"]]
    for one in networks:
        lot = sampled[one.training.name]
        right = 100 * (lot.answers == questions.right).mean()
        numbers = (f"{one.mean_steps:.2f}", f"{100 * one.accuracy:.1f}")
        rows.append([one.label, *numbers, f"{lot.steps.mean():.2f}", f"{right:.1f}"])
    return table(rows)


def budgets_table(networks: Sequence[Answered]) -> str:
    """Whether trainings to a number of steps met it."""
    rows = [["target", "mean steps", "off by", f"within {NEAR:g}", "accuracy in %"]]
    for one in networks:
        target = one.restored.description.config["ponder"]["target_steps"]
        off = one.mean_steps - target
        near = "yes" if abs(off) <= NEAR else "no"
        numbers = (f"{target:g}", f"{one.mean_steps:.2f}", f"{off:+.2f}", near)
        rows.append([*numbers, f"{100 * one.accuracy:.1f}"])
    return table(rows, words=0)


def claim_text(claim: Claim) -> str:
    """A section on a claim."""
    said = f"{claim.text}: **{claim.verdict} here** ({claim.rule})."
    return "\n\n".join([f"## {claim.name}", said, table(claim.rows), *claim.notes])


def summary(claims: Sequence[Claim]) -> str:
    """A line for each claim."""
    rows = [["", "claim", "paper", "here", "verdict"]]
    for one in claims:
        link = f"[{one.name}](#{one.name.lower()})"
        rows.append([link, one.text, one.paper, one.here, f"**{one.verdict}**"])
    return table(rows, words=5)


def recipes_table(networks: Sequence[Answered]) -> str:
    """How each group was trained: what is equal and what is not."""
    head = [
        "",
        "networks",
        "epochs of its own",
        "learning rate",
        "share of the loss on single steps",
    ]
    rows = [[*head, "bias of the unit"]]
    found: dict[tuple[str, ...], int] = {}
    for one in networks:
        config = one.restored.description.config
        model, training = config["model"], config.get("trainer", {})
        halts = one.restored.model in ADAPTIVE_NETWORKS or one.restored.model == "mac_gate"
        cells = (
            GROUPS.get(one.training.group, f"{one.kind}, other N"),
            str(training.get("max_epochs")),
            f"{model['recipe']['learning_rate']:g}",
            f"{model['step_loss']:g}",
            f"{model['gate']['bias']:g}" if halts else NOTHING,
        )
        found[cells] = found.get(cells, 0) + 1
    order = list(GROUPS.values())
    every = sorted(found.items(), key=lambda item: (*order, item[0][0]).index(item[0][0]))
    rows += [[name, str(count), *rest] for (name, *rest), count in every]
    return table(rows)


def page(
    made: Provenance,
    claims: Sequence[Claim],
    parts: Mapping[str, str],
    figures: Mapping[str, str],
) -> str:
    """The whole page.

    Args:
        made: how.
        claims: in their order.
        parts: other sections, by their headings.
        figures: paths relative to the page, by what they show.
    """
    head = f"""# Results

What the claims of the paper come to on {made.questions}. Written by

```
{made.command}
```

on {made.date} on {machine()}. Trained at commit {", ".join(f"`{one}`" for one in made.trained)},
{made.hours:.1f} hours in sum, {made.jobs} at once; answered and written at `{made.evaluated}`.
{made.seeds}
The paper's numbers are [read off its figures](data/paper.md): CLEVR's pictures, 12 steps at most,
so their scale is another one. Numbers are means over seeds ± their standard deviation (n - 1).
`--size full` is the paper's own recipe on CLEVR, for GPUs; `--size trial` learns nothing."""
    shown = [f"![{text}]({path})" for text, path in figures.items()]
    sections = [f"## {name}\n\n{text}" for name, text in parts.items()]
    texts = [claim_text(claim) for claim in claims]
    return "\n\n".join([head, summary(claims), *shown, *texts, *sections]) + "\n"
