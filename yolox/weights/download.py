"""Download one file: over HTTPS, bounded, resumable, and whole or not at all."""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable
from pathlib import Path

from attrs import frozen

from yolox.weights.errors import WeightsError

CHUNK = 1 << 16
Progress = Callable[[int, int], None]


@frozen(kw_only=True)
class DownloadPolicy:
    """What a download may cost, and what it may follow."""

    max_bytes: int = 2 << 30
    """Largest file; the largest published one has 0.8 GB."""
    timeout: float = 30.0
    """Seconds without an answer, and the time in which `min_bytes` have to arrive."""
    min_bytes: int = 4096
    """Bytes within `timeout` below which a server counts as stalled."""
    attempts: int = 5
    """How often a broken connection is opened again."""
    pause: float = 2.0
    """Seconds between two attempts."""
    allow_http: bool = False
    """Follow addresses that are not HTTPS."""


class _Broken(Exception):
    """The connection failed; another attempt may do better."""


def download(
    url: str, path: str | os.PathLike, *, policy: DownloadPolicy | None = None, on_progress: Progress | None = None
) -> None:
    """Download a file to a path that is whole or not there.

    Bytes go to a hidden file beside `path`, which the next attempt or the next call goes on with if the server still
    has the same file (its ETag or date is compared), and which is renamed at the end.

    Args:
        url: the address.
        path: the file to write; its folder exists.
        policy: limits; the default where it is None.
        on_progress: called with the bytes that are there and the bytes of the file.

    Raises:
        WeightsError: an address or a redirection that is not HTTPS; a file larger than the limit, or of unknown
            size; a server that refuses, stalls or breaks off too often; a full disk.
    """
    policy, path = policy or DownloadPolicy(), Path(path)
    _check_address(url, policy)
    last = ""
    for attempt in range(policy.attempts):
        if attempt:
            time.sleep(policy.pause)
        try:
            _attempt(url, path, policy, on_progress or (lambda done, total: None))
            return
        except _Broken as error:
            last = str(error)
        except WeightsError as error:
            raise WeightsError(f"{url}: {error}") from None
        except OSError as error:
            raise WeightsError(f"{path}: cannot be written ({error.strerror or error})") from None
    raise WeightsError(f"{url}: {last}, {policy.attempts} times; what arrived is kept, try again later")


def file_sha256(path: str | os.PathLike) -> str:
    """Give the SHA-256 of a file as 64 hex digits.

    Args:
        path: of the file.

    Returns:
        The digits, in lower case.
    """
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


def _check_address(url: str, policy: DownloadPolicy) -> None:
    scheme = urllib.parse.urlsplit(url).scheme
    if scheme != "https" and not (scheme == "http" and policy.allow_http):
        raise WeightsError(f"{url[:200]}: not an HTTPS address; refused")


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows redirections (ten at most) to addresses that the policy allows."""

    def __init__(self, policy: DownloadPolicy) -> None:
        self.policy = policy

    def redirect_request(self, req, fp, code, msg, headers, newurl):
        _check_address(newurl, self.policy)
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _open(request: urllib.request.Request, policy: DownloadPolicy):
    """Open a request with HTTP and HTTPS alone: the usual opener also reads local files and FTP."""
    opener = urllib.request.OpenerDirector()
    handlers = (urllib.request.ProxyHandler, urllib.request.HTTPHandler, urllib.request.HTTPSHandler)
    for handler in (*handlers, urllib.request.HTTPErrorProcessor, urllib.request.HTTPDefaultErrorHandler):
        opener.add_handler(handler())
    opener.add_handler(_Redirects(policy))
    try:
        return opener.open(request, timeout=policy.timeout)
    except urllib.error.HTTPError as error:
        error.close()
        if error.code == 416:
            return None
        if error.code >= 500 or error.code == 429:
            raise _Broken(f"the server answers {error.code} {error.reason}") from None
        raise WeightsError(f"the server answers {error.code} {error.reason}") from None
    except (OSError, http.client.HTTPException) as error:
        reason = getattr(error, "reason", None) or error
        raise _Broken(f"no answer ({str(reason) or type(error).__name__})") from None


def _attempt(url: str, path: Path, policy: DownloadPolicy, on_progress: Progress) -> None:
    part, notes = path.with_name(f".{path.name}.part"), path.with_name(f".{path.name}.part.json")
    start, validator = _resumable(part, notes, url)
    headers = {"User-Agent": "yolox-mindspore", "Accept-Encoding": "identity"}
    if start:
        headers |= {"Range": f"bytes={start}-", "If-Range": validator}
    response = _open(urllib.request.Request(url, headers=headers), policy)
    if response is None:  # the file is now shorter than what we have of it
        part.unlink(missing_ok=True)
        raise _Broken("the file on the server has changed")
    with response:
        start, total = _check_answer(response, start, policy)
        found = response.headers.get("ETag") or response.headers.get("Last-Modified") or ""
        notes.write_text(json.dumps({"url": url, "validator": "" if found.startswith("W/") else found}))
        with part.open("r+b" if start else "wb") as file:
            file.seek(start)
            file.truncate()
            _receive(response, file, start, total, policy, on_progress)
            file.flush()
            os.fsync(file.fileno())
    os.replace(part, path)
    notes.unlink(missing_ok=True)


def _resumable(part: Path, notes: Path, url: str) -> tuple[int, str]:
    """Give how many bytes of the file are there, and what tells that the server still has the same; 0 to begin again."""
    try:
        facts = json.loads(notes.read_text())
        if facts["url"] == url and facts["validator"] and isinstance(facts["validator"], str):
            return part.stat().st_size, facts["validator"]
    except (OSError, ValueError, KeyError, TypeError):
        pass
    return 0, ""


def _check_answer(response, start: int, policy: DownloadPolicy) -> tuple[int, int]:
    """Give the offset at which the answer begins and the size of the whole file."""
    length = response.headers.get("Content-Length", "")
    if not (length.isascii() and length.isdigit() and len(length) < 16):
        raise WeightsError("the server does not state the file's size; refused")
    if response.status == 206:
        span = f"bytes {start}-{start + int(length) - 1}/{start + int(length)}"
        if response.headers.get("Content-Range", "").strip() != span:
            raise _Broken(f"the server sent {response.headers.get('Content-Range')!r}, wanted {span!r}")
    else:
        start = 0
    total = start + int(length)
    if total > policy.max_bytes:
        raise WeightsError(f"has {total} bytes, more than the limit of {policy.max_bytes}")
    return start, total


def _receive(response, file, start: int, total: int, policy: DownloadPolicy, on_progress: Progress) -> None:
    done, mark, since = start, start, time.monotonic()
    while done < total:
        try:
            chunk = response.read1(min(CHUNK, total - done))
        except (OSError, http.client.HTTPException) as error:
            raise _Broken(f"broke off after {done} of {total} bytes ({type(error).__name__})") from None
        if not chunk:
            raise _Broken(f"broke off after {done} of {total} bytes")
        file.write(chunk)
        done += len(chunk)
        on_progress(done, total)
        if time.monotonic() - since > policy.timeout:
            if done - mark < policy.min_bytes:
                raise _Broken(f"stalled after {done} of {total} bytes")
            mark, since = done, time.monotonic()
