"""Headless Chromium by its DevTools protocol, and a static server: a page is opened, used and photographed as a person would."""

from __future__ import annotations

import asyncio
import base64
import functools
import http.server
import itertools
import json
import shutil
import subprocess
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tornado.websocket import websocket_connect

FLAGS = (
    "--headless --no-sandbox --disable-gpu --no-first-run --disable-background-networking --disable-component-update "
    "--disable-sync --remote-debugging-port=0 --remote-allow-origins=* --use-fake-ui-for-media-stream "
    "--use-fake-device-for-media-stream"
).split()
DRAWN = "new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))"


class Browser:
    """One tab of Chromium. `requests` are the addresses that were asked for, `errors` what the page complained of."""

    def __init__(self, socket, loop) -> None:
        self._socket, self._loop, self._ids = socket, loop, itertools.count(1)
        self.requests: list[str] = []
        self.errors: list[str] = []
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **parameters) -> dict:
        """Calls a method of the protocol and returns its result."""
        return self._loop.run_until_complete(asyncio.wait_for(self._call(method, parameters), 120))

    async def _call(self, method, parameters):
        number = next(self._ids)
        await self._socket.write_message(json.dumps({"id": number, "method": method, "params": parameters}))
        while True:
            message = json.loads(await self._socket.read_message())
            if message.get("id") == number:
                assert "error" not in message, (method, message)
                return message["result"]
            self._note(message)

    def _note(self, message) -> None:
        values = message.get("params", {})
        if message["method"] == "Network.requestWillBeSent":
            self.requests.append(values["request"]["url"])
        if message["method"] == "Runtime.exceptionThrown":
            self.errors.append(json.dumps(values["exceptionDetails"]))
        if message["method"] == "Log.entryAdded" and values["entry"]["level"] == "error":
            self.errors.append(values["entry"]["text"])

    def open(self, url: str, *, width: int = 1280, height: int = 900) -> None:
        """Opens a page in a window of this size."""
        self.resize(width, height)
        self.call("Page.navigate", url=url)

    def resize(self, width: int, height: int) -> None:
        """Changes the size of the window in pixels."""
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)

    def run(self, script: str):
        """Evaluates JavaScript, awaits it, and returns its value."""
        answer = self.call("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True, userGesture=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def wait(self, condition: str, *, seconds: float = 120):
        """Waits until a JavaScript expression is true and returns its value."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if value := self.run(condition):
                return value
            time.sleep(0.1)
        pytest.fail(f"never true: {condition}; errors: {self.errors}; {self.run('document.body.innerText')[:500]}")

    def choose_file(self, selector: str, path: Path) -> None:
        """Chooses a file in an <input type=file>."""
        found = self.call("Runtime.evaluate", expression=f"document.querySelector({selector!r})")["result"]["objectId"]
        self.call("DOM.setFileInputFiles", objectId=found, files=[str(path)])

    def photograph(self, path: Path) -> None:
        """Writes a PNG of the whole page."""
        self.run(DRAWN)
        data = self.call("Page.captureScreenshot", captureBeyondViewport=True)["data"]
        path.write_bytes(base64.b64decode(data))


@contextmanager
def browse(folder: Path, *flags: str) -> Iterator[Browser]:
    """Starts Chromium with a profile of its own in `folder`; skips the test where there is none."""
    program = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if program is None:
        pytest.skip("no Chromium is installed (apt-get install chromium)")
    folder.mkdir()
    command = [program, *FLAGS, *flags, f"--user-data-dir={folder}", "about:blank"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    loop = asyncio.new_event_loop()
    try:
        yield Browser(loop.run_until_complete(_connect(_address(folder / "DevToolsActivePort"))), loop)
    finally:
        process.terminate()
        process.wait(30)
        loop.close()


async def _connect(url: str):
    return await websocket_connect(url, max_message_size=1 << 28)  # a picture is one message


def _address(file: Path, seconds: float = 60) -> str:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if file.is_file() and (lines := file.read_text().splitlines()):
            tabs = json.load(urllib.request.urlopen(f"http://127.0.0.1:{lines[0]}/json"))
            if found := [tab["webSocketDebuggerUrl"] for tab in tabs if tab["type"] == "page"]:
                return found[0]
        time.sleep(0.1)
    pytest.fail("Chromium did not start")


@contextmanager
def serve(folder: Path) -> Iterator[str]:
    """Serves a folder on loopback as `python -m http.server` does; gives the address."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *args) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=folder)) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()
