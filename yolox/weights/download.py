"""One file over HTTPS, within limits of size and time: a downloader for `pooch`."""

from __future__ import annotations

import queue
import threading
import time
import urllib.parse
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

import requests
from attrs import frozen
from urllib3.exceptions import HTTPError

from yolox.errors import WeightsError

CHUNK = 1 << 16
MAX_REDIRECTS = 10
Progress = Callable[[int, int], None]


class BrokenConnection(Exception):
    """The connection failed; another attempt may do better."""


@frozen(kw_only=True)
class DownloadPolicy:
    """Limits of a download."""

    max_bytes: int = 2 << 30
    """Largest file; the largest published one has 0.8 GB."""
    timeout: float = 30.0
    """Seconds in which an address has to answer, and in which `min_bytes` have to arrive again and again."""
    min_bytes: int = 4096
    """Bytes within `timeout` below which a server counts as stalled."""
    max_seconds: float = 6 * 3600.0
    """Seconds for everything, attempts and pauses too; 0.8 GB in six hours are 40 kB a second."""
    attempts: int = 5
    """How often a file is requested again after a broken connection."""
    pause: float = 2.0
    """Seconds between two attempts."""
    allow_http: bool = False
    """Accept addresses that are not HTTPS."""


class _Session(requests.Session):
    def get_redirect_target(self, resp: requests.Response) -> None:
        """Returns no target: `requests` would read the bodies of redirections, and follow them anywhere."""


class Downloader:
    """Downloads a file for `pooch.retrieve`, which stores and renames it.

    `pooch.HTTPDownloader` limits neither size nor total time, and a server that sends a byte now and then holds it for ever.

    Args:
        policy: limits.
        on_progress: called with the bytes that have arrived and the bytes of the file.
        check: called with the path of the whole file before it is kept; may raise WeightsError.
    """

    def __init__(
        self, policy: DownloadPolicy, *, on_progress: Progress | None = None, check: Callable[[Path], None] | None = None
    ) -> None:
        self._policy, self._on_progress, self._check = policy, on_progress or (lambda done, total: None), check
        self._tag = ""  # of the file of which a part has arrived

    def __call__(self, url: str, output_file: str | Path | BinaryIO, _pooch: object = None) -> None:
        """Downloads `url` to `output_file`, whole.

        Raises:
            WeightsError: an address or a redirection that is not HTTPS; a file larger than the limit, or of unknown
                size; a server that refuses, stalls or breaks off too often, or takes too long; a full disk.
        """
        policy, end, last = self._policy, time.monotonic() + self._policy.max_seconds, ""
        check_address(url, allow_http=policy.allow_http)
        for attempt in range(policy.attempts):
            time.sleep(policy.pause * bool(attempt))
            try:
                self._attempt(url, Path(output_file), end)
                if self._check:
                    self._check(Path(output_file))
                return
            except BrokenConnection as error:
                last = str(error)
                if time.monotonic() > end:
                    raise WeightsError(f"{url}: {last}; the limit of {policy.max_seconds:g} seconds has passed") from None
            except WeightsError as error:
                raise WeightsError(f"{url}: {error}") from None
        raise WeightsError(f"{url}: {last}, {policy.attempts} times; try again later")

    def _attempt(self, url: str, path: Path, end: float) -> None:
        """Goes on behind the bytes that an attempt before it left, if the server still has the same file (its ETag)."""
        start = path.stat().st_size if self._tag else 0
        with _Session() as session:
            response = self._open(session, url, {"Range": f"bytes={start}-", "If-Range": self._tag} if start else {}, end)
            start, total = _check_size(response, start, self._policy.max_bytes)
            tag = response.headers.get("ETag", "")
            self._tag = "" if tag.startswith("W/") else tag
            with path.open("r+b" if start else "wb") as file:
                file.seek(start)
                file.truncate()
                for done in self._receive(response, file, start, total, end):
                    self._on_progress(done, total)

    def _open(self, session: requests.Session, url: str, headers: dict, end: float) -> requests.Response:
        """Follows redirections to addresses that are allowed, and returns the answer, of which the body is not read."""
        for _ in range(MAX_REDIRECTS + 1):
            response = self._request(session, url, headers, end)
            if not response.is_redirect:
                break
            response.close()  # its body is not read
            try:
                url = urllib.parse.urljoin(url, response.headers["Location"])
            except ValueError as error:
                raise WeightsError(f"the server redirects to what is no address ({shorten(error)})") from None
            check_address(url, allow_http=self._policy.allow_http)
        if response.status_code in (200, 206):
            return response
        if response.status_code == 416:
            self._tag = ""
            raise BrokenConnection("the file on the server has changed")
        kind = BrokenConnection if response.status_code >= 500 or response.status_code == 429 else WeightsError
        raise kind(f"the server answers {response.status_code} {shorten(response.reason)}")

    def _request(self, session: requests.Session, url: str, headers: dict, end: float) -> requests.Response:
        """Returns the answer, once its header is there.

        The time limit of `requests` is one for each read. A thread of its own lets the header be limited as a whole.
        """
        answers: queue.SimpleQueue = queue.SimpleQueue()
        headers = {"User-Agent": "yolox-mindspore", "Accept-Encoding": "identity", **headers}
        timeout = max(0.01, min(self._policy.timeout, end - time.monotonic()))

        def work() -> None:
            try:
                answers.put(session.get(url, headers=headers, timeout=timeout, stream=True, allow_redirects=False))
            except Exception as error:  # handed to the thread that waits
                answers.put(error)

        threading.Thread(target=work, daemon=True).start()
        try:
            answer = answers.get(timeout=timeout)
        except queue.Empty:
            raise BrokenConnection("no answer (too slow)") from None
        if isinstance(answer, requests.exceptions.InvalidURL | UnicodeError):
            raise WeightsError(f"the server redirects to what is no address ({shorten(answer)})")
        if isinstance(answer, Exception):
            raise BrokenConnection(f"no answer ({shorten(_cause(answer))})")
        return answer

    def _receive(self, response: requests.Response, file: BinaryIO, start: int, total: int, end: float) -> Iterator[int]:
        """Writes the body to the file and yields the bytes that are there; stops where they come too slowly."""
        done = mark = start
        moment = min(time.monotonic() + self._policy.timeout, end)
        while done < total:
            try:
                chunk = response.raw.read1(min(CHUNK, total - done))
            except (OSError, HTTPError) as error:
                slow = "timed out" in str(error).lower()
                what = f"stalled after {done} of {total} bytes" if slow else f"broke off after {done} of {total} bytes"
                raise BrokenConnection(f"{what} ({type(error).__name__})") from None
            if not chunk:
                raise BrokenConnection(f"broke off after {done} of {total} bytes")
            try:
                file.write(chunk)
            except OSError as error:
                raise WeightsError(f"cannot be written ({error.strerror or error})") from None
            done += len(chunk)
            yield done
            if done < total and time.monotonic() > moment:
                raise BrokenConnection(f"stalled after {done} of {total} bytes")
            if done - mark >= self._policy.min_bytes:
                mark, moment = done, min(time.monotonic() + self._policy.timeout, end)


