"""What the results are compared with: answering without looking."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dact.datamodules.prior import answer_priors


class Packed:
    """As much of `PackedQuestions` as is asked for."""

    type_names = ("verify", "query", "choose")

    def __init__(self, pairs):
        self.question_types = np.array([kind for kind, _ in pairs], np.uint8)
        self.answers = np.array([answer for _, answer in pairs], np.int32)


PAIRS = st.lists(st.tuples(st.integers(0, 2), st.integers(-1, 4)), min_size=1)


@given(train=PAIRS, split=PAIRS)
def test_the_commonest_answer_of_a_type_is_given_to_all_its_questions(train, split):
    right, of_type = 0, {}
    for kind, answer in split:
        counts = Counter(found for its_kind, found in train if its_kind == kind and found >= 0)
        # The smallest id among equals.
        best = min(counts, key=lambda found: (-counts[found], found), default=None)
        right += answer == best
        of_type.setdefault(Packed.type_names[kind], []).append(answer == best)
    expected = {name: sum(hits) / len(hits) for name, hits in of_type.items()}
    expected["all"] = right / len(split)
    assert answer_priors(Packed(train), Packed(split)) == pytest.approx(expected)
