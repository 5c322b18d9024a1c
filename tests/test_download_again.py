"""What a later download finds of an earlier one: all that is good, and only that."""

import contextlib
import hashlib
import json
import os
import shutil
from pathlib import Path

import pytest
from archive_server import (
    MEMBERS,
    NOISE,
    WANTED,
    fetch,
    make_zip,
    ranges,
    serving,
    unpacked,
)
from filelock import FileLock

from dact.downloads.archives import Unpacked
from dact.errors import UserError
from dact.options import ArchiveOptions, MemberOptions

server = pytest.fixture(serving)


@pytest.fixture
def whole(server):
    server.files["a.zip"] = make_zip(MEMBERS)
    return server.files["a.zip"]


def test_a_second_run_asks_for_nothing(server, whole, tmp_path):
    fetch(server, tmp_path)
    server.asked.clear()
    said, _ = fetch(server, tmp_path)
    assert said == ["a: already there"]
    assert server.asked == []


def test_what_was_deleted_is_had_again(server, whole, tmp_path):
    fetch(server, tmp_path)
    (tmp_path / "questions" / "a.json").unlink()
    said, _ = fetch(server, tmp_path)
    assert said[0] == "a: 1 of 2 files are missing or have changed"
    assert (tmp_path / "questions" / "a.json").read_bytes() == b"{}"


@pytest.mark.parametrize("age", [None, 0])
def test_what_was_changed_is_had_again(server, whole, tmp_path, age):
    """Seen even if neither the size nor the time says so."""
    fetch(server, tmp_path)
    changed = tmp_path / "noise" / "x.bin"
    changed.write_bytes(NOISE[::-1])
    os.utime(changed, None if age is None else (age, age))
    said, _ = fetch(server, tmp_path)
    assert said[0] == "a: 1 of 2 files are missing or have changed"
    assert changed.read_bytes() == NOISE


def test_a_copy_is_read_once_and_then_trusted(server, whole, tmp_path, monkeypatch):
    """The times of a copy say nothing, so its content has to."""
    fetch(server, tmp_path / "first")
    shutil.copytree(tmp_path / "first", tmp_path / "second", copy_function=shutil.copyfile)
    note = tmp_path / "second" / ".downloads" / "a.json"
    os.utime(note, (0, 0))
    server.asked.clear()
    with monkeypatch.context() as patch:
        patch.setattr(Unpacked, "touched", 1)
        assert fetch(server, tmp_path / "second")[0] == ["a: already there"]
        patch.setattr(Unpacked, "has_content", None)  # not to be called
        assert fetch(server, tmp_path / "second")[0] == ["a: already there"]
    assert server.asked == []


def test_a_mirror_is_as_good(server, whole, tmp_path):
    """What an archive is, its md5 says; the address does only where there is none."""
    md5 = hashlib.md5(whole).hexdigest()
    for name in ("a.zip", "mirror.zip"):
        server.files[name] = whole
        options = ArchiveOptions(server.url(name), md5.upper(), members=WANTED)
        said, _ = fetch(server, tmp_path, options=options)
    assert said == ["a: already there"]
    assert len(ranges(server)) == 1
    said, _ = fetch(server, tmp_path, options=ArchiveOptions(server.url("a.zip"), members=WANTED))
    assert said == ["a: already there"]
    fetch(server, tmp_path, options=ArchiveOptions(server.url("mirror.zip"), members=WANTED))
    assert len(ranges(server)) == 2


def test_an_md5_that_is_given_later_checks_the_archive_that_was_kept(server, whole, tmp_path):
    def given(md5):
        options = ArchiveOptions(server.url("a.zip"), md5, members=WANTED)
        return fetch(server, tmp_path, options=options, keep_archives=True)[0]

    given(None)
    given(hashlib.md5(whole).hexdigest())
    assert len(ranges(server)) == 1
    newer = make_zip({**MEMBERS, "top/questions/a.json": b"[]"})
    with pytest.raises(UserError, match="its md5 is"):  # what the server has is still the older
        given(hashlib.md5(newer).hexdigest())
    assert (tmp_path / ".downloads" / "a.zip").read_bytes() == whole
    server.files["a.zip"] = newer
    said = given(hashlib.md5(newer).hexdigest())
    assert said[0].startswith("a: the archive that is here has not the md5")
    assert (tmp_path / "questions" / "a.json").read_bytes() == b"[]"


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


@pytest.mark.parametrize("call", range(12))
def test_a_kill_at_any_step_leaves_no_note_that_lies(server, whole, tmp_path, monkeypatch, call):
    """Whatever had its way before the kill: the next run has the newer archive's files."""
    fetch(server, tmp_path, keep_archives=True)
    calls = []

    def dying(real):
        def step(*arguments, **how):
            calls.append(real)
            return killed() if len(calls) == call + 1 else real(*arguments, **how)

        return step

    server.files["b.zip"] = make_zip({**MEMBERS, "top/questions/a.json": b"[]"})
    options = ArchiveOptions(server.url("b.zip"), members=WANTED)
    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", dying(os.replace))
        for name in ("unlink", "write_text"):
            patch.setattr(Path, name, dying(getattr(Path, name)))
        with contextlib.suppress(KeyboardInterrupt):
            fetch(server, tmp_path, options=options)
    archive = tmp_path / ".downloads" / "a.zip"
    noted = archive.with_name("a.zip.json")
    if noted.exists():
        assert archive.read_bytes() == server.files[json.loads(noted.read_text())["url"][-5:]]
    fetch(server, tmp_path, options=options)
    assert (tmp_path / "questions" / "a.json").read_bytes() == b"[]"


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


def test_two_downloads_do_not_collide(server, whole, tmp_path):
    (tmp_path / ".downloads").mkdir()
    with (
        FileLock(tmp_path / ".downloads" / "lock"),
        pytest.raises(UserError, match="another process downloads"),
    ):
        fetch(server, tmp_path)


def killed(*_):
    raise KeyboardInterrupt
