"""Running tallies that keep groups, families and answers at their wanted shares.

One tally serves one chunk of images, so that chunks can be made in any order on any process.
"""

import math
import random
from collections import Counter

from dact.datamodules.clevr_mini.families import FAMILIES, Family

# A question is not taken while its answer leads the family's rarest answer by this many questions.
# Counts have no such limit: no scene would ever let a count of 6 catch up.
SLACK = 2


class Balance:
    """Chooses what to ask next and remembers what was asked.

    `shares`: group → wanted share; `max_hops`: families with more relations in a row are left out;
    `questions`: how many will be asked in all.
    """

    def __init__(
        self, shares: dict[str, float], max_hops: int, questions: int, rng: random.Random
    ) -> None:
        self.rng = rng
        self.families: dict[str, list[int]] = {}
        for index, family in enumerate(FAMILIES):
            if shares.get(family.group, 0) > 0 and family.depth <= max_hops:
                self.families.setdefault(family.group, []).append(index)
        self.deck = self._deal({group: shares[group] for group in self.families}, questions)
        self.asked: Counter[int] = Counter()
        self.answered = [dict.fromkeys(family.shares, 0) for family in FAMILIES]

    def _deal(self, shares: dict[str, float], questions: int) -> list[str]:
        """Group names in random order, each as often as its share says (largest remainders)."""
        total = sum(shares.values())
        exact = {group: share / total * questions for group, share in shares.items()}
        number = {group: int(value) for group, value in exact.items()}
        missing = questions - sum(number.values())
        for group in sorted(exact, key=lambda g: number[g] - exact[g])[:missing]:
            number[group] += 1
        deck = [group for group, count in number.items() for _ in range(count)]
        self.rng.shuffle(deck)
        return deck

    def groups(self) -> list[str]:
        """Groups to try for the next question: in the order of the deck, then all others."""
        coming: dict[str, None] = {}
        for group in reversed(self.deck):
            coming[group] = None
            if len(coming) == len(self.families):
                break
        return [*coming, *(group for group in self.families if group not in coming)]

    def candidates(self, group: str) -> list[int]:
        """The group's families, the one asked least for its weight first."""
        noise, asked = self.rng.random, self.asked
        return sorted(self.families[group], key=lambda i: (asked[i] + noise()) / FAMILIES[i].weight)

    def answers(self, index: int) -> list[str]:
        """Answers wanted from a family, the one furthest below its share first."""
        family: Family = FAMILIES[index]
        tally, noise = self.answered[index], self.rng.random
        limit = math.inf if family.task == "count" else min(tally.values()) + SLACK
        wanted = [answer for answer in family.shares if tally[answer] < limit]
        return sorted(wanted, key=lambda a: (tally[a] + noise()) / family.shares[a])

    def take(self, group: str, index: int, answer: str) -> None:
        """Record one question."""
        self.asked[index] += 1
        self.answered[index][answer] += 1
        for place in range(len(self.deck) - 1, -1, -1):
            if self.deck[place] == group:
                del self.deck[place]
                break
