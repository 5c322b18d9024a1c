"""The page that `scripts/reproduce.py` writes: tables, verdicts, and what made them."""

import os
import platform
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from reproduce_answers import Answers, Trained
from reproduce_claims import Claim, spread

from dact.explain.sweep import Setting, Spread


class Provenance(NamedTuple):
    """What makes the figures of a page checkable."""

    command: str
    commit: str
    date: str
    hours: float
    """That all trainings took, one after the other."""
    questions: str
    """How many, of what."""


def table(rows: Sequence[Sequence[str]], words: int = 1) -> str:
    """In Markdown; the first row is the head, and `words` columns are no numbers."""
    head, *body = ["| " + " | ".join(row) + " |" for row in rows]
    marks = "|" + " --- |" * words + " --: |" * (len(rows[0]) - words)
    return "\n".join([head, marks, *body])


def machine() -> str:
    """What the figures were measured on."""
    path = Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"{os.cpu_count()} cores, {names[0] if names else platform.processor()}"


def settings_table(settings: Sequence[Setting]) -> str:
    """Every setting, with mean and deviation over seeds."""
    rows = [["network", "setting", "seeds", "accuracy in %", "mean steps", "ms per question"]]
    for one in settings:
        times = one.milliseconds
        rows.append(
            [
                one.model,
                one.label,
                str(one.seeds),
                _spread(one.accuracy, 1, 100),
                _spread(one.steps, 2),
                _spread(times, 3) if times else "",
            ]
        )
    return table(rows, words=2)


def _spread(value: Spread, digits: int, factor: float = 1.0) -> str:
    text = f"{factor * value.mean:.{digits}f}"
    return text if value.deviation is None else f"{text} ± {factor * value.deviation:.{digits}f}"


def bounds_table(
    networks: Sequence[Trained], bounded: Mapping[str, Mapping[str, Answers]], right: Sequence[int]
) -> str:
    """What each halting bound saves and changes, mean and deviation over some DACTs.

    Args:
        networks: of one ponder cost.
        bounded: answers by bound, then by name of the training; '' is without halting.
        right: (Q,) the right answers.
    """
    rows = [["bound", "mean steps", "same answer in %", "accuracy in %"]]
    for bound, answers in bounded.items():
        own = [answers[one.training.name] for one in networks]
        full = [bounded[""][one.training.name].answers for one in networks]
        same = [float((a.answers == f).mean()) for a, f in zip(own, full, strict=True)]
        rows.append(
            [
                f"`{bound}`" if bound else "none: all steps",
                spread(float(a.steps.mean()) for a in own),
                spread(same, 2, 100),
                spread([float((a.answers == right).mean()) for a in own], 1, 100),
            ]
        )
    return table(rows)


def budgets_table(networks: Sequence[Trained]) -> str:
    """Whether trainings to a number of steps met it."""
    rows = [["target", "mean steps", "off by", "accuracy in %"]]
    for one in networks:
        target = one.restored.description.config["ponder"]["target_steps"]
        rows.append(
            [
                f"{target:g}",
                f"{one.steps:.2f}",
                f"{one.steps - target:+.2f}",
                f"{100 * one.accuracy:.1f}",
            ]
        )
    return table(rows)


def claim_text(number: int, claim: Claim) -> str:
    """A section on a claim."""
    verdict = "**Holds here.**" if claim.holds else "**Does not hold here.**"
    return "\n\n".join(
        [f"## C{number}", f"{claim.text}. {verdict}", table(claim.rows), *claim.notes]
    )


def summary(claims: Sequence[Claim]) -> str:
    """A line for each claim."""
    rows = [["", "claim", "here"]]
    for number, claim in enumerate(claims, 1):
        rows.append(
            [f"[C{number}](#c{number})", claim.text.partition(" (held")[0], _word(claim.holds)]
        )
    return table(rows, words=3)


def _word(holds: bool) -> str:
    return "holds" if holds else "does not hold"


def page(
    made: Provenance, claims: Sequence[Claim], parts: Mapping[str, str], figures: Sequence[str]
) -> str:
    """The whole page.

    Args:
        made: how.
        claims: C1, C2 and so on.
        parts: other sections, by their headings.
        figures: paths relative to the page.
    """
    head = f"""# Results

What the claims of the paper come to on {made.questions}. Written by

```
{made.command}
```

on {made.date} at commit `{made.commit}`, on {machine()}; the trainings took {made.hours:.1f} hours
of one core together. Numbers are means over seeds ± their standard deviation (n - 1)."""
    shown = [f"![Accuracy and time against steps]({path})" for path in figures]
    sections = [f"## {name}\n\n{text}" for name, text in parts.items()]
    texts = [claim_text(number, claim) for number, claim in enumerate(claims, 1)]
    return "\n\n".join([head, summary(claims), *shown, *texts, *sections]) + "\n"
