"""Zip files: unpacked whole, once, and nowhere but where they should be."""

import io
import stat
import zipfile

import pytest
from archive_server import NOISE, WANTED, fetch, files_in, make_zip, serving, unpacked

from dact.downloads.archives import DamagedError, plan, unpack
from dact.errors import UserError
from dact.options import ArchiveOptions, MemberOptions

server = pytest.fixture(serving)


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


def test_what_cannot_be_read_is_not_called_damaged(tmp_path):
    """Such an archive is kept: it may be read another time."""
    (tmp_path / "a.zip").mkdir()
    with pytest.raises(UserError, match=r"a\.zip cannot be read: Is a directory") as caught:
        plan(tmp_path / "a.zip", WANTED, tmp_path)
    assert not isinstance(caught.value, DamagedError)


def test_what_cannot_be_written_is_one_line(tmp_path):
    archive = tmp_path / "a.zip"
    archive.write_bytes(make_zip({"q/0.json": b"x"}))
    (tmp_path / "0.json").mkdir()
    with pytest.raises(UserError, match=r"0\.json cannot be unpacked: Is a directory"):
        unpack(archive, plan(archive, [MemberOptions("*.json")], tmp_path))


@pytest.mark.parametrize("at", range(40, 1000, 60))
def test_damage_in_a_compressed_file_is_found(tmp_path, at):
    archive = tmp_path / "a.zip"
    data = bytearray(make_zip({"q/0.json": NOISE[:2000].hex()}, zipfile.ZIP_DEFLATED))
    data[at] ^= 255
    archive.write_bytes(data)
    files = plan(archive, [MemberOptions("*.json")], tmp_path)
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
                unpack(
                    archive, plan(archive, [MemberOptions("*.json")], tmp_path / f"{at}-{value}")
                )
            except UserError as error:
                said.append(str(error))
    assert len(said) > 50
    assert all(line.startswith(str(archive)) for line in said)


def test_an_archive_without_what_is_wanted_is_refused(tmp_path):
    archive = tmp_path / "a.zip"
    archive.write_bytes(make_zip({"__MACOSX/q/._a.json": b"", "q/._a.json": b""}))
    with pytest.raises(UserError, match=r"has no \*\.json"):
        plan(archive, [MemberOptions("*.json")], tmp_path)
