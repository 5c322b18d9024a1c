"""A trained network in one that knows more words and answers."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from dact.datamodules.vocabulary import Vocabulary

#: Parameters of a network with a row for each word, padding and unknown word included.
_BY_WORD = ("encoder.embedding.weight",)
#: Those with a row for each answer.
_BY_ANSWER = ("head.output.weight", "head.output.bias")


def widened(
    weights: Mapping[str, Tensor], network: nn.Module, known: Vocabulary, grown: Vocabulary
) -> dict[str, Tensor]:
    """Weights of a network with `known` words and answers, in the size of one with `grown` ones.

    A word or answer keeps its row, and so does the unknown word, whose row stays the last one. Rows
    of new ones are those that `network` has.

    Args:
        weights: by parameter name; what fits neither vocabulary is left for others to refuse.
        network: of `grown` words and answers; it is not touched.
        known: vocabulary of `weights`.
        grown: a vocabulary that extends it.
    """
    words = [*range(known.num_words - 1), grown.unknown_word]
    answers = list(range(known.num_answers))
    own = network.state_dict()
    result = dict(weights)
    for names, rows in ((_BY_WORD, words), (_BY_ANSWER, answers)):
        for name in names:
            old, new = weights.get(name), own[name].clone()
            if old is not None and old.shape == (len(rows), *new.shape[1:]):
                new[torch.tensor(rows)] = old
                result[name] = new
    return result
