"""Pretrained word vectors: read from hand-made files, and as what a fit starts from."""

import gzip
import shutil
import struct

import numpy as np
import pytest
import torch
from conftest import TINY, Program
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dact import checkpoint, warm_start
from dact import config as configs
from dact.errors import UserError
from dact.options import EmbeddingOptions, NetworkOptions
from dact.word_vectors import identity, read_word_vectors

DIM = 3
ROWS = [("the", (1.0, -2.5, 0.125)), ("Cube", (0.5, 0.0, 1e-3)), ("is", (7.0, 8.0, 9.0))]


def glove(rows):
    lines = [" ".join([word, *(repr(float(x)) for x in values)]) for word, values in rows]
    return "".join(f"{line}\n" for line in lines).encode()


def header(rows):
    return f"{len(rows)} {len(rows[0][1]) if rows else DIM}\n".encode()


def word2vec_text(rows):
    return header(rows) + glove(rows).replace(b"\n", b" \n")  # as word2vec writes it


def word2vec(rows, end=b""):
    def packed(word, values):
        word = word if isinstance(word, bytes) else word.encode()
        return word + b" " + struct.pack(f"<{len(values)}f", *values) + end

    return header(rows) + b"".join(packed(*row) for row in rows)


def word2vec_lines(rows):
    return word2vec(rows, b"\n")


FORMATS = [glove, word2vec_text, word2vec, word2vec_lines]
every_format = pytest.mark.parametrize("write", FORMATS)


@pytest.fixture
def read(tmp_path):
    def reading(content, words, dim=DIM):
        path = tmp_path / "vectors"
        path.write_bytes(content)
        if not isinstance(words, dict):
            words = {word: number for number, word in enumerate(words, 1)}
        return read_word_vectors(path, words, dim)

    return reading


def refused(read, content, words=("the",), dim=DIM):
    with pytest.raises(UserError) as raised:
        read(content, words, dim)
    assert "\n" not in str(raised.value)
    assert "/vectors" in str(raised.value)
    return str(raised.value)


# Reading.


@every_format
@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_rows_are_found_by_word(read, write, pack):
    found = read(pack(write(ROWS)), {"is": 4, "blue": 9, "the": 2})
    assert found.ids.tolist() == [4, 2]
    assert (found.ids.dtype, found.vectors.dtype) == (np.int64, np.float32)
    np.testing.assert_array_equal(found.vectors, np.float32([ROWS[2][1], ROWS[0][1]]))
    assert found.missing == ["blue"]


@every_format
def test_a_word_is_itself_then_lower_cased_then_capitalised(read, write):
    rows = [(word, (float(n), 0.0, 0.0)) for n, word in enumerate(["Red", "red", "Big", "is"])]
    found = read(write(rows), ["Red", "red", "RED", "big", "BIG", "Is", "rEd", "IT"])
    assert found.vectors[:, 0].tolist() == [0, 1, 1, 2, 2, 3, 1]
    assert found.missing == ["IT"]


@every_format
def test_the_first_of_two_rows_counts(read, write):
    rows = [*ROWS, ("the", (9.0, 9.0, 9.0))]
    assert read(write(rows), ["the"]).vectors.tolist() == [list(ROWS[0][1])]


@every_format
def test_none_may_be_found(read, write):
    found = read(write(ROWS), ["a", "b"])
    assert (found.ids.shape, found.vectors.shape) == ((0,), (0, DIM))
    assert found.missing == ["a", "b"]


def test_words_in_broken_utf8_are_passed_by(read):
    rows = [(b"n\xc3", (1.0, 1.0, 1.0)), (b"\xff\xfe", (2.0, 2.0, 2.0)), *ROWS]
    rows.append(("né", (3.0, 4.0, 5.0)))
    found = read(word2vec(rows), ["né", "the", "n\ud800"])
    assert found.vectors.tolist() == [[3, 4, 5], list(ROWS[0][1])]
    assert found.missing == ["n\ud800"]


def test_words_of_glove_may_hold_spaces_and_strange_signs(read):
    content = glove([*ROWS, (". . .", (1, 2, 3)), ("a\xa0b", (4, 5, 6)), ("c\x85", (7, 8, 9))])
    content += b" 1 1 1\n\n\n"
    assert read(content, ["a\xa0b", "c\x85", ". . ."]).vectors[:, 0].tolist() == [4, 7, 1]


def test_the_last_line_needs_no_end(read):
    assert read(glove(ROWS)[:-1], ["is"]).ids.tolist() == [1]


def test_a_word_may_be_a_number(read):
    assert read(glove([("7", (1, 2, 3)), *ROWS]), ["7"]).vectors.tolist() == [[1, 2, 3]]


