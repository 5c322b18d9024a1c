"""A server that misbehaves as it is told to, archives for it, and what a download leaves."""

import contextlib
import io
import socket
import threading
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np

from dact.downloads import download
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
        self.heeds = True
        self.dates = False
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
        same = self.headers["If-Range"] == server.version
        if server.ranges and wanted and (same or not server.heeds):
            start = int(wanted.removeprefix("bytes=").removesuffix("-"))
        if start and server.shifts:
            start += server.shifts.pop(0)
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(whole) - 1}/{len(whole)}")
        self.send_header("Content-Length", str(len(whole) - start))
        if server.version:
            self.send_header("Last-Modified" if server.dates else "ETag", server.version)
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


def serving():
    """For a fixture: the server, while a test needs it."""
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
