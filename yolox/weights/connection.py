"""Open an address over HTTPS so that no server, however slow, holds the caller for ever."""

from __future__ import annotations

import http.client
import io
import time
import urllib.error
import urllib.parse
import urllib.request
from functools import partial

from yolox.errors import WeightsError


class BrokenConnection(Exception):
    """The connection failed; another attempt may do better."""


class Deadline:
    """A moment that no read passes, and that progress puts off.

    A time limit for each read alone is met by a server that sends a byte now and then.

    Args:
        seconds: from one piece of progress to the next.
        end: the last moment of all, on the clock of `time.monotonic`.
    """

    def __init__(self, seconds: float, end: float) -> None:
        self._seconds, self._end = seconds, end
        self.put_off()

    def put_off(self) -> None:
        """Begin to count again."""
        self._moment = min(time.monotonic() + self._seconds, self._end)

    def left(self) -> float:
        """Give the seconds that are left.

        Raises:
            TimeoutError: none.
        """
        left = self._moment - time.monotonic()
        if left <= 0:
            raise TimeoutError("too slow")
        return left


def check_address(url: str, *, allow_http: bool) -> None:
    """Refuse what is no address of HTTPS.

    Args:
        url: the address.
        allow_http: accept HTTP too.

    Raises:
        WeightsError: another scheme, or no address.
    """
    try:
        scheme = urllib.parse.urlsplit(url).scheme
    except ValueError as error:
        raise WeightsError(f"{url[:200]}: not an address ({error})") from None
    if scheme != "https" and not (scheme == "http" and allow_http):
        raise WeightsError(f"{url[:200]}: not an HTTPS address; refused")


def open_address(request: urllib.request.Request, *, timeout: float, deadline: Deadline, allow_http: bool):
    """Open a request with HTTP and HTTPS alone: the usual opener also reads local files and FTP.

    Args:
        request: with an address that `check_address` accepts.
        timeout: seconds in which the connection has to be there.
        deadline: put off at every request, of which redirections make several; the header of the answer has to be
            there before it, and reads of the answer obey it too.
        allow_http: follow redirections to HTTP.

    Returns:
        The answer, an `http.client.HTTPResponse`; None for status 416, a range that the file does not have.

    Raises:
        BrokenConnection: no answer in time, or a status of a server that may do better later.
        WeightsError: another status, or a redirection to an address that is not allowed.
    """
    opener = urllib.request.OpenerDirector()
    for handler in (urllib.request.ProxyHandler, urllib.request.HTTPErrorProcessor, urllib.request.HTTPDefaultErrorHandler):
        opener.add_handler(handler())
    for handler in (_HTTPHandler(deadline), _HTTPSHandler(deadline), Redirects(allow_http)):
        opener.add_handler(handler)
    try:
        return opener.open(request, timeout=timeout)
    except urllib.error.HTTPError as error:
        error.close()
        if error.code == 416:
            return None
        kind = BrokenConnection if error.code >= 500 or error.code == 429 else WeightsError
        raise kind(f"the server answers {error.code} {shorten(error.reason)}") from None
    except WeightsError:
        raise
    except (OSError, http.client.HTTPException) as error:
        reason = getattr(error, "reason", None) or error
        raise BrokenConnection(f"no answer ({shorten(reason) or type(error).__name__})") from None
    except ValueError as error:  # brackets or letters that the name of a host cannot have
        raise WeightsError(f"the server redirects to what is no address ({shorten(error)})") from None


def shorten(text: object) -> str:
    """Write what a server sent for a message: 100 characters, of which those that cannot be printed by their codes.

    Args:
        text: anything.

    Returns:
        The text.

    Example:
        >>> shorten("Not\\nFound")
        'Not\\\\nFound'
    """
    return ascii(str(text)[:100])[1:-1][:100]


class Redirects(urllib.request.HTTPRedirectHandler):
    """Follows redirections (ten at most) to addresses that are allowed, and reads nothing of what else they send.

    Args:
        allow_http: follow to HTTP too.
    """

    def __init__(self, allow_http: bool) -> None:
        self._allow_http = allow_http

    def redirect_request(self, req, fp, code, msg, headers, newurl):
        """Give the request for the new address, or refuse it."""
        fp.close()  # the body would be read into memory, whatever its size
        check_address(newurl, allow_http=self._allow_http)
        return super().redirect_request(req, fp, code, msg, headers, newurl)


class _Timed:
    """Makes a handler's connections obey a deadline."""

    def __init__(self, deadline: Deadline) -> None:
        super().__init__()
        self._deadline = deadline

    def do_open(self, http_class, req, **settings):
        def connect(host, **more):
            connection = http_class(host, **more)
            connection.response_class = partial(_Response, deadline=self._deadline)
            return connection

        self._deadline.put_off()
        return super().do_open(connect, req, **settings)


class _HTTPHandler(_Timed, urllib.request.HTTPHandler):
    pass


class _HTTPSHandler(_Timed, urllib.request.HTTPSHandler):
    pass


class _Response(http.client.HTTPResponse):
    """An answer whose every read, of status and header too, obeys a deadline."""

    def __init__(self, sock, *arguments, deadline: Deadline, **settings) -> None:
        super().__init__(sock, *arguments, **settings)
        self.fp = io.BufferedReader(_TimedReader(self.fp.detach(), sock, deadline))


class _TimedReader(io.RawIOBase):
    def __init__(self, raw: io.RawIOBase, sock, deadline: Deadline) -> None:
        self._raw, self._sock, self._deadline = raw, sock, deadline

    def readable(self) -> bool:
        return True

    def readinto(self, buffer) -> int | None:
        self._sock.settimeout(self._deadline.left())
        return self._raw.readinto(buffer)

    def close(self) -> None:
        self._raw.close()
        super().close()