def test_a_file_is_read_in_pieces(read, monkeypatch):
    monkeypatch.setattr("dact.word_vectors._CHUNK", 16)
    rows = [(f"w{n}", (n + 0.5, float(n), -n - 0.25)) for n in range(50)]
    for write in (word2vec, word2vec_lines):
        found = read(write(rows), [word for word, _ in rows])
        np.testing.assert_array_equal(found.vectors, np.float32([values for _, values in rows]))


WORDS = st.text(st.characters(codec="utf-8", exclude_categories=("C", "Z")), min_size=1, max_size=8)
NUMBERS = st.floats(width=32, allow_nan=False, allow_infinity=False)


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.sampled_from(FORMATS),
    st.lists(st.tuples(WORDS, st.tuples(*[NUMBERS] * 5)), min_size=1, max_size=12),
    st.lists(WORDS, max_size=4),
    st.data(),
)
def test_every_word_that_is_there_gets_its_very_row(read, write, rows, others, data):
    there = data.draw(st.lists(st.sampled_from([word for word, _ in rows]), unique=True))
    words = {word: number for number, word in enumerate(dict.fromkeys([*there, *others]), 1)}
    first = dict(reversed(rows))
    found = read(write(rows), words, dim=5)
    vectors = dict(zip(found.ids.tolist(), found.vectors, strict=True))
    for word, number in words.items():
        if word in first:
            np.testing.assert_array_equal(vectors[number], np.float32(first[word]))
        else:
            forms = {word.lower(), word.capitalize()} & set(first)
            assert (number in vectors) == bool(forms)
    assert found.missing == [word for word, number in words.items() if number not in vectors]


# Refusals.


@every_format
def test_another_size_is_refused(read, write):
    said = refused(read, write(ROWS), dim=300)
    assert "have 3 numbers, but model.embedding_dim=300" in said


@pytest.mark.parametrize("write", FORMATS[1:])
@pytest.mark.parametrize("words", [["the"], ["unheard"]])
def test_a_file_that_was_cut_short_is_refused(read, write, words):
    whole = write(ROWS)
    last_row = len(write(ROWS)) - len(write(ROWS[:2]))
    lasting = 6 if write is word2vec_text else 2  # a shorter last number is a number
    for lost in range(lasting, last_row):
        assert "row 3: " in refused(read, whole[:-lost], words)


def test_text_without_a_header_that_ends_within_a_row_is_refused(read):
    assert "row 3: 2 numbers instead of 3" in refused(read, glove(ROWS)[:-5])


@pytest.mark.parametrize("write", [word2vec_text, word2vec])
def test_more_rows_than_promised_are_refused(read, write):
    content = write(ROWS).replace(b"3 3\n", b"2 3\n")
    assert "row 3: there is more, but the file promises 2 rows" in refused(read, content)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "row 1: neither a word"),
        (b"the\n", "row 1: neither a word"),
        (b"\x00\x01\x02", "row 1: neither a word"),
        (b"x" * (1 << 20), "row 1: no word with numbers"),
        (b"2 3\n" + b"x" * 8000, "row 1: no word"),
        (b"a 1 2 3\nthe 1 2 x\n", "row 2: not every number is one"),
        (b"a 1 2 3\nthe 1 2 nan\n", "row 2: not 3 finite numbers"),
        (b"a 1 2 3\nthe 1 2 1e39\n", "row 2: not 3 finite numbers"),
        (b"a 1 2 3\nthe 1 2\n", "row 2: 2 numbers instead of 3"),
        (b"a 1 2 3\nthe 1 2 3 4\n", "row 2: more than 3 numbers"),
        (word2vec([("the", (1.0, float("inf"), 0.0))]), "row 1: not 3 finite numbers"),
        (gzip.compress(glove(ROWS), mtime=0)[:-6], "row 4: the gzip file is damaged"),
        (gzip.compress(glove(ROWS), mtime=0)[:12], "row 1: the gzip file is damaged"),
    ],
)
def test_a_broken_row_is_refused(read, content, message):
    assert message in refused(read, content)


@pytest.mark.parametrize("function", [identity, lambda path: read_word_vectors(path, {}, 3)])
def test_a_missing_file_is_refused(tmp_path, function):
    with pytest.raises(UserError, match=r"^word vectors \S+/none\.txt: No such file"):
        function(tmp_path / "none.txt")
    with pytest.raises(UserError, match=r"^word vectors \S+: Is a directory$"):
        function(tmp_path)


def test_a_file_is_known_wherever_it_lies(tmp_path):
    one, moved, other = (tmp_path / name for name in ("one", "moved", "other"))
    one.write_bytes(glove(ROWS))
    moved.write_bytes(glove(ROWS))
    other.write_bytes(glove(ROWS[1:]))
    assert identity(one) == identity(str(moved)) != identity(other)


# As what a fit starts from.


