import json
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from clevr_files import make_questions, write_questions
from hypothesis import given
from hypothesis import strategies as st

from dact.datamodules.clevr import QUESTION_TYPES, question_type, read_clevr_questions
from dact.datamodules.packed_file import ArrayWriter, gather_ragged, map_arrays
from dact.datamodules.question_writer import write_packed
from dact.datamodules.questions import PackedQuestions, Question
from dact.datamodules.vocabulary import VocabularyBuilder, tokenize
from dact.errors import UserError

QUESTIONS = [
    Question("a7", "Is it red?", "yes", "one.png", 3, 1, 12, 5, 2),
    Question("b", "What?", "größer", "two.png", 0, 0),
    Question("c", "Is the thing, which is red, a cube?", "yes", "one.png", 3, 2, 89, 24, 4),
]


def pack(path: Path, questions: list[Question] = QUESTIONS, source: str = "s") -> PackedQuestions:
    write_packed(
        path,
        iter(questions),
        VocabularyBuilder(),
        source=source,
        type_names=("x", "y", "z"),
        integer_ids=False,
        where="questions.json",
    )
    return PackedQuestions(path)


def test_everything_comes_back_in_order(tmp_path: Path) -> None:
    packed = pack(tmp_path / "q.h5")
    assert len(packed) == 3
    assert packed.type_names == ("x", "y", "z")
    assert packed.answers.tolist() == [0, 1, 0]
    assert packed.image_rows.tolist() == [3, 0, 3]
    assert packed.question_types.tolist() == [1, 0, 2]
    assert packed.families.tolist() == [12, -1, 89]
    assert packed.program_lengths.tolist() == [5, -1, 24]
    assert packed.reads_needed.tolist() == [2, -1, 4]
    assert packed.lengths.tolist() == [4, 2, 11]
    for position, question in enumerate(QUESTIONS):
        record = packed.record(position)
        assert record == (question.question_id, question.image, question.text, question.answer)


def test_tokens_are_padded_with_zeros(tmp_path: Path) -> None:
    tokens, lengths = pack(tmp_path / "q.h5").tokens_of(np.array([1, 0, 1]))
    assert tokens.dtype == lengths.dtype == np.int64
    assert lengths.tolist() == [2, 4, 2]
    assert tokens.tolist() == [[5, 4, 0, 0], [1, 2, 3, 4], [5, 4, 0, 0]]


@given(st.lists(st.lists(st.integers(1, 9), max_size=5), min_size=1), st.data())
def test_ragged_rows_are_gathered_exactly(rows: list[list[int]], data: st.DataObject) -> None:
    wanted = data.draw(st.lists(st.integers(0, len(rows) - 1)))
    values = np.array([value for row in rows for value in row], np.int32)
    offsets = np.cumsum([0, *map(len, rows)])
    padded, lengths = gather_ragged(values, offsets, np.array(wanted, np.int64), np.int64)
    assert [row[:n].tolist() for row, n in zip(padded, lengths, strict=True)] == [
        rows[index] for index in wanted
    ]
    assert all(not row[n:].any() for row, n in zip(padded, lengths, strict=True))


def test_pickling_takes_the_path_only(tmp_path: Path) -> None:
    packed = pack(tmp_path / "q.h5")
    content = pickle.dumps(packed)
    assert len(content) < 400
    assert pickle.loads(content).record(2) == packed.record(2)


def test_many_blocks_are_one_file(tmp_path: Path) -> None:
    questions = [
        Question(str(number), f"Is it {'very ' * (number % 7)}red?", "yes", "one.png", number, 0)
        for number in range(20011)
    ]
    packed = pack(tmp_path / "q.h5", questions)
    assert len(packed) == 20011
    assert packed.record(20010).question == questions[20010].text
    assert packed.lengths.tolist() == [len(tokenize(question.text)) for question in questions]
    assert packed.image_rows.tolist() == list(range(20011))


def test_arrays_are_aligned_and_mapped(tmp_path: Path) -> None:
    pack(tmp_path / "q.h5")
    _, arrays = map_arrays(tmp_path / "q.h5")
    assert all(array.flags.aligned and not array.flags.writeable for array in arrays.values())


