"""Download one file: over HTTPS, bounded, resumable, and whole or not at all."""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path

from attrs import frozen

from yolox.errors import WeightsError
from yolox.weights.connection import BrokenConnection, Deadline, check_address, open_address, shorten

CHUNK = 1 << 16
Progress = Callable[[int, int], None]


@frozen(kw_only=True)
class DownloadPolicy:
    """What a download may cost, and what it may follow."""

    max_bytes: int = 2 << 30
    """Largest file; the largest published one has 0.8 GB."""
    timeout: float = 30.0
    """Seconds in which an address has to answer, and in which `min_bytes` have to arrive again and again."""
    min_bytes: int = 4096
    """Bytes within `timeout` below which a server counts as stalled."""
    max_seconds: float = 6 * 3600.0
    """Seconds for everything, attempts and pauses too; 0.8 GB in six hours are 40 kB a second."""
    attempts: int = 5
    """How often a broken connection is opened again."""
    pause: float = 2.0
    """Seconds between two attempts."""
    allow_http: bool = False
    """Follow addresses that are not HTTPS."""


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
            size; a server that refuses, stalls or breaks off too often, or takes too long; a full disk.
    """
    policy, path = policy or DownloadPolicy(), Path(path)
    check_address(url, allow_http=policy.allow_http)
    last, end = "", time.monotonic() + policy.max_seconds
    for attempt in range(policy.attempts):
        if attempt:
            time.sleep(policy.pause)
        try:
            _attempt(url, path, policy, Deadline(policy.timeout, end), on_progress or (lambda done, total: None))
            return
        except BrokenConnection as error:
            last = str(error)
            if time.monotonic() > end:
                seconds = f"the limit of {policy.max_seconds:g} seconds has passed"
                raise WeightsError(f"{url}: {last}; {seconds}; what arrived is kept, try again later") from None
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


def _attempt(url: str, path: Path, policy: DownloadPolicy, deadline: Deadline, on_progress: Progress) -> None:
    part, notes = path.with_name(f".{path.name}.part"), path.with_name(f".{path.name}.part.json")
    start, validator = _resumable(part, notes, url)
    headers = {"User-Agent": "yolox-mindspore", "Accept-Encoding": "identity"}
    if start:
        headers |= {"Range": f"bytes={start}-", "If-Range": validator}
    limits = {"timeout": policy.timeout, "deadline": deadline, "allow_http": policy.allow_http}
    response = open_address(urllib.request.Request(url, headers=headers), **limits)
    if response is None:  # the file is now shorter than what we have of it
        part.unlink(missing_ok=True)
        raise BrokenConnection("the file on the server has changed")
    with response:
        start, total = _check_answer(response, start, policy)
        found = response.headers.get("ETag") or response.headers.get("Last-Modified") or ""
        notes.write_text(json.dumps({"url": url, "validator": "" if found.startswith("W/") else found}))
        with part.open("r+b" if start else "wb") as file:
            file.seek(start)
            file.truncate()
            _receive(response, file, start, total, deadline, policy.min_bytes, on_progress)
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
            raise BrokenConnection(f"the server sent '{shorten(response.headers.get('Content-Range'))}', wanted {span!r}")
    else:
        start = 0
    total = start + int(length)
    if total > policy.max_bytes:
        raise WeightsError(f"has {total} bytes, more than the limit of {policy.max_bytes}")
    return start, total


def _receive(
    response, file, start: int, total: int, deadline: Deadline, min_bytes: int, on_progress: Progress
) -> None:
    """Write the body to the file; every `min_bytes` of it put the deadline off."""
    done = mark = start
    deadline.put_off()
    while done < total:
        try:
            chunk = response.read1(min(CHUNK, total - done))
        except TimeoutError:
            raise BrokenConnection(f"stalled after {done} of {total} bytes") from None
        except (OSError, http.client.HTTPException) as error:
            raise BrokenConnection(f"broke off after {done} of {total} bytes ({type(error).__name__})") from None
        if not chunk:
            raise BrokenConnection(f"broke off after {done} of {total} bytes")
        file.write(chunk)
        done += len(chunk)
        on_progress(done, total)
        if done - mark >= min_bytes:
            mark = done
            deadline.put_off()
