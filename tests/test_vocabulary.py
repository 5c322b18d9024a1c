import json
import pickle
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nltk.tokenize import word_tokenize

from dact.datamodules.vocabulary import (
    Vocabulary,
    VocabularyBuilder,
    read_reference_dictionary,
    tokenize,
)
from dact.errors import UserError

WORDS = ["what", "Cannot", "wanna", "gimme", "more", "n", "d", "ye", "tis", "a", "The", "it's"]


def vocabulary() -> Vocabulary:
    return Vocabulary({"is": 1, "it": 2, "?": 3}, {"yes": 0, "no": 1})


def test_tokens_are_words_and_signs() -> None:
    text = "There is a big thing; what's its size?"
    expected = ["There", "is", "a", "big", "thing", ";", "what", "'s", "its", "size", "?"]
    assert tokenize(text) == expected
    assert tokenize(text, lowercase=True) == [token.lower() for token in expected]


@given(
    st.lists(st.sampled_from(WORDS), min_size=1, max_size=6),
    st.lists(st.sampled_from([" ", ", ", "; ", "  ", ",", ": ", " - "]), min_size=6, max_size=6),
    st.sampled_from(["", "?", ".", "!", " ?", "..", "?."]),
)
def test_the_short_cut_changes_nothing(words: list[str], gaps: list[str], end: str) -> None:
    text = "".join(part for pair in zip(gaps, words, strict=False) for part in pair)[1:] + end
    assert tokenize(text) == word_tokenize(text, preserve_line=True)


def test_ids_follow_first_appearance() -> None:
    builder = VocabularyBuilder()
    assert builder.encode(["is", "it", "is"]) == [1, 2, 1]
    assert builder.encode(["?", "it"]) == [3, 2]
    assert [builder.answer_id(text) for text in ("yes", "no", "yes")] == [0, 1, 0]
    assert builder.finish().to_dict() == vocabulary().to_dict()
    assert builder.fingerprint == vocabulary().fingerprint


def test_unknown_words_and_answers() -> None:
    known = vocabulary()
    assert known.encode(["is", "that", "?"]) == [1, 4, 3]
    assert known.num_words == 5  # padding, three words, the unknown word
    assert known.answer_id("maybe") == -1
    assert known.answer_names == ["yes", "no"]
    assert known.num_answers == 2


def test_survives_dictionaries_and_files(tmp_path: Path) -> None:
    known = Vocabulary({"größe": 2, "is": 1}, {"no": 0}, lowercase=True)
    known.save(tmp_path / "v.json")
    for again in (Vocabulary.from_dict(known.to_dict()), Vocabulary.load(tmp_path / "v.json")):
        assert again.to_dict() == known.to_dict()
        assert again.fingerprint == known.fingerprint
    assert [path.name for path in tmp_path.iterdir()] == ["v.json"]
    assert Vocabulary({"is": 1}, {"no": 0}, lowercase=True).fingerprint != known.fingerprint


@pytest.mark.parametrize(
    "content",
    [
        "{",
        "[]",
        '{"words": {}}',
        '{"words": {"a": 2}, "answers": {}, "lowercase": false}',
        '{"words": {"a": "1"}, "answers": {}, "lowercase": false}',
        '{"words": {"a": 1}, "answers": {"b": 0, "c": 0}, "lowercase": false}',
        '{"words": {"a": 1}, "answers": [], "lowercase": false}',
        '{"words": {}, "answers": {}, "lowercase": 3}',
    ],
)
def test_wrong_files_are_named(tmp_path: Path, content: str) -> None:
    path = tmp_path / "v.json"
    path.write_text(content)
    with pytest.raises(UserError, match=r"v\.json is not a vocabulary") as caught:
        Vocabulary.load(path)
    assert "\n" not in str(caught.value)


def test_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"v\.json: No such file"):
        Vocabulary.load(tmp_path / "v.json")


def test_reference_dictionary(tmp_path: Path) -> None:
    path = tmp_path / "dic.pkl"
    content = {"word_dic": {"it": 2, "is": 1}, "answer_dic": {"yes": 0, "no": 1}}
    path.write_bytes(pickle.dumps(content))
    known = read_reference_dictionary(path)
    assert known.encode(["is", "it"]) == [1, 2]
    assert known.answer_names == ["yes", "no"]


class Malice:
    """Unpickled the usual way, it would create a file."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple:
        return Path.touch, (self.target,)


def test_nothing_in_a_reference_dictionary_is_executed(tmp_path: Path) -> None:
    path, target = tmp_path / "dic.pkl", tmp_path / "owned"
    path.write_bytes(pickle.dumps({"word_dic": {"a": 1}, "answer_dic": Malice(target)}))
    with pytest.raises(UserError, match=r"dic\.pkl"):
        read_reference_dictionary(path)
    assert not target.exists()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"not a pickle",
        pickle.dumps([1, 2]),
        pickle.dumps({"word_dic": {"a": 1}}),
        pickle.dumps({"word_dic": {"a": 1, "b": 3}, "answer_dic": {"c": 0}}),
        pickle.dumps({"word_dic": {"a": 1}, "answer_dic": {"c": 0}})[:-9],
        json.dumps({"word_dic": {"a": 1}, "answer_dic": {"c": 0}}).encode(),
    ],
)
def test_wrong_reference_dictionaries_are_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "dic.pkl"
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"dic\.pkl") as caught:
        read_reference_dictionary(path)
    assert "\n" not in str(caught.value)
