"""A split in shards is packed as if it were one file, by any number of processes."""

import json

import numpy as np
import pytest

from dact.datamodules import PackedQuestions, Vocabulary
from dact.datamodules.gqa_files import question_files
from dact.datamodules.gqa_questions import read_gqa_questions
from dact.datamodules.packed_file import map_arrays
from dact.datamodules.question_shards import pack_shards
from dact.datamodules.question_writer import write_packed
from dact.datamodules.vocabulary import VocabularyBuilder
from dact.errors import UserError

SETTINGS = {"source": "s", "type_names": ("verify",), "integer_ids": False, "where": "train"}
WORDS = ["a", "red", "Red", "dog", "cat", "is", "the", "near", "house", "left"]


def entries(count, seed, start=0):
    generator = np.random.default_rng(seed)
    result = {}
    for number in range(start, start + count):
        words = generator.choice(WORDS, generator.integers(2, 7))
        result[f"{7 * number:0{3 + number % 3}d}x"] = {
            "question": " ".join(words) + "?",
            "imageId": f"i{generator.integers(11)}",
            "answer": str(generator.choice(["yes", "no", "dog", "left"])),
            "types": {"structural": "verify"},
            "semantic": [{"operation": "select", "argument": "dog (1)"}] * (number % 4),
        }
    return result


@pytest.fixture
def shards(tmp_path):
    """Three shards of different sizes, and all of them in one file."""
    parts = [entries(13, 0), entries(5, 1, 13), entries(17, 2, 18)]
    files = [tmp_path / f"shard_{i}.json" for i in range(3)]
    for file, part in zip(files, parts, strict=True):
        file.write_text(json.dumps(part))
    one = tmp_path / "one.json"
    one.write_text(json.dumps({name: entry for part in parts for name, entry in part.items()}))
    return files, one


def assert_same(left, right):
    """Same attributes and arrays."""
    (attributes, arrays), (others, other_arrays) = map_arrays(left), map_arrays(right)
    assert attributes == others
    assert arrays.keys() == other_arrays.keys()
    for name, array in arrays.items():
        np.testing.assert_array_equal(array, other_arrays[name], name)


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("given", [False, True])
def test_shards_are_packed_like_one_file(shards, tmp_path, workers, given):
    files, one = shards

    def encoder():
        if not given:
            return VocabularyBuilder(lowercase=True)
        return Vocabulary({"the": 1, "dog": 2, "?": 3}, {"no": 0, "dog": 1}, lowercase=True)

    whole, packed, first, second = tmp_path / "whole.h5", tmp_path / "p.h5", encoder(), encoder()
    write_packed(whole, read_gqa_questions(one), first, **SETTINGS)
    pack_shards(packed, files, read_gqa_questions, second, workers=workers, **SETTINGS)
    assert_same(whole, packed)
    assert first.fingerprint == second.fingerprint
    questions = PackedQuestions(packed)
    assert len(questions) == 35
    assert [questions.images[row] for row in questions.image_rows] == [
        questions.record(position).image for position in range(35)
    ]
    assert sorted(path.name for path in tmp_path.iterdir() if path.suffix != ".json") == [
        "p.h5",
        "whole.h5",
    ]


def pack(files, path):
    pack_shards(path, files, read_gqa_questions, VocabularyBuilder(), workers=1, **SETTINGS)


def test_an_id_that_comes_twice_is_named(shards, tmp_path):
    files, _ = shards
    (tmp_path / "again.json").write_text(json.dumps(entries(1, 5, 14)))
    with pytest.raises(UserError, match="train: question 00098x comes twice"):
        pack([*files, tmp_path / "again.json"], tmp_path / "p.h5")
    assert not list(tmp_path.glob("p*"))


def test_shards_with_and_without_answers_do_not_go_together(shards, tmp_path):
    files, _ = shards
    unanswered = {name: {**e, "answer": None} for name, e in entries(3, 5, 50).items()}
    (tmp_path / "more.json").write_text(json.dumps(unanswered))
    with pytest.raises(UserError, match=r"more\.json and the shards before it differ"):
        pack([*files, tmp_path / "more.json"], tmp_path / "p.h5")


def test_a_broken_shard_leaves_nothing(shards, tmp_path):
    files, _ = shards
    files[1].write_text(files[1].read_text()[:-20])
    with pytest.raises(UserError, match=r"shard_1\.json: broken JSON"):
        pack(files, tmp_path / "p.h5")
    assert not list(tmp_path.glob("p*"))


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"7": None}, "7 is not an object"),
        ({"7": 5}, "7 is not an object"),
        (
            {"": {"question": "A dog?", "imageId": "i"}},
            "the id of the question 'A dog\\?' is empty",
        ),
    ],
)
def test_an_odd_entry_is_named(tmp_path, entry, message):
    (tmp_path / "odd.json").write_text(json.dumps(entry))
    with pytest.raises(UserError, match=message):
        pack([tmp_path / "odd.json"], tmp_path / "p.h5")


def test_a_shard_that_is_missing_is_named(tmp_path):
    folder = tmp_path / "questions" / "val_all_questions"
    folder.mkdir(parents=True)
    for number in (0, 1, 3, 10):
        (folder / f"val_all_questions_{number}.json").write_text("{}")
    with pytest.raises(UserError, match=r"val_all_questions_2\.json is missing"):
        question_files(tmp_path, "val_all")
    (folder / "val_all_questions_other.json").write_text("{}")  # then they are not numbered
    assert len(question_files(tmp_path, "val_all")) == 5
