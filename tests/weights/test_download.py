"""Downloads from a server on loopback that breaks off, stalls, redirects and lies."""

import os

import pooch
import pytest

from tests.weights.servers import Server, serving
from yolox.errors import WeightsError
from yolox.weights.download import Downloader, DownloadPolicy, check_address

CONTENT = bytes(range(256)) * 1200  # several chunks
POLICY = DownloadPolicy(allow_http=True, timeout=2.0, pause=0.0, attempts=3, max_bytes=1 << 20)
ONCE = DownloadPolicy(allow_http=True, timeout=0.6, pause=0.0, attempts=1)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "file.pth"


def download(url, path, *, policy=DownloadPolicy(), on_progress=None):  # noqa: B008  frozen
    """Download as `fetch_weights` does."""
    pooch.retrieve(url, None, fname=path.name, path=path.parent, downloader=Downloader(policy, on_progress=on_progress))


def get(path, *behaviours, content=CONTENT, etag='"1"', policy=POLICY, **options):
    """Download from a server of these behaviours; give the ranges that were asked for."""
    with serving(Server(content, *behaviours, etag=etag)) as server:
        download(server.url, path, policy=policy, **options)
    return server.requests


def fails(path, message, *behaviours, **options):
    with pytest.raises(WeightsError, match=message):
        get(path, *behaviours, **options)
    assert not path.exists()


def test_a_good_server_gives_the_file_and_progress(path):
    seen = []
    assert get(path, on_progress=lambda done, total: seen.append((done, total))) == [None]
    assert path.read_bytes() == CONTENT and os.listdir(path.parent) == [path.name]
    assert seen[-1] == (len(CONTENT), len(CONTENT)) and seen == sorted(seen)


def test_a_broken_connection_goes_on_where_it_broke(path):
    assert get(path, "cut:1000", "cut:70000", "good") == [None, "bytes=1000-", "bytes=71000-"]
    assert path.read_bytes() == CONTENT


def test_what_breaks_off_too_often_leaves_nothing(path):
    fails(path, "broke off after 9000 of 307200 bytes.*3 times; try again later", "cut:3000")
    assert os.listdir(path.parent) == []


def test_a_file_that_changed_meanwhile_is_loaded_from_the_start(path):
    other = bytes(reversed(CONTENT))
    server = Server(CONTENT, "cut:1000", "good")
    original = server.next

    def change():
        if server.requests:
            server.content, server.etag = other, '"2"'
        return original()

    server.next = change
    with serving(server):
        download(server.url, path, policy=POLICY)
    assert server.requests == [None, "bytes=1000-"] and path.read_bytes() == other


@pytest.mark.parametrize("etag", [None, 'W/"1"'])
def test_without_a_strong_tag_nothing_is_put_together(path, etag):
    assert get(path, "cut:1000", "good", etag=etag) == [None, None]
    assert path.read_bytes() == CONTENT


def test_a_server_without_ranges_begins_again(path):
    assert get(path, "cut:1000", "ignores") == [None, "bytes=1000-"]
    assert path.read_bytes() == CONTENT


def test_another_range_than_wanted_is_not_believed(path):
    fails(path, "the server sent 'bytes 1001-", "cut:1000", "wrong")


def test_a_rest_longer_than_the_file_is_thrown_away(path):
    server = Server(CONTENT, "cut:2000", "good")
    original = server.next

    def shrink():
        if server.requests:
            server.content = CONTENT[:500]
        return original()

    server.next = shrink
    with serving(server):
        download(server.url, path, policy=POLICY)
    assert server.requests == [None, "bytes=2000-", None] and path.read_bytes() == CONTENT[:500]


def test_stalls_are_ended(path):
    twice = DownloadPolicy(allow_http=True, timeout=0.8, pause=0.0, attempts=2)
    fails(path, "stalled after 20 of 307200 bytes", "stall:10", policy=twice)
    fails(path, "stalled after", "trickle", policy=ONCE)


SLOW = "no answer .(too slow|timed out)"


@pytest.mark.parametrize(
    ("key", "message"),
    [("header", SLOW), ("continue", SLOW), ("chunk", "does not state the file's size"), ("body", "stalled")],
)
def test_servers_that_send_a_little_now_and_then_are_ended(path, key, message):
    """Each sends something every 50 ms for five seconds: no read waits long, all of them together would."""
    fails(path, message, f"drip:{key}", policy=ONCE)


