"""Archives from a server that breaks off: nothing is lost, and nothing spliced."""

import shutil
import socket

import pytest
from archive_server import BLOCK, MEMBERS, NOISE, WANTED, fetch, make_zip, ranges, serving, unpacked

from dact.errors import UserError
from dact.options import ArchiveOptions

server = pytest.fixture(serving)


@pytest.fixture
def whole(server):
    server.files["a.zip"] = make_zip(MEMBERS)
    return server.files["a.zip"]


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


@pytest.mark.parametrize("dates", [True, False])
@pytest.mark.parametrize("version", ['"2"', None])
def test_a_server_that_heeds_no_condition_is_not_believed(server, whole, tmp_path, dates, version):
    """Told by the version in its answer or, where there is none, by the whole size."""

    def change():
        server.version = version
        noise = NOISE[::-1] if version else NOISE[:0:-1]
        server.files["a.zip"] = make_zip({**MEMBERS, "top/noise/x.bin": noise})

    server.heeds, server.dates, server.breaks = False, dates, [20 * BLOCK]
    fetch(server, tmp_path, pause=lambda _: change())
    assert ranges(server) == [None, f"bytes={20 * BLOCK}-", None]
    assert (tmp_path / "noise" / "x.bin").read_bytes()[:9] == NOISE[:-10:-1]


def test_a_server_need_not_repeat_the_version(server, whole, tmp_path):
    server.breaks = [20 * BLOCK]
    server.heeds = False
    fetch(server, tmp_path, pause=lambda _: setattr(server, "version", None))
    assert ranges(server) == [None, f"bytes={20 * BLOCK}-"]
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


def test_pauses_grow_but_not_without_end(server, whole, tmp_path):
    server.statuses = [500] * 8
    _, pauses = fetch(server, tmp_path, retries=8)
    assert pauses == [2, 4, 8, 16, 32, 64, 64, 64]
