"""What a split holds that training never showed, in lines for people."""

import numpy as np

from .questions import PackedQuestions
from .vocabulary import Vocabulary

#: From so many different answers on, as many as every other question has its own, one is told.
_MANY_ANSWERS = 10


def unseen(
    questions: PackedQuestions, vocabulary: Vocabulary, split: str, train_split: str
) -> list[str]:
    """Lines on the answers and words of a split that training never showed, or too seldom.

    Args:
        questions: of the split.
        vocabulary: that encoded them.
        split: its name.
        train_split: name of the split that the vocabulary is made of.
    """
    never, count = f"never occur in {train_split}", len(questions)
    notes = []
    if unknown := questions.unknown_answers:
        notes.append(f"{unknown} answers of {split} {never}: scored as wrong")
        if 2 * unknown > count:
            example = questions.record(int(np.argmax(questions.answers < 0))).answer
            notes.append(
                f"most answers of {split} ({unknown} of {count}) {never}, such as {example!r:.80}: "
                "a network chooses among the answers of training as they are written, so no "
                "accuracy above the rest is possible"
            )
    if split == train_split:
        different = len(np.unique(questions.answers[questions.answers >= 0]))
        if different >= _MANY_ANSWERS and 2 * different > count:
            notes.append(
                f"{split} has {different} different answers to {count} questions: a network "
                "chooses among whole answers, and learns none from one example; give short answers "
                "that occur often"
            )
        return notes
    holding = questions.holding(vocabulary.unknown_word)
    if number := int(np.count_nonzero(holding)):
        words = vocabulary.words_of(questions.record(int(np.argmax(holding))).question)
        example = next((word for word in words if word not in vocabulary), "")
        notes.append(
            f"{number} of {count} questions of {split} hold words that {never}, such as "
            f"{example!r:.80}"
        )
        if 2 * number > count:
            notes[-1] += f": check data.tokenizer={vocabulary.tokenizer} if that is no word"
    return notes