@pytest.fixture
def vectors(trained, tmp_path):
    """A file with vectors of all words but some, and those vectors by id."""
    words = checkpoint.describe(trained.mac.checkpoint).vocabulary["words"]
    dim = next(int(text.split("=")[1]) for text in TINY if "embedding_dim" in text)
    numbers = np.random.default_rng(0).normal(size=(len(words), dim)).astype(np.float32)
    lost = {word.lower() for word in list(words)[:5]}
    rows = [
        (word, values)
        for word, values in zip(words, numbers.tolist(), strict=True)
        if word.lower() not in lost
    ]
    path = tmp_path / "my vectors.txt"
    path.write_bytes(glove(rows))
    return path, {words[word]: torch.tensor(values) for word, values in rows}


def raw(finished):
    """The network's weights as they were trained: averages of equal numbers round."""
    return checkpoint.network_weights({"state_dict": finished.checkpoint["current_model_state"]})


def embedding(finished):
    weight = raw(finished)["encoder.embedding.weight"]
    averaged = checkpoint.network_weights(finished.checkpoint)["encoder.embedding.weight"]
    torch.testing.assert_close(averaged, weight, rtol=0, atol=0.1)  # they are of one network
    return weight


def differing(weight, expected):
    return [number for number, row in expected.items() if not torch.equal(weight[number], row)]


def test_a_fit_starts_from_the_rows_of_the_file(program, vectors, capsys):
    path, rows = vectors
    still = ("model=mac", "optimizer.learning_rate=0")
    plain = embedding(program(*still))
    given = embedding(program(*still, f"model.embedding.path={path}"))
    assert differing(given, rows) == []
    others = [number for number in range(len(given)) if number not in rows]
    assert others[0] == 0
    assert torch.equal(given[others], plain[others])  # padding and unknown word too
    (line,) = (line for line in capsys.readouterr().out.splitlines() if "vectors in" in line)
    assert line.startswith(
        f"{len(rows)} of {len(given) - 2} words start from the vectors in {path}"
    )
    assert line.count("'") >= 10


@pytest.mark.parametrize("gate_rate", ["null", "1e-3"])
def test_a_frozen_embedding_stays_while_the_rest_learns(program, vectors, gate_rate):
    path, rows = vectors
    arguments = [f"model.embedding.path={path}", f"optimizer.gate_learning_rate={gate_rate}"]
    arguments += ["model=mac_gate", "warm_start=none"]
    frozen = program(*arguments, "model.embedding.trainable=false")
    still = program(*arguments, "optimizer.learning_rate=0")
    assert torch.equal(embedding(frozen), embedding(still))
    assert differing(embedding(frozen), rows) == []
    averaged = checkpoint.network_weights(frozen.checkpoint)["encoder.embedding.weight"]
    torch.testing.assert_close(averaged, embedding(frozen), rtol=1e-5, atol=0)
    before, after = raw(still), raw(frozen)
    same = {name for name in after if torch.equal(before[name], after[name])}
    assert "encoder.embedding.weight" in same
    assert not {name for name in same if "lstm" in name or name.startswith("cell.")}
    (state,) = frozen.checkpoint["optimizer_states"]
    held = {tuple(entry["exp_avg"].shape) for entry in state["state"].values()}
    assert tuple(embedding(frozen).shape) not in held


def test_a_trainable_embedding_learns(program, vectors):
    path, rows = vectors
    learnt = embedding(program("model=mac", f"model.embedding.path={path}"))
    assert differing(learnt, rows)


def test_another_size_ends_a_fit(program, vectors):
    with pytest.raises(UserError, match=r"have 6 numbers, but model\.embedding_dim=5"):
        program("model=mac", "model.embedding_dim=5", f"model.embedding.path={vectors[0]}")


@pytest.mark.slow
def test_a_checkpoint_needs_the_file_no_more(program, evaluate, vectors, tmp_path, capsys):
    path, _ = vectors
    option = f"model.embedding.path={path}"
    first = program("model=mac", option)
    path.rename(tmp_path / "moved.txt")
    assert evaluate("mode=validate", f"ckpt_path={first.last}").value == first.value
    with pytest.raises(UserError, match=r"^model\.embedding\.path is decided by the checkpoint"):
        evaluate("mode=validate", f"ckpt_path={first.last}", option)
    capsys.readouterr()
    on = ("model=mac", f"ckpt_path={first.last}", "trainer.max_epochs=2")
    whole = checkpoint.describe(first.checkpoint).word_vectors
    assert whole == identity(tmp_path / "moved.txt")
    for typed in ((option,), (), (f"model.embedding.path={tmp_path / 'moved.txt'}",)):
        resumed = program(*on, *typed, folder=first.folder)
        assert checkpoint.describe(resumed.checkpoint).word_vectors == whole
    assert "vectors in" not in capsys.readouterr().out