def test_a_slow_server_above_the_lowest_rate_is_waited_for(path):
    slow = DownloadPolicy(allow_http=True, timeout=1.0, min_bytes=1, attempts=1)
    get(path, "trickle", content=CONTENT[:30], policy=slow)
    assert path.read_bytes() == CONTENT[:30]


def test_a_download_ends_at_its_last_moment(path):
    limited = DownloadPolicy(allow_http=True, timeout=1.0, min_bytes=1, pause=0.0, attempts=3, max_seconds=0.5)
    with serving(Server(CONTENT, "trickle")) as server:
        with pytest.raises(WeightsError, match="(stalled|no answer).*the limit of 0.5 seconds has passed"):
            download(server.url, path, policy=limited)
    assert len(server.requests) == 1 and not path.exists()


def test_the_body_of_a_redirection_is_not_read(path):
    assert get(path, "drip:moved", "good", policy=ONCE) == [None, None]
    assert path.read_bytes() == CONTENT


@pytest.mark.parametrize("place", ["http://[::1/", "http://é.example/a", "http://a b/", "http://" + "a" * 70 + ".example/"])
def test_a_redirection_to_what_is_no_address_is_a_message(path, place):
    fails(path, "redirects to what is no address|no answer", f"moved:{place}")
    with pytest.raises(WeightsError, match="not an address"):
        download("https://[::1/", path)


LINES = ["HTTP/1.1 404 " + "no" * 5000 + "\r\n\r\n", "\x00\x1b" * 5000, "HTTP/1.1 503 \x1b[2J\r\n\r\n"]


@pytest.mark.parametrize("line", LINES)
def test_what_a_server_says_of_itself_is_shortened(path, line):
    with pytest.raises(WeightsError) as error:
        get(path, f"line:{line}", policy=ONCE)
    assert len(str(error.value)) < 400 and str(error.value).isprintable()


@pytest.mark.parametrize(
    ("behaviour", "message"),
    [
        ("long", "broke off after 307200 of 307250"),
        ("silent", "does not state the file's size"),
        ("huge", "has 1099511627776 bytes, more than the limit of 1048576"),
        ("404", "answers 404"),
        ("503", "answers 503 .*3 times"),
    ],
)
def test_lies_and_refusals(path, behaviour, message):
    fails(path, message, behaviour)


def test_a_size_that_is_stated_too_small_cuts_the_file(path):
    """Nothing more can be known here; the hash and the reader of the file notice."""
    get(path, "short")
    assert path.read_bytes() == CONTENT[: len(CONTENT) // 2]


def test_redirections_are_followed_to_allowed_places_only(path):
    with serving(Server(CONTENT)) as target:
        get(path, f"moved:{target.url}")
        assert path.read_bytes() == CONTENT
        path.unlink()
        for place in ("file:///etc/passwd", "ftp://127.0.0.1/a", "data:,a"):
            fails(path, "not an HTTPS address; refused|is not allowed", f"moved:{place}")
    with serving(Server(CONTENT)) as server:
        server.behaviours = [f"moved:{server.url}"]
        with pytest.raises(WeightsError, match="answers 302"):
            download(server.url, path, policy=POLICY)
        assert len(server.requests) < 15


def test_http_is_no_address_of_https():
    with pytest.raises(WeightsError, match="http://example.org/b: not an HTTPS address; refused"):
        check_address("http://example.org/b", allow_http=False)


def test_http_has_to_be_allowed(path):
    with serving(Server(CONTENT)) as server, pytest.raises(WeightsError, match="not an HTTPS address; refused"):
        download(server.url, path)
    assert server.requests == []
    with pytest.raises(WeightsError, match="not an HTTPS address"):
        download("file:///etc/passwd", path, policy=POLICY)


def test_nobody_there(path):
    with serving(Server(CONTENT)) as server:
        pass
    with pytest.raises(WeightsError, match="no answer .*refused.*3 times"):
        download(server.url, path, policy=POLICY)


def test_a_full_disk_is_a_message(path, monkeypatch):
    class Full:
        def __init__(self, file):
            self._file = file

        def write(self, *_bytes):
            raise OSError(28, "No space left on device")

    received = Downloader._receive
    monkeypatch.setattr(Downloader, "_receive", lambda self, response, file, *rest: received(self, response, Full(file), *rest))
    fails(path, "cannot be written .No space left on device", "good")
