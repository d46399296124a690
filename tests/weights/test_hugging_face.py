"""Weights by hf:ORG/REPO/FILE: a real download by huggingface_hub from a server on loopback, and what goes wrong."""

from __future__ import annotations

import hashlib
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
from safetensors.numpy import save

from yolox.cli.main import run_model
from yolox.errors import WeightsError
from yolox.weights.hub import fetch_hub_file
from yolox.weights.load import local_path

pytest.importorskip("huggingface_hub", reason="needs the extra huggingface")
from huggingface_hub import constants  # noqa: E402

COMMIT = "a" * 40
FILES = {"nano/best.safetensors": save({"a": np.zeros(3, np.float32)}), "page.pth": b"<html>log in</html>"}


class Hub(BaseHTTPRequestHandler):
    """Answers as the hub does for the two files of acme/boxes, and with 404 for others."""

    asked: list[str] = []

    def log_message(self, *_arguments):
        pass

    def do_HEAD(self):  # noqa: N802 (the name is the library's)
        self.answer()

    def do_GET(self):  # noqa: N802
        self.asked.append(self.path)
        if (body := self.answer()) is not None:
            self.wfile.write(body)

    def answer(self):
        revision, _, name = self.path.removeprefix("/acme/boxes/resolve/").partition("/")
        body = FILES.get(name) if revision in ("main", "v1", COMMIT) else None
        self.send_response(404 if body is None else 200)
        if body is None:
            self.send_header("X-Error-Code", "EntryNotFound")
        self.send_header("Content-Length", str(len(body or b"")))
        self.send_header("ETag", f'"{hashlib.sha256(body or b"").hexdigest()}"')
        self.send_header("X-Repo-Commit", COMMIT)
        self.end_headers()
        return body


@pytest.fixture
def hub(tmp_path, monkeypatch):
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    url = f"http://127.0.0.1:{server.server_port}"  # what HF_ENDPOINT and HF_HOME set where the package is imported
    for name, value in {"ENDPOINT": url, "HF_HUB_CACHE": str(tmp_path / "hub"), "HF_HUB_DISABLE_PROGRESS_BARS": True}.items():
        monkeypatch.setattr(constants, name, value)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", url + "/{repo_id}/resolve/{revision}/{filename}")
    monkeypatch.setattr(Hub, "asked", [])
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


def test_a_file_is_downloaded_once(hub, tmp_path):
    for _ in range(2):
        path = local_path("hf:acme/boxes/nano/best.safetensors")
        assert path.read_bytes() == FILES["nano/best.safetensors"] and path.is_relative_to(tmp_path / "hub")
    assert [path for path in Hub.asked if "resolve" in path] == ["/acme/boxes/resolve/main/nano/best.safetensors"]
    assert fetch_hub_file("hf:acme/boxes/nano/best.safetensors@v1").name == "best.safetensors"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("hf:acme/boxes/other.pth", "hf:acme/boxes/other.pth: cannot be downloaded ("),
        ("hf:acme/boxes/page.pth", "what came is no weights file"),
        ("hf:boxes", "'hf:boxes': want hf:ORG/REPO/FILE, or hf:ORG/REPO/FILE@REVISION"),
        ("hf:acme/boxes/../../a.pth", "want hf:ORG/REPO/FILE"),
    ],
)
def test_what_cannot_be_had_is_one_line(hub, name, message, capsys):
    with pytest.raises(WeightsError) as caught:
        fetch_hub_file(name)
    assert message in str(caught.value) and "\n" not in str(caught.value)
    assert run_model(["eval", "--weights", name, "--data", "D"]) == 1
    assert message in capsys.readouterr().err


def test_without_the_package_the_command_to_install_it_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(WeightsError, match=r"needs huggingface_hub: pip install 'yolox-mindspore\[huggingface\]'"):
        fetch_hub_file("hf:acme/boxes/a.pth")
