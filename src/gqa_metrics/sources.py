"""Which official split the questions of any split are from, and so which files belong to them."""

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from dact.datamodules.gqa_files import (
    choices_path,
    pairs,
    scenes_path,
    shards,
    tier_of,
)
from dact.errors import UserError

from .questions import GQAQuestions, find_answers

#: Official splits with answers are {tier}_all and {tier}_balanced; the small ones first.
TIERS = ("testdev", "val", "train")
_OFFICIAL = re.compile(rf"({'|'.join(TIERS)})_(all|balanced)")


class Given(NamedTuple):
    """Files that the user names; None: those of the official split."""

    choices: Path | None = None
    """Valid and plausible answers."""
    scenes: Path | None = None
    """Scene graphs."""
    all_questions: Path | None = None
    """Questions among which are the entailed ones."""

    def check(self) -> "Given":
        """Returns itself.

        Raises:
            UserError: one of the files is not there.
        """
        for name, path in self._asdict().items():
            if path is not None and not shards(path):
                raise UserError(f"--{name.replace('_', '-')} {path}: no such file, nor a folder")
        return self


class Sources:
    """The files that belong to the questions of a split.

    Those of an official split are known by its name. For any other split its balanced questions
    are looked up in the official ones, by id, image and answer; questions that are in none of them
    belong to the split that theirs is named after.

    Args:
        questions: of the split.
        given: files that the user names instead.
        progress: show bars while long files are read.

    Raises:
        UserError: a file is missing or broken.
    """

    def __init__(self, questions: GQAQuestions, given: Given, progress: bool) -> None:
        self.questions = questions
        self.given = given.check()
        self.progress = progress
        self.notes: list[str] = []
        """On what was found otherwise than by name, once it was used."""
        self._found: dict[str, str] | None = None

    def choices(self) -> list[Path]:
        """Files that choices should be in; they need not be there."""
        if self.given.choices:
            return [self.given.choices]
        return [choices_path(self.questions.root, tier) for tier in self._tiers()]

    def scenes(self) -> list[Path]:
        """Files that scene graphs should be in; they need not be there."""
        if self.given.scenes:
            return [self.given.scenes]
        return [scenes_path(self.questions.root, tier) for tier in self._tiers()]

    def choices_of_questions(self) -> Iterator[tuple[str, str, Any]]:
        """(where, id, choices) from the files, each for the questions of its own tier alone."""
        if self.given.choices:
            yield from pairs(shards(self.given.choices), self.progress)
            return
        tiers = self._tiers()
        for tier, path in zip(tiers, self.choices(), strict=True):
            for where, name, entry in pairs(shards(path), self.progress):
                if len(tiers) == 1 or self._tier_of(name) == tier:
                    yield where, name, entry

    def graphs(self) -> Iterator[tuple[str, str, Any]]:
        """(where, image, scene graph) from the files."""
        for path in self.scenes():
            yield from pairs(shards(path), self.progress)

    def answers(self, wanted: set[str]) -> dict[str, str]:
        """Answers to those of the `wanted` questions that are found."""
        found: dict[str, str] = {}
        for files in self._whole_splits():
            if rest := wanted - found.keys():
                found |= find_answers(files, rest, self.progress)
        return found

    def whole(self) -> str:
        """Where `answers` looks, in words."""
        if self.given.all_questions:
            return str(self.given.all_questions)
        return " and ".join(f"{tier}_all" for tier in self._tiers())

    def _whole_splits(self) -> Iterator[Sequence[Path]]:
        if self.given.all_questions:
            yield shards(self.given.all_questions)
            return
        for tier in self._tiers():
            for split in (f"{tier}_all", f"{tier}_balanced"):
                if files := self._files(split):
                    yield files

    def _tiers(self) -> list[str]:
        """Tiers that the balanced questions are from."""
        own = tier_of(self.questions.split)
        if _OFFICIAL.fullmatch(self.questions.split):
            return [own]
        return sorted({self._tier_of(name) for name in self.questions.balanced}) or [own]

    def _tier_of(self, name: str) -> str:
        return self._by_id().get(name, tier_of(self.questions.split))

    def _by_id(self) -> Mapping[str, str]:
        """Tiers by question, of those that are in an official split."""
        if self._found is None:
            self._found = self._look_up()
            if self._found:
                names = sorted(set(self._found.values()))
                note = (
                    f"{len(self._found):,} of {len(self.questions.balanced):,} balanced questions "
                    f"of {self.questions.split} are questions of {', '.join(names)}, by their ids: "
                    "its choices, scene graphs and entailed questions are used"
                )
                if others := self.questions.balanced.keys() - self._found.keys():
                    note += f"; those in no official split, such as {min(others)}, need others"
                self.notes.append(note)
        return self._found

    def _look_up(self) -> dict[str, str]:
        found: dict[str, str] = {}
        waiting = dict(self.questions.balanced)
        for split in self._official_splits():
            for _, name, entry in pairs(self._files(split) if waiting else (), self.progress):
                mine = waiting.get(name)
                if mine and (mine.image, mine.answer) == _image_and_answer(entry):
                    found[name] = tier_of(split)
                    del waiting[name]
        return found

    def _official_splits(self) -> Iterator[str]:
        """Where to look, the small ones first; train_all, by far the largest, if need be."""
        parts = self.questions.split.split("_")
        tiers = sorted(TIERS, key=lambda tier: tier not in parts)
        yield from (f"{tier}_balanced" for tier in tiers)
        for tier in tiers:
            if tier != "train" or tier in parts or not self._files("train_balanced"):
                yield f"{tier}_all"

    def _files(self, split: str) -> list[Path]:
        """Question files of an official split; none if it is not there."""
        return shards(self.questions.root / "questions" / f"{split}_questions.json")


def _image_and_answer(entry: Any) -> tuple[Any, Any]:
    return (entry.get("imageId"), entry.get("answer")) if isinstance(entry, dict) else (None, None)
