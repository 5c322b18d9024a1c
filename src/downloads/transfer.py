"""One file over HTTP, which can break off at any time."""

from collections.abc import Callable

import requests

from dact.errors import UserError

from .parts import Partial, Remote

#: Bytes that are in memory at a time, and that a break or a kill can lose.
_BLOCK = 1 << 16
#: Sent along: a compressed transfer could not be resumed at a byte.
_HEADERS = {"Accept-Encoding": "identity"}
#: Pauses between tries double from 2 seconds up to 2 to the power of this.
_LONGEST_PAUSE = 6


def ask(url: str, timeout: float) -> Remote:
    """What the server says of a file, before it is fetched.

    Raises:
        UserError: the server cannot be reached or does not have it.
    """
    how = {"headers": _HEADERS, "timeout": timeout}
    try:
        with requests.head(url, allow_redirects=True, **how) as answer:
            if answer.ok:
                return _remote(url, answer)
        with requests.get(url, stream=True, **how) as answer:  # some answer no HEAD
            answer.raise_for_status()
            return _remote(url, answer)
    except requests.RequestException as error:
        raise _failure(url, error) from error


def fetch(
    remote: Remote,
    partial: Partial,
    *,
    retries: int,
    timeout: float,
    pause: Callable[[float], None],
    show: Callable[[int], None],
) -> None:
    """Fetch a file, going on with what is there of it.

    Args:
        remote: the file.
        partial: where it is put.
        retries: how often in a row a transfer may break off without a single new byte.
        timeout: seconds without an answer after which it has broken off.
        pause: waits so many seconds before the next try.
        show: is told how many bytes there are.

    Raises:
        UserError: it broke off too often, or the server refuses.
    """
    failures = 0
    while True:
        before = partial.size_of(remote)
        try:
            return _receive(remote, partial, timeout, show)
        except requests.RequestException as error:
            refused = isinstance(error, requests.HTTPError) and error.response.status_code < 500
            remote = partial.now or remote
            failures = 0 if partial.size_of(remote) > before else failures + 1
            if refused or failures > retries:
                raise _failure(remote.url, error) from error
        pause(2.0 ** min(failures, _LONGEST_PAUSE))


def _receive(remote: Remote, partial: Partial, timeout: float, show: Callable[[int], None]) -> None:
    """One try; raises a RequestException unless the file is whole after it."""
    have = partial.size_of(remote)
    if have and have == remote.size:
        return
    headers = dict(_HEADERS)
    if have:
        headers |= {"Range": f"bytes={have}-", "If-Range": remote.version}
    with requests.get(remote.url, headers=headers, timeout=timeout, stream=True) as answer:
        if answer.status_code == requests.codes.requested_range_not_satisfiable:
            partial.begin(remote)  # longer than the file itself
            raise requests.ConnectionError("the file has become shorter")
        answer.raise_for_status()
        if answer.status_code != requests.codes.partial_content:
            have = 0  # of another version, or a server that always sends all of it
        elif not _continues(answer, remote, have):
            partial.begin(remote)
            raise requests.ConnectionError("the server went on in another file or place")
        if not have:
            remote = _remote(remote.url, answer)
            partial.begin(remote)
        with partial.path.open("ab") as file:
            for block in answer.iter_content(_BLOCK):
                file.write(block)
                file.flush()
                have += len(block)
                show(have)
    if remote.size is not None and have < remote.size:
        raise requests.ConnectionError("the connection was closed")


def _continues(answer: requests.Response, remote: Remote, have: int) -> bool:
    """Whether a partial answer begins after `have` bytes of `remote`; some heed no If-Range."""
    place = answer.headers.get("Content-Range", f"bytes {have}-")
    size = place.rpartition("/")[2]
    same_size = remote.size is None or not size.isdigit() or int(size) == remote.size
    # A server need not repeat the version in such an answer.
    same_version = _remote(remote.url, answer).version in (None, remote.version)
    return place.startswith(f"bytes {have}-") and same_size and same_version


def _remote(url: str, answer: requests.Response) -> Remote:
    size = answer.headers.get("Content-Length", "")
    tag = answer.headers.get("ETag", "W/")
    version = answer.headers.get("Last-Modified") if tag.startswith("W/") else tag
    return Remote(url, int(size) if size.isdigit() else None, version)


def _failure(url: str, error: requests.RequestException) -> UserError:
    """What to say of it."""
    advice = "run the same command again to go on"
    if isinstance(error, requests.HTTPError):
        reason = f"the server answers {error.response.status_code} {error.response.reason}"
        if error.response.status_code < 500:
            advice = "give its present address with archives.NAME.url=…, or null to do without it"
    elif isinstance(error, requests.Timeout):
        reason = "no answer in time"
    elif isinstance(error, requests.ConnectionError | requests.exceptions.ChunkedEncodingError):
        reason = _innermost(error)
    else:
        reason, advice = str(error), "give its address with archives.NAME.url=…"
    return UserError(f"{url} cannot be fetched: {reason}; {advice}")


def _innermost(error: BaseException) -> str:
    """The cause proper, of those that libraries wrap in each other."""
    while (cause := error.__cause__ or error.__context__) is not None:
        error = cause
    return getattr(error, "strerror", None) or str(error)
