"""Zip files: unpacked whole, once, and nowhere but where they should be."""

import errno
import io
import stat
import zipfile

import pytest
from archive_server import (
    MEMBERS,
    NOISE,
    fetch,
    files_in,
    make_zip,
    ranges,
    serving,
    unpacked,
)

from dact.downloads.archives import contents, plan, unpack
from dact.downloads.parts import DamagedError
from dact.errors import UserError
from dact.options import MemberOptions

ALL = [MemberOptions("*.json")]
server = pytest.fixture(serving)


@pytest.fixture
def whole(server):
    server.files["a.zip"] = make_zip(MEMBERS)
    return server.files["a.zip"]


def planned(archive, root, wanted=ALL):
    return plan(archive, contents(archive, archive), wanted, root)


@pytest.mark.parametrize(
    "name", ["../evil.json", "/evil.json", "a/../../evil.json", "C:\\evil.json", "..\\evil.json"]
)
def test_paths_that_leave_the_folder_are_refused(tmp_path, name):
    archive = tmp_path / "root" / "a.zip"
    archive.parent.mkdir()
    archive.write_bytes(make_zip({"questions/a.json": b"{}", name: b"evil"}))
    with pytest.raises(UserError, match="leaves the folder"):
        planned(archive, archive.parent)
    assert list(files_in(tmp_path)) == ["root/a.zip"]


def link():
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as file:
        entry = zipfile.ZipInfo("questions/a.json")
        entry.external_attr = (stat.S_IFLNK | 0o777) << 16
        file.writestr(entry, "/etc/passwd")
    return data.getvalue()


@pytest.mark.parametrize(
    ("archive", "message"),
    [
        (link(), r"holds a link, 'questions/a\.json', and is refused"),
        (
            make_zip({**MEMBERS, "../evil": b""}),
            r"holds a path that leaves the folder, '\.\./evil'",
        ),
    ],
)
def test_a_harmful_archive_is_not_kept(server, tmp_path, archive, message):
    """Nor does it ever get the name of a good one: the message speaks of the address."""
    server.files["a.zip"] = archive
    with pytest.raises(UserError, match=f"^http.*a.zip {message}"):
        fetch(server, tmp_path)
    assert files_in(tmp_path) == {}
    server.files["a.zip"] = make_zip(MEMBERS)
    fetch(server, tmp_path)
    assert len(unpacked(tmp_path)) == 2


def test_an_archive_that_cannot_be_read_is_kept(server, whole, tmp_path, monkeypatch):
    def fail(*_):
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(zipfile, "ZipFile", fail)
        with pytest.raises(UserError, match="cannot be read: Input/output error"):
            fetch(server, tmp_path)
    server.asked.clear()
    fetch(server, tmp_path)
    assert ranges(server) == []


def test_two_files_for_one_place_are_refused(tmp_path):
    archive = tmp_path / "a.zip"
    archive.write_bytes(make_zip({"p/q/a.json": b"{}", "o/q/a.json": b"{}"}))
    with pytest.raises(UserError, match=r"two files for .*root/a\.json: p/q/a.json and o/q/a"):
        planned(archive, tmp_path / "root")


def test_a_file_that_two_rules_speak_of_is_unpacked_once(tmp_path):
    archive = tmp_path / "a.zip"
    archive.write_bytes(make_zip({"q/a.json": b"{}"}))
    (one,) = planned(archive, tmp_path, [MemberOptions("*.json"), MemberOptions("a.*")])
    assert one.path == tmp_path / "a.json"


def test_interrupted_unpacking_goes_on(tmp_path):
    archive = tmp_path / "a.zip"
    archive.write_bytes(make_zip({f"q/{n}.json": bytes([n]) * 1000 for n in range(5)}))
    files = planned(archive, tmp_path / "root")
    seen = []

    def stop(size):
        seen.append(size)
        if len(seen) == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        unpack(archive, files, stop)
    assert sorted(files_in(tmp_path / "root")) == ["0.json", "1.json"]
    first = (tmp_path / "root" / "0.json").stat().st_mtime_ns
    seen.clear()
    unpack(archive, files, seen.append)
    assert seen == [1000] * 5
    assert (tmp_path / "root" / "0.json").stat().st_mtime_ns == first
    assert files_in(tmp_path / "root") == {f"{n}.json": bytes([n]) * 1000 for n in range(5)}