def test_no_answers(tmp_path: Path) -> None:
    packed = pack(tmp_path / "q.h5", [question._replace(answer=None) for question in QUESTIONS])
    assert not packed.has_answers
    assert packed.unknown_answers == 0
    assert packed.answers.tolist() == [-1, -1, -1]
    assert packed.record(0).answer is None


def test_unknown_answers_are_counted_and_kept(tmp_path: Path) -> None:
    builder = VocabularyBuilder()
    builder.answer_id("yes")
    vocabulary = builder.finish()
    write_packed(
        tmp_path / "q.h5",
        QUESTIONS,
        vocabulary,
        source="s",
        type_names=(),
        integer_ids=False,
        where="questions.json",
    )
    packed = PackedQuestions(tmp_path / "q.h5")
    assert packed.answers.tolist() == [0, -1, 0]
    assert packed.unknown_answers == 1
    assert packed.record(1).answer == "größer"
    assert set(packed.tokens_of(np.arange(3))[0].ravel()) <= {0, vocabulary.unknown_word}


def test_only_a_whole_file_of_the_same_source_is_current(tmp_path: Path) -> None:
    path = tmp_path / "q.h5"
    packed = pack(path)
    assert PackedQuestions.is_current(path, "s", packed.vocabulary)
    assert not PackedQuestions.is_current(path, "t", packed.vocabulary)
    assert not PackedQuestions.is_current(path, "s", "other")
    assert not PackedQuestions.is_current(tmp_path / "none.h5", "s")
    whole = path.read_bytes()
    for damaged in (whole[: len(whole) // 2], whole[:-1], b"", b"garbage" * 99):
        path.write_bytes(damaged)
        assert not PackedQuestions.is_current(path, "s")
    with pytest.raises(UserError, match=r"q\.h5 cannot be read"):
        len(PackedQuestions(path))


def test_a_failed_write_leaves_nothing(tmp_path: Path) -> None:
    pack(tmp_path / "q.h5", source="old")
    with pytest.raises(UserError, match="question empty has no words"):
        pack(tmp_path / "q.h5", [*QUESTIONS, Question("empty", " ", "yes", "one.png", 0, 0)])
    assert [path.name for path in tmp_path.iterdir()] == ["q.h5"]
    assert PackedQuestions.is_current(tmp_path / "q.h5", "old")


def test_empty_and_half_answered_splits_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"questions\.json has no questions"):
        pack(tmp_path / "q.h5", [])
    with pytest.raises(UserError, match="some have none"):
        pack(tmp_path / "q.h5", [QUESTIONS[0], QUESTIONS[1]._replace(answer=None)])


def test_empty_columns_are_mapped(tmp_path: Path) -> None:
    with ArrayWriter(tmp_path / "a.h5", {"none": np.float32, "one": np.int64}) as writer:
        writer.append("one", [5])
        writer.attributes["name"] = "x"
    attributes, arrays = map_arrays(tmp_path / "a.h5")
    assert attributes == {"name": "x"}
    assert arrays["none"].shape == (0,)
    assert arrays["one"].tolist() == [5]


@pytest.mark.parametrize(
    ("function", "name"),
    [
        ("count", "count"),
        ("exist", "exist"),
        ("equal_integer", "compare_integer"),
        ("greater_than", "compare_integer"),
        ("less_than", "compare_integer"),
        ("equal_shape", "compare_attribute"),
        ("query_color", "query_attribute"),
        ("unique", "unknown"),
    ],
)
def test_clevr_types_come_from_the_last_function(function: str, name: str) -> None:
    for key in ("function", "type"):
        assert QUESTION_TYPES[question_type([{key: "scene"}, {key: function}])] == name
    assert QUESTION_TYPES[question_type([])] == "unknown"


def test_clevr_questions_are_read(tmp_path: Path) -> None:
    path = write_questions(tmp_path, "val", make_questions("val", 2, 2))
    first, *_, last = read_clevr_questions(path)
    assert first == Question(
        "0", "How many things are there?", "2", "CLEVR_val_000000.png", 0, 0, 0, 2, 1
    )
    assert (last.question_id, last.image_row, last.family, last.program_length) == ("3", 1, 3, 4)


def test_clevr_test_and_humans_fields_may_be_absent(tmp_path: Path) -> None:
    entry = make_questions("test", 1, 1)[0]
    for name in ("answer", "program", "question_family_index"):
        del entry[name]
    (question,) = read_clevr_questions(write_questions(tmp_path, "test", [entry]))
    assert (question.answer, question.family, question.program_length) == (None, -1, -1)
    assert QUESTION_TYPES[question.question_type] == "unknown"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"question": None}, "question 4: field 'question' is None, not str"),
        ({"question": ...}, "question 4 has no field 'question'"),
        ({"image_index": ...}, "question 4 has no field 'image_index'"),
        ({"image_index": "4"}, "question 4: field 'image_index' is '4', not int"),
        ({"image_filename": ...}, "question 4 has no field 'image_filename'"),
        ({"question_index": ...}, "question at position 4 has no field 'question_index'"),
        ({"answer": 3.5}, "question 4: field 'answer' is 3.5, not str"),
    ],
)
def test_odd_clevr_questions_are_named(tmp_path: Path, change: dict, message: str) -> None:
    questions = make_questions("val", 1, 5)
    questions[4] = {k: v for k, v in (questions[4] | change).items() if v is not ...}
    path = write_questions(tmp_path, "val", questions)
    with pytest.raises(UserError, match="CLEVR_val_questions") as caught:
        list(read_clevr_questions(path))
    assert str(caught.value).startswith(f"{path}: {message}")


