"""A question before it has an id, and the steps of its program in GQA's spelling."""

from collections.abc import Callable
from typing import NamedTuple

from dact.datamodules.gqa_mini.facts import Facts
from dact.datamodules.gqa_mini.view import Description, View
from dact.datamodules.gqa_mini.world import INVERSE

YES_NO = ("yes", "no")


class Draft(NamedTuple):
    """A question about a scene, and all that can be said of it from that scene alone."""

    question: str
    """Marked: see `wording`."""
    answer: str
    full: str
    """The answer as a marked sentence."""
    types: tuple[str, str, str]
    """Structural, semantic, detailed."""
    subject: str
    """Noun and what is asked of it: the local group."""
    group: str | None
    """The global group; None where the answer is no value, name or place."""
    program: list[dict]
    stated: Facts
    """What question and answer say, not yet closed."""
    grounds: tuple[Facts, ...]
    """From any one of these, all of it, the answer follows."""
    valid: tuple[str, ...] = YES_NO
    """Answers of the right kind."""
    plausible: tuple[str, ...] = YES_NO
    """Those that things of this name may have."""
    named: str | None = None
    """Id of the object that the answer names."""
    more: tuple[Callable, ...] = ()
    """Calls (view, rng) that ask further about the same things."""


class Program:
    """Steps {operation, argument, dependencies}; each method appends and gives the last number."""

    def __init__(self, view: View) -> None:
        self.view = view
        self.steps: list[dict] = []

    def add(self, operation: str, argument: str, *dependencies: int) -> int:
        """One step."""
        self.steps.append(
            {"operation": operation, "argument": argument, "dependencies": list(dependencies)}
        )
        return len(self.steps) - 1

    def find(self, description: Description, subject: bool = True) -> int:
        """The things that fit; `subject`: they are the subject of their relation."""
        noun, filters, relation, anchor = description
        found = Description(noun, (), relation, anchor)
        if relation is None:
            step = self.add("select", f"{noun} ({self._ids(found)})")
        else:
            # Said from the subject's side: what is above it, or what it is below.
            told = f"{relation},s" if subject else f"{INVERSE[relation]},o"
            argument = f"{noun},{told} ({self._ids(found)})"
            step = self.add("relate", argument, self.find(anchor))
        for kind, value in filters:
            step = self.add(f"filter {kind}", value, step)
        return step

    def exist(self, description: Description) -> int:
        """Whether anything fits."""
        return self.add("exist", "?", self.find(description))

    def _ids(self, description: Description) -> str:
        return ",".join(self.view.keys(description)) or "-"
