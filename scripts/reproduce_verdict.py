"""A claim, what was found, and in how far it holds; numbers as text and in tables."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from dact.explain.sweep import Spread, spread

HOLDS, IN_PART = "holds", "holds in part"
FAILS, OPEN = "does not hold", "cannot be told"
#: Where the paper has nothing to lay beside a number.
NOTHING = "—"


class Claim(NamedTuple):
    """A claim and what was found."""

    name: str
    """C1 and so on."""
    text: str
    """What is claimed."""
    rule: str
    """When it counts as held."""
    verdict: str
    rows: list[list[str]]
    """A table, its head first."""
    notes: list[str]
    """Paragraphs or further tables."""
    here: str
    """The numbers that the verdict is about, in a few words."""
    paper: str = NOTHING
    """The same of the paper."""


def verdict(outcomes: Iterable[bool | None]) -> str:
    """In how far a claim holds of which several instances were tried; None: undecided.

    >>> verdict([True, True]), verdict([True, None]), verdict([False, None]), verdict([None])
    ('holds', 'holds in part', 'does not hold', 'cannot be told')
    """
    found = list(outcomes)
    if found and all(found):
        return HOLDS
    if any(found):
        return IN_PART
    return FAILS if any(one is False for one in found) else OPEN


def table(rows: Sequence[Sequence[str]], words: int = 1) -> str:
    """In Markdown; the first row is the head, and `words` columns are no numbers.

    >>> print(table([["a", "b"], ["x", "1"]]))
    | a | b |
    | --- | --: |
    | x | 1 |
    """
    head, *body = ["| " + " | ".join(row) + " |" for row in rows]
    marks = "|" + " --- |" * words + " --: |" * (len(rows[0]) - words)
    return "\n".join([head, marks, *body])


def number(value: float, digits: int = 2) -> str:
    """As in tables; a dash where nothing can be said.

    >>> number(1.0), number(float("nan"))
    ('1.00', '—')
    """
    return f"{value:.{digits}f}" if value == value else NOTHING


def percent(value: float) -> str:
    """Of 0..1.

    >>> percent(0.5)
    '50.0 %'
    """
    return f"{100 * value:.1f} %"


def spread_text(values: Iterable[float], digits: int = 2, factor: float = 1.0) -> str:
    """Mean and standard deviation over seeds.

    >>> spread_text([1.0, 3.0]), spread_text([0.5], 1, 100)
    ('2.00 ± 1.41', '50.0')
    """
    return text_of(spread(list(values)), digits, factor)


def text_of(value: Spread, digits: int = 2, factor: float = 1.0) -> str:
    """What has been computed, likewise."""
    text = f"{factor * value.mean:.{digits}f}"
    if value.deviation is None:
        return text
    return f"{text} ± {factor * value.deviation:.{digits}f}"


def listed(names: Sequence[str]) -> str:
    """Names in a sentence.

    >>> listed(["a", "b"]), listed([])
    ('a, b', 'none')
    """
    return ", ".join(names) or "none"
