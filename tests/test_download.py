"""What a download fetches, keeps, unpacks and leaves alone."""

import hashlib
import json
import subprocess
import sys

import pytest
from archive_server import (
    MEMBERS,
    NOISE,
    WANTED,
    fetch,
    files_in,
    make_zip,
    ranges,
    serving,
    unpacked,
)
from clevr_files import make_questions, make_scene, ready
from conftest import REPOSITORY, compose
from omegaconf import OmegaConf

from dact.downloads import download
from dact.errors import UserError
from dact.options import ArchiveOptions

server = pytest.fixture(serving)


@pytest.fixture
def whole(server):
    server.files["a.zip"] = make_zip(MEMBERS)
    return server.files["a.zip"]


def test_checking_is_shown(server, whole, tmp_path, capsys):
    md5 = hashlib.md5(whole).hexdigest()
    fetch(server, tmp_path, options=ArchiveOptions(server.url("a.zip"), md5, members=WANTED))
    shown = [line for line in capsys.readouterr().out.splitlines() if "checking a" in line]
    assert len(shown) == 1
    assert "3.0/3.0 MB" in shown[0]


def test_what_is_no_md5_is_known_before_the_transfer(server, whole, tmp_path):
    """As when zeros in front have been taken for those of a number."""
    options = ArchiveOptions(server.url("a.zip"), "1234", members=WANTED)
    with pytest.raises(UserError, match=r"archives\.a\.md5=1234 is no md5"):
        fetch(server, tmp_path, options=options)
    assert server.asked == []


def test_the_md5_decides(server, whole, tmp_path):
    right = hashlib.md5(whole).hexdigest()
    wrong = ArchiveOptions(server.url("a.zip"), "0" * 32, members=WANTED)
    with pytest.raises(UserError, match=f"its md5 is {right}, not 0000"):
        fetch(server, tmp_path, options=wrong)
    assert files_in(tmp_path) == {}
    fetch(server, tmp_path, options=ArchiveOptions(server.url("a.zip"), right, members=WANTED))
    assert len(unpacked(tmp_path)) == 2


def test_a_kill_before_the_check_leaves_nothing_that_looks_good(
    server, whole, tmp_path, monkeypatch
):
    wrong = ArchiveOptions(server.url("a.zip"), "0" * 32, members=WANTED)
    with monkeypatch.context() as patch:
        patch.setattr(hashlib, "file_digest", killed)
        with pytest.raises(KeyboardInterrupt):
            fetch(server, tmp_path, options=wrong)
    server.asked.clear()
    with pytest.raises(UserError, match="its md5 is"):
        fetch(server, tmp_path, options=wrong)
    assert ranges(server) == []
    assert files_in(tmp_path) == {}


def killed(*_):
    raise KeyboardInterrupt


def test_what_is_no_archive_is_not_kept(server, tmp_path):
    server.files["a.zip"] = b"<html>It has moved.</html>"
    with pytest.raises(UserError, match=r"is no whole zip file .* archives\.a\.url=…"):
        fetch(server, tmp_path)
    assert files_in(tmp_path) == {}


def test_a_damaged_archive_is_fetched_anew(server, whole, tmp_path):
    server.files["a.zip"] = whole[:500_000] + bytes([whole[500_000] ^ 1]) + whole[500_001:]
    with pytest.raises(UserError, match=r"damaged at top/noise/x\.bin"):
        fetch(server, tmp_path)
    server.files["a.zip"] = whole
    fetch(server, tmp_path)
    assert (tmp_path / "noise" / "x.bin").read_bytes() == NOISE


def test_an_archive_can_be_left_out(server, whole, tmp_path):
    archives = {
        "dead": ArchiveOptions(None, members=WANTED),
        "a": ArchiveOptions(server.url("a.zip"), members=WANTED),
    }
    said = []
    download(tmp_path, archives, "grid", say=said.append)
    assert said[0] == "dead: left out, since archives.dead.url=null"
    assert said[-1] == f"a: 2 files in {tmp_path}"


# The datasets.

CLEVR = {
    f"CLEVR_v1.0/{name}": b"{}"
    for name in (
        "README.txt",
        "questions/CLEVR_val_questions.json",
        "scenes/CLEVR_val_scenes.json",
        "images/val/CLEVR_val_000000.png",
        "images/test/CLEVR_test_000000.png",
    )
}
GQA = {
    "questions": ["val_all_questions.json", "train_all_questions/train_all_questions_0.json"],
    "scene_graphs": ["val_sceneGraphs.json"],
    "choices": ["eval.py", "val_choices.json", "train_choices/train_all_questions_0.json"],
    "objects": ["objects/gqa_objects_0.h5", "objects/gqa_objects_info.json"],
    "spatial": ["spatial/gqa_spatial_0.h5", "spatial/gqa_spatial_info.json"],
    "images": ["images/n1.jpg"],
}


def from_conf(server, *typed):
    """The archives of conf/, at our server's addresses."""
    cfg = compose(*typed, config_name="download")
    archives = OmegaConf.to_object(cfg).archives
    for name, options in archives.items():
        options.url, options.md5 = server.url(f"{name}.zip"), None
    return archives, cfg.data.features


@pytest.mark.usefixtures("configured")
@pytest.mark.parametrize("features", ["grid", "state"])
def test_of_clevr_only_what_is_needed_is_unpacked(server, tmp_path, features):
    server.files["clevr.zip"] = make_zip(CLEVR)
    archives, known = from_conf(server, "data=clevr", f"data.features={features}")
    download(tmp_path, archives, known, say=lambda _: None)
    names = {name.removeprefix("CLEVR_v1.0/") for name in CLEVR} - {"README.txt"}
    if features == "state":
        names = {name for name in names if not name.startswith("images")}
    assert unpacked(tmp_path) == names