def test_a_run_goes_on_with_what_it_began_with(program, trained, vectors, tmp_path):
    path, _ = vectors
    on = ("model=mac", "optimizer.ema_decay=0.8", "trainer.max_epochs=3")
    with pytest.raises(UserError, match=r"last\.ckpt did not begin with the word vectors in"):
        program(*on, f"ckpt_path={trained.mac.last}", f"model.embedding.path={path}")
    with pytest.raises(UserError, match=r"trained with model\.embedding\.trainable=True, not"):
        program(*on, f"ckpt_path={trained.mac.last}", "model.embedding.trainable=false")


def test_checkpoints_without_the_options_are_as_by_default(program, evaluate):
    typed = ("model=mac", "ckpt_path=last")
    first = program("model=mac")
    saved = first.checkpoint
    del saved[checkpoint.ENTRY]["config"]["model"]["embedding"]
    del saved[checkpoint.ENTRY]["word_vectors"]
    assert checkpoint.network_options(saved[checkpoint.ENTRY]["config"]).embedding.trainable
    torch.save(saved, first.last)
    with pytest.raises(UserError, match=r"model\.embedding\.trainable=True, not False"):
        program(*typed, "model.embedding.trainable=false", folder=first.folder)
    on = program(*typed, "trainer.max_epochs=2", folder=first.folder)
    assert on.checkpoint["epoch"] == 1
    assert evaluate("mode=validate", f"ckpt_path={on.last}").value == on.value


# Under an adaptive network.


def cached(cache):
    return sorted((cache / "warm_start").glob("*/mac.ckpt"))


@pytest.mark.slow
def test_the_mac_on_the_way_starts_from_them_and_is_found_again(program, vectors, tmp_path, capsys):
    path, rows = vectors
    option = f"model.embedding.path={path}"
    frozen = "model.embedding.trainable=false"
    dact = program("model=dact", option, frozen)
    (mac,) = cached(tmp_path / "cache")
    # The running average of a constant rounds: by at most float32's eps / (1 - ema_decay).
    tolerance = {"rtol": torch.finfo(torch.float32).eps / (1 - 0.999), "atol": 0}
    for number, row in rows.items():
        torch.testing.assert_close(embedding(dact)[number], row, **tolerance)
    saved = checkpoint.load(mac)
    assert checkpoint.describe(saved).word_vectors == identity(path)
    assert checkpoint.describe(saved).config["model"]["embedding"] == {
        "path": str(path),
        "trainable": False,
    }
    moved = shutil.copy(path, tmp_path / "elsewhere.vec")
    capsys.readouterr()
    program("model=act", "ponder=0", f"model.embedding.path={moved}", frozen)
    said = capsys.readouterr().out
    assert f"starting from the MAC in {mac}" in said
    assert "vectors in" not in said
    assert "its words" not in said
    path.write_bytes(path.read_bytes()[:-1] + b"1\n")
    with pytest.raises(UserError, match="no trained MAC to start from"):
        program("model=dact", option, frozen, "data.generate=null")


def test_a_given_mac_keeps_its_words(program, trained, vectors, capsys):
    arguments = ["model=dact", f"warm_start={trained.mac.last}", "optimizer.learning_rate=0"]
    dact = program(*arguments, f"model.embedding.path={vectors[0]}")
    mac = checkpoint.network_weights(trained.mac.checkpoint)["encoder.embedding.weight"]
    assert torch.equal(embedding(dact), mac)
    said = capsys.readouterr().out
    assert "its words, which are not those of model.embedding.path, stay as they are" in said


def test_the_folder_of_a_mac_depends_on_its_word_vectors(tmp_path):
    def place(identity=None, **embedding):
        options = NetworkOptions(embedding=EmbeddingOptions(**embedding))
        return warm_start.folder(tmp_path, "abc", options, identity)

    assert place() == place(path="gone.txt") == warm_start.folder(tmp_path, "abc", NetworkOptions())
    assert place("1", path="a.txt") == place("1", path="b.txt")
    assert len({place(), place("1"), place("2"), place("1", trainable=False)}) == 4


def test_the_command_for_a_mac_has_the_options(configured, tmp_path):
    program = Program(tmp_path)
    typed = program.typed("model=dact", "model.embedding.path=a b/it's.txt")
    typed.append("model.embedding.trainable=false")
    wanted = configs.resolve(program.compose(*typed))
    command = configs.mac_overrides(wanted, typed)
    mac = configs.compose(command)
    assert mac.model.embedding == wanted.model.embedding
    assert mac.model.embedding == EmbeddingOptions("a b/it's.txt", False)
    assert "embedding" not in " ".join(configs.mac_overrides(configs.compose([]), []))