def test_a_file_of_another_archive_is_replaced(tmp_path):
    """Even one of the same size, which a newer version of a dataset may well have."""
    archive = tmp_path / "a.zip"
    for content in (b"[1]", b"[2]"):
        archive.write_bytes(make_zip({"a.json": content}))
        unpack(archive, planned(archive, tmp_path))
        assert (tmp_path / "a.json").read_bytes() == content


def test_damage_inside_an_archive_is_found(tmp_path):
    archive = tmp_path / "a.zip"
    data = bytearray(make_zip({"q/0.json": b"x" * 1000}))
    data[500] ^= 1
    archive.write_bytes(data)
    files = planned(archive, tmp_path)
    with pytest.raises(UserError, match=r"damaged at q/0\.json"):
        unpack(archive, files)
    assert sorted(files_in(tmp_path)) == ["a.zip"]
    archive.write_bytes(b"<html>")
    with pytest.raises(UserError, match="is no whole zip file"):
        contents(archive, archive)


def test_what_cannot_be_read_is_not_called_damaged(tmp_path):
    """Such an archive is kept: it may be read another time."""
    (tmp_path / "a.zip").mkdir()
    with pytest.raises(UserError, match=r"a\.zip cannot be read: Is a directory") as caught:
        contents(tmp_path / "a.zip", tmp_path / "a.zip")
    assert not isinstance(caught.value, DamagedError)


def test_an_unpacked_file_that_cannot_be_read_is_one_line(tmp_path, monkeypatch):
    def fail(*_):
        raise PermissionError(errno.EACCES, "Permission denied")

    archive = tmp_path / "a.zip"
    archive.write_bytes(make_zip({"a.json": b"{}"}))
    files = planned(archive, tmp_path)
    unpack(archive, files)
    monkeypatch.setattr(type(tmp_path), "open", fail)
    with pytest.raises(UserError, match=r"a\.json cannot be read: Permission denied"):
        unpack(archive, files)


def test_what_cannot_be_written_is_one_line(tmp_path):
    archive = tmp_path / "a.zip"
    archive.write_bytes(make_zip({"q/0.json": b"x"}))
    (tmp_path / "0.json").mkdir()
    with pytest.raises(UserError, match=r"0\.json cannot be unpacked: Is a directory"):
        unpack(archive, planned(archive, tmp_path))


@pytest.mark.parametrize("at", range(40, 1000, 60))
def test_damage_in_a_compressed_file_is_found(tmp_path, at):
    archive = tmp_path / "a.zip"
    data = bytearray(make_zip({"q/0.json": NOISE[:2000].hex()}, zipfile.ZIP_DEFLATED))
    data[at] ^= 255
    archive.write_bytes(data)
    files = planned(archive, tmp_path)
    with pytest.raises(UserError, match=r"damaged at q/0\.json"):
        unpack(archive, files)


def test_any_damage_is_called_so(tmp_path):
    """Bytes of the table of contents, one after the other: all is well, or the archive is named."""
    archive, whole = tmp_path / "a.zip", make_zip({"q/é.json": b"x"})
    said = []
    for at in range(whole.index(b"PK\1\2"), len(whole)):
        for value in (0, 1, 45, 128, 255):
            archive.write_bytes(whole[:at] + bytes([value]) + whole[at + 1 :])
            try:
                unpack(archive, planned(archive, tmp_path / f"{at}-{value}"))
            except UserError as error:
                said.append(str(error))
    assert len(said) > 50
    assert all(line.startswith(str(archive)) for line in said)


def test_an_archive_without_what_is_wanted_is_refused(tmp_path):
    archive = tmp_path / "a.zip"
    archive.write_bytes(make_zip({"__MACOSX/q/._a.json": b"", "q/._a.json": b""}))
    with pytest.raises(UserError, match=r"has no \*\.json"):
        planned(archive, tmp_path)
