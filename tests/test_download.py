"""Archives from a server that breaks off: nothing is lost, spliced or written elsewhere."""

import contextlib
import hashlib
import io
import json
import shutil
import socket
import stat
import subprocess
import sys
import threading
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
from clevr_files import make_questions, make_scene, ready
from conftest import REPOSITORY, compose
from filelock import FileLock
from omegaconf import OmegaConf

from dact.downloads import download
from dact.downloads.archives import plan, unpack
from dact.errors import UserError
from dact.options import ArchiveOptions, MemberOptions


class Server(ThreadingHTTPServer):
    """Serves `files`; breaks off after the numbers of bytes in `breaks`, one per answer."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.files = {}
        self.version = '"1"'
        self.breaks = []
        self.ranges = True
        self.heads = True
        self.statuses = []
        self.shifts = []
        self.asked = []

    def url(self, name):
        return f"http://127.0.0.1:{self.server_port}/{name}"

    def handle_error(self, request, client_address):
        """A client that goes away is no error here."""


class Handler(BaseHTTPRequestHandler):
    def log_message(self, *_):
        pass

    def do_HEAD(self):
        self.answer(b"" if self.server.heads else None)

    def do_GET(self):
        self.answer(b"")

    def answer(self, body):
        server, whole = self.server, self.server.files.get(self.path[1:].partition("?")[0])
        wanted = self.headers.get("Range")
        server.asked.append((self.command, wanted))
        if whole is None or body is None:
            return self.send_error(404 if body is not None else 405)
        if self.command == "GET" and server.statuses:
            return self.send_error(server.statuses.pop(0))
        start = 0
        if server.ranges and wanted and self.headers["If-Range"] == server.version:
            start = int(wanted.removeprefix("bytes=").removesuffix("-"))
        if start and server.shifts:
            start += server.shifts.pop(0)
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(whole) - 1}/{len(whole)}")
        self.send_header("Content-Length", str(len(whole) - start))
        if server.version:
            self.send_header("ETag", server.version)
        self.end_headers()
        if self.command == "HEAD":
            return None
        rest = whole[start:]
        if server.breaks:
            self.wfile.write(rest[: server.breaks.pop(0)])
            self.wfile.flush()
            self.close_connection = True
            with contextlib.suppress(OSError):
                self.connection.shutdown(socket.SHUT_RDWR)
            return None
        return self.wfile.write(rest)


@pytest.fixture
def server():
    with Server() as one:
        thread = threading.Thread(target=one.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield one
        one.shutdown()
        thread.join()


def make_zip(members, kind=zipfile.ZIP_STORED):
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", kind) as file:
        for name, content in members.items():
            file.writestr(name, content)
    return data.getvalue()


#: What a break may lose, at most.
BLOCK = 1 << 16
NOISE = np.random.default_rng(0).bytes(3_000_000)
MEMBERS = {"top/questions/a.json": b"{}", "top/noise/x.bin": NOISE, "top/other.txt": b"no"}
WANTED = [MemberOptions("questions/*.json"), MemberOptions("*.bin", "noise")]


def fetch(server, root, *, name="a", options=None, **how):
    """Download one archive; returns what was said and how long each pause was."""
    said, pauses = [], []
    options = options or ArchiveOptions(server.url("a.zip"), members=WANTED)
    how = {"pause": pauses.append, "timeout": 20, "say": said.append, **how}
    download(root, {name: options}, "grid", **how)
    return said, pauses


@pytest.fixture
def whole(server):
    server.files["a.zip"] = make_zip(MEMBERS)
    return server.files["a.zip"]


def files_in(root):
    return {
        str(path.relative_to(root)): path.read_bytes()
        for path in root.rglob("*")
        if path.is_file() and path.name != "lock"
    }


def unpacked(root):
    return {name for name in files_in(root) if not name.startswith(".downloads")}


def ranges(server):
    return [wanted for command, wanted in server.asked if command == "GET"]


def test_a_transfer_that_breaks_off_goes_on_where_it_was(server, whole, tmp_path):
    server.breaks = [20 * BLOCK, 10 * BLOCK + 7, 0]
    said, pauses = fetch(server, tmp_path)
    assert ranges(server) == [None, *(f"bytes={n * BLOCK}-" for n in (20, 30, 30))]
    assert pauses == [1, 1, 2]
    assert unpacked(tmp_path) == {"questions/a.json", "noise/x.bin"}
    assert (tmp_path / "noise" / "x.bin").read_bytes() == NOISE
    assert said[-1] == f"a: 2 files in {tmp_path}"
    assert not (tmp_path / ".downloads" / "a.zip").exists()


def test_the_next_run_goes_on_too(server, whole, tmp_path):
    server.breaks = [20 * BLOCK, 0]
    with pytest.raises(UserError, match="run the same command again to go on"):
        fetch(server, tmp_path, retries=0)
    assert unpacked(tmp_path) == set()
    said, _ = fetch(server, tmp_path)
    assert ranges(server) == [None, *[f"bytes={20 * BLOCK}-"] * 2]
    assert said[0].startswith("a: 3.0 MB, 1.3 MB of it here, from http://127.0.0.1")
    assert (tmp_path / "noise" / "x.bin").read_bytes() == NOISE


def test_a_file_that_has_changed_is_not_spliced(server, whole, tmp_path):
    server.breaks = [20 * BLOCK, 0]
    with pytest.raises(UserError):
        fetch(server, tmp_path, retries=0)
    server.version = '"2"'
    server.files["a.zip"] = make_zip({**MEMBERS, "top/noise/x.bin": NOISE[::-1]})
    fetch(server, tmp_path)
    assert ranges(server)[2:] == [None]
    assert (tmp_path / "noise" / "x.bin").read_bytes() == NOISE[::-1]


@pytest.mark.parametrize(("name", "value"), [("ranges", False), ("version", None)])
def test_a_server_that_cannot_go_on_sends_all_of_it_again(server, whole, tmp_path, name, value):
    setattr(server, name, value)
    server.breaks = [1_000_000]
    fetch(server, tmp_path)
    assert (tmp_path / "noise" / "x.bin").read_bytes() == NOISE


def test_a_server_without_head_is_asked_otherwise(server, whole, tmp_path):
    server.heads = False
    said, _ = fetch(server, tmp_path)
    assert said[0].startswith("a: 3.0 MB")


def test_a_second_run_asks_for_nothing(server, whole, tmp_path):
    fetch(server, tmp_path)
    server.asked.clear()
    said, _ = fetch(server, tmp_path)
    assert said == ["a: already there"]
    assert server.asked == []


def test_what_is_wanted_besides_is_fetched(server, whole, tmp_path):
    fetch(server, tmp_path)
    more = [*WANTED, MemberOptions("other.txt")]
    fetch(server, tmp_path, options=ArchiveOptions(server.url("a.zip"), members=more))
    assert unpacked(tmp_path) == {"questions/a.json", "noise/x.bin", "other.txt"}


def test_kept_archives_are_not_fetched_again(server, whole, tmp_path):
    fetch(server, tmp_path, keep_archives=True)
    assert (tmp_path / ".downloads" / "a.zip").read_bytes() == whole
    server.asked.clear()
    more = [*WANTED, MemberOptions("other.txt")]
    fetch(server, tmp_path, options=ArchiveOptions(server.url("a.zip"), members=more))
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
    with pytest.raises(UserError, match=r"is no zip file: .* archives\.a\.url=…"):
        fetch(server, tmp_path)
    assert files_in(tmp_path) == {}


def test_a_damaged_archive_is_fetched_anew(server, whole, tmp_path):
    server.files["a.zip"] = whole[:500_000] + bytes([whole[500_000] ^ 1]) + whole[500_001:]
    with pytest.raises(UserError, match=r"damaged at top/noise/x\.bin"):
        fetch(server, tmp_path)
    server.files["a.zip"] = whole
    fetch(server, tmp_path)
    assert (tmp_path / "noise" / "x.bin").read_bytes() == NOISE


def test_an_archive_from_elsewhere_is_not_taken_for_another(server, whole, tmp_path):
    fetch(server, tmp_path, keep_archives=True)
    server.files["b.zip"] = make_zip({"questions/a.json": b"[1]", "x.bin": b""})
    fetch(server, tmp_path, options=ArchiveOptions(server.url("b.zip"), members=WANTED))
    assert (tmp_path / "questions" / "a.json").read_bytes() == b"[1]"


def test_a_note_that_was_cut_short_is_none(server, whole, tmp_path):
    fetch(server, tmp_path)
    (tmp_path / ".downloads" / "a.json").write_text('{"url": ')
    said, _ = fetch(server, tmp_path)
    assert said[-1] == f"a: 2 files in {tmp_path}"


def test_a_file_that_changes_after_it_was_asked_about_goes_on_too(
    server, whole, tmp_path, monkeypatch
):
    def change(say):
        if "free on the disk" in say:
            server.version = '"2"'
            server.files["a.zip"] = make_zip({**MEMBERS, "top/noise/x.bin": NOISE[:-9]})

    server.breaks = [10 * BLOCK] * 3
    fetch(server, tmp_path, retries=0, say=change)
    assert ranges(server) == [None, *(f"bytes={n * BLOCK}-" for n in (10, 20, 30))]
    assert (tmp_path / "noise" / "x.bin").read_bytes() == NOISE[:-9]


def test_an_answer_from_another_place_is_not_spliced(server, whole, tmp_path):
    server.breaks = [20 * BLOCK]
    server.shifts = [5]
    fetch(server, tmp_path)
    assert ranges(server) == [None, f"bytes={20 * BLOCK}-", None]
    assert (tmp_path / "noise" / "x.bin").read_bytes() == NOISE


def test_refusals_are_said_and_not_repeated(server, whole, tmp_path):
    with pytest.raises(UserError, match=r"answers 404 Not Found; give its present address"):
        fetch(server, tmp_path, options=ArchiveOptions(server.url("b.zip"), members=WANTED))
    server.statuses = [500]
    _, pauses = fetch(server, tmp_path)
    assert pauses == [2]
    with pytest.raises(UserError, match="cannot be fetched"):
        fetch(server, tmp_path, options=ArchiveOptions("nonsense", members=WANTED))


def test_a_server_that_is_not_there_is_said(tmp_path, server):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}/a.zip"
        with pytest.raises(UserError, match="Connection refused"):
            fetch(server, tmp_path, options=ArchiveOptions(url, members=WANTED))


def test_a_full_disk_is_known_before_the_transfer(server, whole, tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(9, 8, 1000))
    with pytest.raises(UserError, match="make room"):
        fetch(server, tmp_path)
    assert [command for command, _ in server.asked] == ["HEAD"]


def test_two_downloads_do_not_collide(server, whole, tmp_path):
    (tmp_path / ".downloads").mkdir()
    with (
        FileLock(tmp_path / ".downloads" / "lock"),
        pytest.raises(UserError, match="another process downloads"),
    ):
        fetch(server, tmp_path)


# Unpacking.


@pytest.mark.parametrize(
    "name", ["../evil.json", "/evil.json", "a/../../evil.json", "C:\\evil.json", "..\\evil.json"]
)
def test_paths_that_leave_the_folder_are_refused(tmp_path, name):
    archive = tmp_path / "root" / "a.zip"
    archive.parent.mkdir()
    archive.write_bytes(make_zip({"questions/a.json": b"{}", name: b"evil"}))
    with pytest.raises(UserError, match="leaves the folder"):
        plan(archive, [MemberOptions("*.json")], archive.parent)
    assert list(files_in(tmp_path)) == ["root/a.zip"]


def test_links_are_refused(server, tmp_path):
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as file:
        link = zipfile.ZipInfo("questions/a.json")
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        file.writestr(link, "/etc/passwd")
    server.files["a.zip"] = data.getvalue()
    options = ArchiveOptions(server.url("a.zip"), members=WANTED[:1])
    with pytest.raises(UserError, match=r"holds a link, 'questions/a\.json': refused"):
        fetch(server, tmp_path, options=options)
    assert unpacked(tmp_path) == set()


def test_interrupted_unpacking_goes_on(tmp_path):
    archive = tmp_path / "a.zip"
    archive.write_bytes(make_zip({f"q/{n}.json": bytes([n]) * 1000 for n in range(5)}))
    files = plan(archive, [MemberOptions("*.json")], tmp_path / "root")
    seen = []

    def stop(size):
        seen.append(size)
        if len(seen) == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        unpack(archive, files, stop)
    assert sorted(files_in(tmp_path / "root")) == ["0.json", "1.json"]
    first = (tmp_path / "root" / "0.json").stat().st_mtime_ns
    seen.clear()
    unpack(archive, files, seen.append)
    assert seen == [2000, 1000, 1000, 1000]
    assert (tmp_path / "root" / "0.json").stat().st_mtime_ns == first
    assert files_in(tmp_path / "root") == {f"{n}.json": bytes([n]) * 1000 for n in range(5)}


def test_damage_inside_an_archive_is_found(tmp_path):
    archive = tmp_path / "a.zip"
    data = bytearray(make_zip({"q/0.json": b"x" * 1000}))
    data[500] ^= 1
    archive.write_bytes(data)
    files = plan(archive, [MemberOptions("*.json")], tmp_path)
    with pytest.raises(UserError, match=r"damaged at q/0\.json"):
        unpack(archive, files)
    assert sorted(files_in(tmp_path)) == ["a.zip"]
    archive.write_bytes(b"<html>")
    with pytest.raises(UserError, match="is no whole zip file"):
        plan(archive, WANTED, tmp_path)


@pytest.mark.parametrize("at", range(40, 1000, 60))
def test_damage_in_a_compressed_file_is_found(tmp_path, at):
    archive = tmp_path / "a.zip"
    data = bytearray(make_zip({"q/0.json": NOISE[:2000].hex()}, zipfile.ZIP_DEFLATED))
    data[at] ^= 255
    archive.write_bytes(data)
    files = plan(archive, [MemberOptions("*.json")], tmp_path)
    with pytest.raises(UserError, match=r"damaged at q/0\.json"):
        unpack(archive, files)


def test_an_archive_without_what_is_wanted_is_refused(tmp_path):
    archive = tmp_path / "a.zip"
    archive.write_bytes(make_zip({"__MACOSX/q/._a.json": b"", "q/._a.json": b""}))
    with pytest.raises(UserError, match=r"has no \*\.json"):
        plan(archive, [MemberOptions("*.json")], tmp_path)


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
