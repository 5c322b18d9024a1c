"""Damaged, odd and malicious data: right, or one line; never silently something else."""

import copy
import json
import re

import numpy as np
import pytest
from clevr_files import (
    make_questions,
    make_scene,
    ready,
    same,
    write_clevr,
    write_grid,
    write_questions,
    write_scenes,
)
from conftest import everything_in
from hypothesis import given, settings
from hypothesis import strategies as st

from dact.errors import UserError

MANY = 150


def served(root, cache, **options):
    """All batches of both splits as the data module serves them, and their texts."""
    module = ready(root, cache_dir=cache, batch_size=8, **options)
    loaders = module.train_dataloader(), module.val_dataloader()
    texts = [module.records(split, range(len(module.dataset(split)))) for split in ("train", "val")]
    return [batch for loader in loaders for batch in loader], texts


def refusal(action, *arguments, **options):
    """The one line by which something is refused."""
    with pytest.raises(UserError) as raised:
        action(*arguments, **options)
    assert "\n" not in str(raised.value)
    assert len(str(raised.value)) < 1000
    return str(raised.value)


def served_or_refused(root, cache, **options):
    """What is served, or None if it was refused in one line."""
    try:
        return served(root, cache, **options)
    except UserError as error:
        one_line = "\n" not in str(error) and len(str(error)) < 1000
    assert one_line
    return None


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """Scenes and questions; read only."""
    return write_clevr(tmp_path_factory.mktemp("clevr") / "root")


@pytest.fixture(scope="module")
def prepared(root, tmp_path_factory):
    """Its cache, and what is served from it."""
    cache = tmp_path_factory.mktemp("prepared")
    return cache, *served(root, cache)


@pytest.mark.parametrize("share", [n / 20 for n in range(20)])
@pytest.mark.parametrize("chunks", [None, (1, 5, 3, 2)])
@pytest.mark.faults(
    "HDF5 features cut short",
    tried="at 20 places, in one piece and in chunks",
    happened="one line names the file",
)
def test_features_cut_short(tmp_path, share, chunks):
    root = write_clevr(tmp_path)
    values = np.random.default_rng(0).normal(size=(7, 5, 3, 2)).astype(np.float32)
    for split in ("train", "val"):
        write_grid(root, split, values, chunks=chunks)
    path = root / "features" / "val_features.hdf5"
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    message = refusal(served, root, tmp_path / "cache", features="grid")
    assert "val_features.hdf5" in message


@pytest.mark.parametrize("name", ["questions_train.h5", "questions_val.h5", "states_train.h5"])
@pytest.mark.faults(
    "a bit flipped in packed questions or scenes",
    tried="anywhere",
    happened="noticed and packed anew, or in padding: the same batches and texts are served",
    times=MANY,
)
def test_flipped_bits_in_packed_files(root, prepared, name, tmp_path):
    source, batches, texts = prepared
    content = (source / name).read_bytes()
    for path in source.iterdir():
        if path.is_file():
            (tmp_path / path.name).write_bytes(path.read_bytes())

    @settings(max_examples=MANY)
    @given(st.floats(0, 1, exclude_max=True), st.integers(0, 7))
    def flip(place, bit):
        damaged = bytearray(content)
        damaged[int(place * len(damaged))] ^= 1 << bit
        (tmp_path / name).unlink()
        (tmp_path / name).write_bytes(damaged)
        found, found_texts = served(root, tmp_path)
        assert found_texts == texts
        assert all(map(same, found, batches))

    flip()


@pytest.mark.parametrize("changed", ["words", "answers", "emptied", "cut", "other"])
@pytest.mark.faults(
    "vocabulary.json of another dataset, or edited",
    tried="words or answers swapped, emptied, cut short, replaced",
    happened="made anew: the same batches are served",
)
def test_a_vocabulary_that_is_not_that_of_the_data(root, prepared, changed, tmp_path):
    source, batches, _ = prepared
    for path in source.iterdir():
        if path.is_file():
            (tmp_path / path.name).write_bytes(path.read_bytes())
    path = tmp_path / "vocabulary.json"
    content = json.loads(path.read_text())
    if changed in ("words", "answers"):
        names = list(content[changed])
        content[changed] = dict(zip(names[::-1], content[changed].values(), strict=True))
    elif changed == "emptied":
        content["answers"] = {}
    text = json.dumps(content)
    if changed == "cut":
        text = text[: len(text) // 2]
    elif changed == "other":
        other = write_clevr(tmp_path / "other", train=(3, 1))
        served(other, tmp_path / "others")
        text = (tmp_path / "others" / "vocabulary.json").read_text()
    path.write_text(text)
    found, _ = served(root, tmp_path)
    assert all(map(same, found, batches))


@pytest.mark.faults(
    "NaN or infinity in features",
    tried="at any place, float16 and float32",
    happened="one line names the file and the row",
    times=MANY,
)
def test_features_that_are_no_numbers(tmp_path):
    root = write_clevr(tmp_path)
    values = np.random.default_rng(0).normal(size=(7, 5, 3, 2))
    write_grid(root, "train", values.astype(np.float32))
    places = st.tuples(*(st.integers(0, size - 1) for size in (5, 5, 3, 2)))

    @settings(max_examples=MANY)
    @given(places, st.sampled_from([np.nan, np.inf, -np.inf]), st.sampled_from(["f2", "f4"]))
    def spoil(place, value, dtype):
        spoiled = values[:5].astype(dtype)
        spoiled[place] = value
        write_grid(root, "val", spoiled)
        message = refusal(served, root, tmp_path / "cache", features="grid")
        assert re.search(rf"val_features\.hdf5: row {place[0]} holds NaN or infinity", message)

    spoil()


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=5,
)


