"""Words and answers, and the numbers that stand for them."""

import functools
import hashlib
import json
import os
import pickle
import warnings
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, BinaryIO, NoReturn, Self

from dact.errors import UserError
from dact.options import FUNCTION_IN_CHECKPOINT

from .cache import unfinished
from .tokenizers import TREEBANK, UNICODE, Tokenizer, check_name, code_of, load_tokenizer
from .tokenizers import tokenize as tokenize


class Vocabulary:
    """Words and answers of the training questions, numbered in order of first appearance.

    Args:
        words: word → id, ids 1..n; 0 is padding and n + 1 stands for any other word.
        answers: answer → id, ids 0..m-1.
        lowercase: whether text is lower-cased before it is cut into words.
        tokenizer: what cuts it, see `load_tokenizer`; it is imported on first use.
        code: of the tokenizer when the vocabulary was made, see `code_of`.

    Raises:
        UserError: ids that are not contiguous, or entries of another type.
    """

    def __init__(
        self,
        words: Mapping[str, int],
        answers: Mapping[str, int],
        lowercase: bool = False,
        tokenizer: str = TREEBANK,
        code: str = "",
    ) -> None:
        self._words = _checked(words, "words", first=1)
        self._answers = _checked(answers, "answers", first=0)
        self.lowercase = lowercase
        self.tokenizer = tokenizer
        self.code = code
        self.unknown_word = len(self._words) + 1

    @property
    def num_words(self) -> int:
        """Rows of an embedding: padding, the words, and the unknown word."""
        return len(self._words) + 2

    @property
    def num_answers(self) -> int:
        """Number of answers to choose from."""
        return len(self._answers)

    @functools.cached_property
    def answer_names(self) -> list[str]:
        """Answers by id."""
        return list(self._answers)

    @property
    def words(self) -> dict[str, int]:
        """Word → id, in order of id (a copy)."""
        return dict(self._words)

    @property
    def answers(self) -> dict[str, int]:
        """Answer → id, in order of id (a copy)."""
        return dict(self._answers)

    def extends(self, base: "Vocabulary") -> bool:
        """Whether all words and answers of `base` are here, with the ids that they have there."""
        return (
            (self.lowercase, self.tokenizer) == (base.lowercase, base.tokenizer)
            and base._words.items() <= self._words.items()
            and base._answers.items() <= self._answers.items()
        )

    def __contains__(self, word: str) -> bool:
        """Whether training showed `word`."""
        return word in self._words

    def words_of(self, text: str) -> list[str]:
        """The words of a question, known or not."""
        return self._cut(text.lower() if self.lowercase else text)

    @functools.cached_property
    def _cut(self) -> Tokenizer:
        if self.code != code_of(self.tokenizer):
            warnings.warn(
                f"data.tokenizer={self.tokenizer} has changed since these words were collected: it "
                "may cut questions into others",
                stacklevel=2,
            )
        return load_tokenizer(self.tokenizer)

    def encode(self, tokens: Iterable[str]) -> list[int]:
        """Ids of words, in 1..`num_words` - 1."""
        unknown = self.unknown_word
        return [self._words.get(token, unknown) for token in tokens]

    def answer_id(self, text: str) -> int:
        """Id of an answer, or -1 if training never showed it."""
        return self._answers.get(text, -1)

    @functools.cached_property
    def fingerprint(self) -> str:
        """12 hex digits that differ when any word, answer or id does."""
        return hashlib.sha256(json.dumps(self.to_dict()).encode()).hexdigest()[:12]

    def to_dict(self) -> dict[str, Any]:
        """Plain containers, as stored in checkpoints; the usual tokenizer is not named."""
        own = {"tokenizer": self.tokenizer, "code": self.code}
        return {
            "words": dict(self._words),
            "answers": dict(self._answers),
            "lowercase": self.lowercase,
            **(own if self.tokenizer != TREEBANK else {}),
        }

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> Self:
        """The reverse of `to_dict`.

        Raises:
            UserError: `content` is not what `to_dict` gives.
        """
        own = {"tokenizer", "code"}
        if not isinstance(content, Mapping) or set(content) - own != {
            *("words", "answers", "lowercase")
        }:
            raise UserError("a vocabulary has the entries 'words', 'answers' and 'lowercase'")
        if not isinstance(content["lowercase"], bool):
            raise UserError("'lowercase' of a vocabulary is true or false")
        named = {name: content[name] for name in own & set(content)}
        if not all(isinstance(value, str) for value in named.values()):
            raise UserError("'tokenizer' and 'code' of a vocabulary are texts")
        check_name(named.get("tokenizer", TREEBANK))
        return cls(content["words"], content["answers"], content["lowercase"], **named)

    def save(self, path: Path) -> None:
        """Write JSON to `path`, which is never seen half-written."""
        temporary = unfinished(path)
        temporary.write_text(json.dumps(self.to_dict(), ensure_ascii=False, indent=0), "utf-8")
        os.replace(temporary, path)

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read what `save` wrote.

        Raises:
            UserError: no such file, broken JSON, or JSON of something else.
        """
        try:
            return cls.from_dict(json.loads(Path(path).read_text("utf-8")))
        except OSError as error:
            raise UserError(f"{path}: {error.strerror or error}") from error
        except ValueError as error:  # JSON, UTF-8 and our own UserError
            reason = str(error).splitlines()[0]
            raise UserError(f"{path} is not a vocabulary: {reason}") from error


class VocabularyBuilder:
    """Numbers words and answers as they first appear; encodes like the vocabulary it becomes.

    Args:
        lowercase: whether text is lower-cased before it is cut into words.
        base: a vocabulary to go on from: its words and answers come first and keep their ids, and
            it decides about `lowercase` and `tokenizer`.
        tokenizer: what cuts it, see `load_tokenizer`.
    """

    def __init__(
        self,
        lowercase: bool = False,
        base: Vocabulary | None = None,
        tokenizer: str = TREEBANK,
    ) -> None:
        self.lowercase = lowercase if base is None else base.lowercase
        self.tokenizer = tokenizer if base is None else base.tokenizer
        self._cut = load_tokenizer(self.tokenizer)
        self._words: dict[str, int] = {} if base is None else base.words
        self._answers: dict[str, int] = {} if base is None else base.answers

    def words_of(self, text: str) -> list[str]:
        """The words of a question."""
        return self._cut(text.lower() if self.lowercase else text)

    def encode(self, tokens: Iterable[str]) -> list[int]:
        """Ids of words; new words get the next ids."""
        words = self._words
        return [words.setdefault(token, len(words) + 1) for token in tokens]

    def answer_id(self, text: str) -> int:
        """Id of an answer; a new one gets the next id."""
        return self._answers.setdefault(text, len(self._answers))

    def finish(self) -> Vocabulary:
        """The vocabulary of all that was encoded so far."""
        code = code_of(self.tokenizer)
        return Vocabulary(self._words, self._answers, self.lowercase, self.tokenizer, code)

    @property
    def fingerprint(self) -> str:
        """Fingerprint of the vocabulary as it is now."""
        return self.finish().fingerprint


def choose_tokenizer(wanted: str | None, known: Vocabulary | None) -> str:
    """The tokenizer of a vocabulary, if there is one, else the wanted one, else the usual one.

    Raises:
        UserError: another one is wanted than that of the vocabulary, or one of no possible name;
            or that of the vocabulary is a function that the user did not name: a checkpoint alone
            does not decide what is run.
    """
    decided = known.tokenizer if known else wanted or TREEBANK
    if wanted not in (None, decided):
        raise UserError(
            f"data.tokenizer={wanted}, but the network was trained with {decided}: give "
            f"data.tokenizer={decided}"
        )
    check_name(decided)
    if wanted is None and decided not in (TREEBANK, UNICODE):
        raise UserError(FUNCTION_IN_CHECKPOINT.format(decided))
    return decided


def read_reference_dictionary(path: Path, lowercase: bool = False) -> Vocabulary:
    """Vocabulary of the authors' `dic.pkl`: {"word_dic": word → id, "answer_dic": answer → id}.

    The pickle may build only dictionaries, texts and integers; nothing in it is executed.

    Raises:
        UserError: no such file, another content, or a pickle that asks for anything else.
    """
    try:
        with Path(path).open("rb") as file:
            content = _PlainUnpickler(file).load()
    except OSError as error:
        raise UserError(f"{path}: {error.strerror or error}") from error
    except Exception as error:  # a damaged pickle raises nearly anything
        reason = " ".join(str(error).split())
        raise UserError(f"{path} is not a plain dictionary of words: {reason}") from error
    if not isinstance(content, dict) or not {"word_dic", "answer_dic"} <= set(content):
        raise UserError(f"{path} has no 'word_dic' and 'answer_dic': not a reference dictionary")
    try:
        return Vocabulary(content["word_dic"], content["answer_dic"], lowercase)
    except UserError as error:
        raise UserError(f"{path}: {error}") from error


class _PlainUnpickler(pickle.Unpickler):
    """Refuses every global: dictionaries, texts and integers need none."""

    def __init__(self, file: BinaryIO) -> None:
        super().__init__(file)

    def find_class(self, module: str, name: str) -> NoReturn:
        raise pickle.UnpicklingError(f"it asks for {module}.{name}")


def _checked(entries: Mapping[str, int], what: str, first: int) -> dict[str, int]:
    """`entries` in order of id, after a check that their ids are first, first + 1 and so on."""
    if not isinstance(entries, Mapping) or not all(
        isinstance(name, str) and type(number) is int for name, number in entries.items()
    ):
        raise UserError(f"the {what} of a vocabulary are texts with whole numbers")
    ordered = dict(sorted(entries.items(), key=lambda entry: entry[1]))
    if list(ordered.values()) != list(range(first, first + len(ordered))):
        raise UserError(f"the ids of the {what} are not {first}, {first + 1}, … without a gap")
    return ordered