@pytest.mark.usefixtures("configured")
def test_cogent_is_unpacked_like_clevr(server, tmp_path):
    names = ("questions/CLEVR_valB_questions.json", "scenes/CLEVR_valB_scenes.json")
    names += ("images/valB/CLEVR_valB_000000.png",)
    members = {f"CLEVR_CoGenT_v1.0/{name}": b"{}" for name in ("README.txt", *names)}
    server.files["clevr_cogent.zip"] = make_zip(members)
    download(tmp_path, *from_conf(server, "data=clevr_cogent"), say=lambda _: None)
    assert unpacked(tmp_path) == set(names)


@pytest.mark.usefixtures("configured")
def test_humans_come_into_the_folder_of_clevr_which_is_fetched_once(server, tmp_path):
    server.files["clevr.zip"] = make_zip(CLEVR)
    members = {f"CLEVR-Humans/CLEVR-Humans-{split}.json": b"{}" for split in ("train", "val")}
    server.files["humans.zip"] = make_zip({**members, "CLEVR-Humans/README.txt": b""})
    said = []
    for data in ("clevr", "clevr_humans"):
        download(tmp_path, *from_conf(server, f"data={data}"), say=said.append)
    assert "clevr: already there" in said
    assert unpacked(tmp_path) >= set(members)
    assert "CLEVR-Humans/README.txt" not in unpacked(tmp_path)


@pytest.mark.usefixtures("configured")
@pytest.mark.parametrize("features", ["objects", "spatial"])
@pytest.mark.parametrize("pictures", [True, False])
def test_of_gqa_only_what_is_needed_is_fetched(server, tmp_path, features, pictures):
    for name, members in GQA.items():
        server.files[f"{name}.zip"] = make_zip(dict.fromkeys(members, b"{}"))
    archives, known = from_conf(server, "data=gqa", f"data.features={features}")
    download(tmp_path, archives, known, pictures=pictures, say=lambda _: None)
    assert unpacked(tmp_path) == {
        "questions/val_all_questions.json",
        "questions/train_all_questions/train_all_questions_0.json",
        "questions/val_choices.json",
        "questions/train_choices/train_all_questions_0.json",
        "sceneGraphs/val_sceneGraphs.json",
        f"features/{features}/gqa_{features}_0.h5",
        f"features/{features}/gqa_{features}_info.json",
        *(["images/n1.jpg"] if pictures else []),
    }
    assert len(ranges(server)) == 4 + pictures


@pytest.mark.usefixtures("configured")
@pytest.mark.parametrize("features", ["objects", "spatial"])
@pytest.mark.parametrize("lacking", [0, 1])
def test_features_of_gqa_need_shards_and_an_index(server, tmp_path, features, lacking):
    for name, members in GQA.items():
        kept = [one for n, one in enumerate(members) if name != features or n != lacking]
        server.files[f"{name}.zip"] = make_zip(dict.fromkeys(kept, b"{}"))
    archives, known = from_conf(server, "data=gqa", f"data.features={features}")
    kind = ("\\*.h5", "info.json")[lacking]
    with pytest.raises(UserError, match=f"has no gqa_{features}_{kind}"):
        download(tmp_path, archives, known, say=lambda _: None)


def command(*arguments, cwd):
    return subprocess.run(
        [sys.executable, REPOSITORY / "scripts" / "download.py", *arguments],
        cwd=cwd,
        capture_output=True,
        text=True,
    )


def test_what_the_command_leaves_can_be_trained_on(server, tmp_path):
    members = {}
    for split in ("train", "val"):
        questions = make_questions(split, 3, 2)
        scenes = [make_scene(index, 2) for index in range(3)]
        for kind, content in (("questions", questions), ("scenes", scenes)):
            name = f"CLEVR_v1.0/{kind}/CLEVR_{split}_{kind}.json"
            members[name] = json.dumps({kind: content}).encode()
    data = server.files["clevr.zip"] = make_zip(members)
    typed = (
        "data=clevr",
        "data.root=clevr root",
        "data.features=state",
        f"archives.clevr.url={server.url('clevr.zip')}?key=a,b&c={{d}}",
        f"archives.clevr.md5={hashlib.md5(data).hexdigest()}",
    )
    done = command(*typed, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "free on the disk" in done.stdout
    assert len(ready(tmp_path / "clevr root").dataset("val")) == 6
    again = command(*typed, cwd=tmp_path)
    assert again.stdout.strip() == "clevr: already there"


def test_null_leaves_an_archive_out(tmp_path):
    done = command("data=clevr", "data.root=root", "archives.clevr.url=null", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "clevr: left out, since archives.clevr.url=null\n"


@pytest.mark.parametrize(
    ("typed", "message"),
    [
        (["data=clevr_mini"], "data=clevr_mini is made on first use, there is nothing to"),
        (["data.features=objects"], "data.features=objects is unknown: choose grid or state"),
        (["retries=-1"], "retries=-1 is not possible"),
        (["archives.clevr.url=http://127.0.0.1:9/x"], "cannot be fetched"),
        (["data.root=file/x"], "cannot be written: Not a directory"),
    ],
)
def test_mistakes_are_one_line(tmp_path, typed, message):
    (tmp_path / "file").write_text("")
    done = command(*typed, cwd=tmp_path)
    assert done.returncode == 1
    assert done.stderr.startswith("error: ")
    assert message in done.stderr
    assert done.stderr.count("\n") == 1