@pytest.mark.parametrize("kind", ["questions", "scenes"])
@pytest.mark.faults(
    "odd entries in questions.json and scenes.json",
    tried="a field lost, or any JSON in its place",
    happened="served, or one line; nothing half-written",
    times=MANY,
)
def test_odd_entries(tmp_path, kind):
    root = write_clevr(tmp_path / "root")
    proper = {
        "questions": make_questions("val", 5, 3),
        "scenes": [make_scene(index, 1 + index % 4) for index in range(5)],
    }[kind]
    write = {"questions": write_questions, "scenes": write_scenes}[kind]

    @settings(max_examples=MANY)
    @given(st.data())
    def spoil(data):
        entries = copy.deepcopy(proper)
        entry = entries[data.draw(st.integers(0, len(entries) - 1))]
        if kind == "scenes" and data.draw(st.booleans()):
            entry = entry["objects"][0]
        name = data.draw(st.sampled_from(sorted(entry)))
        if data.draw(st.booleans()):
            del entry[name]
        else:
            entry[name] = data.draw(JSON)
        write(root, "val", entries)
        served_or_refused(root, tmp_path / "cache")
        assert not [n for n in everything_in(tmp_path / "cache") if "unfinished" in n]

    spoil()


OVERSIZED = {
    "a question of 10 MB": '"question": "' + "a" * 10_000_000 + '"',
    "a million words": '"question": "' + "why " * 1_000_000 + '"',
    "a number of 5000 digits": '"image_index": ' + "9" * 5000,
    "a large exponent": '"image_index": 1e400',
    "100000 brackets": '"program": ' + "[" * 100_000 + "]" * 100_000,
    "a lone surrogate": '"question": "\\ud800?"',
    "a negative row": '"image_index": -1',
    "a field twice": '"question": "What?", "question": "Why?"',
    "a NUL": '"question": "What\\u0000?"',
}


@pytest.mark.parametrize("what", OVERSIZED)
@pytest.mark.faults(
    "oversized or odd JSON fields",
    tried=", ".join(OVERSIZED),
    happened="served, or one line",
)
def test_oversized_fields(tmp_path, what):
    root = write_clevr(tmp_path / "root")
    path = root / "questions" / "CLEVR_val_questions.json"
    text = json.dumps({"questions": make_questions("val", 5, 3)[:2]})
    name = OVERSIZED[what].partition(":")[0]
    spoiled, count = re.subn(rf"{name}: (\[.*?\](?=, \"|\}})|\"[^\"]*\"|\d+)", "@", text, count=1)
    assert count == 1
    path.write_text(spoiled.replace("@", OVERSIZED[what]))
    served_or_refused(root, tmp_path / "cache")


@pytest.mark.parametrize("content", [b"\xef\xbb\xbf", b"\xff\xfe", b"\x00" * 100, b"[" * 10**6])
@pytest.mark.faults(
    "files that are no JSON",
    tried="byte order marks, NULs, a million brackets",
    happened="served, or one line names the file",
)
def test_files_that_are_no_json(tmp_path, content):
    root = write_clevr(tmp_path / "root")
    path = root / "questions" / "CLEVR_val_questions.json"
    path.write_bytes(content + path.read_bytes())
    served_or_refused(root, tmp_path / "cache")


PATHS = [
    "../../../etc/passwd",
    "/etc/passwd",
    "a\x00b",
    "x" * 5000,
    "a\nb",
    "~/x",
    "..",
    "",
    "C:\\",
]


@pytest.mark.parametrize("name", PATHS)
@pytest.mark.faults(
    "path tricks in names of images",
    tried="out of the folder, absolute, NUL, 5000 letters, line ends",
    happened="the name is text and nothing else: no file of that name is opened or made",
)
def test_path_tricks_in_names_of_images(tmp_path, name):
    root = write_clevr(tmp_path / "root")
    entries = make_questions("val", 5, 3)
    scenes = [make_scene(index, 2) for index in range(5)]
    for entry in (*entries[:3], scenes[0]):
        entry["image_filename"] = name
    write_questions(root, "val", entries)
    write_scenes(root, "val", scenes)
    before = everything_in(tmp_path)
    _, texts = served(root, tmp_path / "cache")
    assert texts[1][2].image == name
    made = [path for path in everything_in(tmp_path) if path not in before]
    assert all(path.split("/")[0] == "cache" for path in made)