def test_broken_json_is_named(tmp_path: Path) -> None:
    path = write_questions(tmp_path, "val", make_questions("val", 1, 5))
    path.write_bytes(path.read_bytes()[:-300])
    with pytest.raises(UserError, match=r"broken JSON after entry \d") as caught:
        list(read_clevr_questions(path))
    assert "\n" not in str(caught.value)
    path.write_text(json.dumps({"questions": [3]}))
    with pytest.raises(UserError, match="question at position 0 is not an object"):
        list(read_clevr_questions(path))
    with pytest.raises(UserError, match="No such file"):
        list(read_clevr_questions(tmp_path / "none.json"))


# A million questions.

OPEN_AND_READ = """
import sys, time
from pathlib import Path

import numpy as np

from dact.datamodules.collate import VQADataset
from dact.datamodules.questions import PackedQuestions

class Images:
    path, kind, feature_dim = Path("images"), "objects", 1
    def __len__(self): return 10**9
    def read(self, rows): return np.zeros((len(rows), 1, 1), np.float32), np.ones(len(rows), int)

def private():
    # Not the mapped pages of the file, which the system shares and may drop at any time.
    lines = Path("/proc/self/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith("Anonymous")) / 1024

before, start = private(), time.perf_counter()
dataset = VQADataset(PackedQuestions(Path(sys.argv[1])), Images())
dataset.__getitems__(range(0, len(dataset), len(dataset) // 64))
print(len(dataset), time.perf_counter() - start, private() - before)
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/smaps_rollup").exists(), reason="needs Linux's /proc")
def test_a_million_questions_open_at_once_in_little_memory(tmp_path: Path) -> None:
    count = 1_000_003
    words = [f"word{n}" for n in range(15)]
    questions = (
        Question(str(n), " ".join(words[n % 7 : 8 + n % 9]), "yes", f"{n // 10}.png", n // 10, 0)
        for n in range(count)
    )
    encoder = VocabularyBuilder()
    path = tmp_path / "many.h5"
    options = {"source": "s", "type_names": ["one"], "integer_ids": True, "where": "here"}
    write_packed(path, questions, encoder, **options)
    done = subprocess.run(
        [sys.executable, "-c", OPEN_AND_READ, str(path)], capture_output=True, text=True, check=True
    )
    opened, seconds, megabytes = map(float, done.stdout.split())
    assert opened == count
    assert seconds < 1
    assert megabytes < 50