def check_address(url: str, *, allow_http: bool) -> None:
    """Refuses what is no address of HTTPS.

    Args:
        url: the address.
        allow_http: accept HTTP too.

    Raises:
        WeightsError: another scheme, or no address.
    """
    try:
        parts = urllib.parse.urlsplit(url)
        parts.port  # noqa: B018  (raises for what is no number)
    except ValueError as error:
        raise WeightsError(f"{shorten(url)}: not an address ({error})") from None
    if parts.scheme != "https" and not (parts.scheme == "http" and allow_http):
        raise WeightsError(f"{shorten(url)}: not an HTTPS address; refused")


def shorten(text: object) -> str:
    """Returns 100 characters of what a server sent, with those that cannot be printed as their codes.

    Args:
        text: anything.

    Returns:
        At most 100 printable ASCII characters.

    Example:
        >>> shorten("Not\\nFound")
        'Not\\\\nFound'
    """
    return ascii(str(text)[:100])[1:-1][:100]


def _check_size(response: requests.Response, start: int, max_bytes: int) -> tuple[int, int]:
    """Returns the place at which the answer begins, and the size of the whole file."""
    length = response.headers.get("Content-Length", "")
    if not (length.isascii() and length.isdigit() and len(length) < 16) or "Transfer-Encoding" in response.headers:
        raise WeightsError("the server does not state the file's size; refused")
    start = start if response.status_code == 206 else 0
    total = start + int(length)
    if response.status_code == 206:
        came, wanted = response.headers.get("Content-Range", "").strip(), f"bytes {start}-{total - 1}/{total}"
        if came != wanted:
            raise BrokenConnection(f"the server sent {shorten(came)!r}, wanted {wanted!r}")
    if total > max_bytes:
        raise WeightsError(f"has {total} bytes, more than the limit of {max_bytes}")
    return start, total


def _cause(error: BaseException) -> str:
    """Returns the innermost reason: `requests` wraps it in the address, a pool and its retries."""
    inner = error
    while nested := getattr(inner, "reason", None) or next((a for a in inner.args if isinstance(a, BaseException)), None):
        if not isinstance(nested, BaseException):
            break
        inner = nested
    text = str(inner)
    return text.rpartition(": ")[2] if "refused" in text else text or type(inner).__name__
