"""Published weights by name: the table, the cache, and the whole path from a name to a detector."""

import hashlib
import logging
import threading
from pathlib import Path

import numpy as np
import pytest
from mindspore import Tensor
from mindspore import save_checkpoint as save_ckpt

from tests.weights.servers import Server, serving
from tests.weights.torch_files import write_state
from yolox.cli import inputs as fetching
from yolox.cli.experiment import Experiment
from yolox.cli.inputs import open_detector, recipe_of_weights
from yolox.errors import WeightsError
from yolox.nn import PAFPN, CSPDarknet, DecoupledHead, Detector
from yolox.recipes import SCALES, megvii_recipe, mindyolo_recipe
from yolox.weights import hub
from yolox.weights.download import DownloadPolicy
from yolox.weights.hub import PUBLISHED, PublishedFile, cache_folder, fetch_weights, is_published_name, published_file
from yolox.weights.megvii import MEGVII_INPUT, MINDYOLO_INPUT

CONTENT = b"\x0a\x20\x0a\x04name" + b"some weights" * 100  # begins as a .ckpt does
HASH = hashlib.sha256(CONTENT).hexdigest()
POLICY = DownloadPolicy(allow_http=True, timeout=2.0, pause=0.0, attempts=2)


def test_the_table_has_every_scale_of_both_systems():
    assert {name for name in PUBLISHED if name != "mindyolo:s-910v2"} == {
        f"{system}:{scale}" for system in ("megvii", "mindyolo") for scale in SCALES
    }
    assert all(file.url.startswith("https://") for file in PUBLISHED.values())
    assert len({file.url for file in PUBLISHED.values()}) == len(PUBLISHED) == 15
    assert published_file("mindyolo:s-910v2").hash_start == "cebd0183"
    assert published_file("mindyolo:darknet53").hash_start == "b5fcaba9"
    assert published_file("megvii:darknet53").url.endswith("/0.1.1rc0/yolox_darknet.pth")


UNKNOWN = [("megvii:S", "megvii:x, megvii:darknet53$"), ("mindyolo:", "known are mindyolo:nano, ")]


@pytest.mark.parametrize(("name", "hint"), UNKNOWN)
def test_unknown_names_list_those_of_the_system(tmp_path, name, hint):
    with pytest.raises(WeightsError, match=hint):
        fetch_weights(name, folder=tmp_path)


def test_paths_are_no_names(tmp_path):
    for text in ("a.pth", "C:/weights/megvii.pth", "megvii.pth", "./megvii:s"):
        assert not is_published_name(text)


def test_the_cache_lies_where_the_environment_says(monkeypatch, tmp_path):
    monkeypatch.setenv("YOLOX_CACHE", str(tmp_path))
    assert cache_folder() == tmp_path
    monkeypatch.delenv("YOLOX_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", "/somewhere")
    assert str(cache_folder()) == "/somewhere/yolox"


@pytest.fixture
def table(monkeypatch):
    """Let the names megvii:s and mindyolo:s point to a server; give a function that sets it."""

    def point(server, hash_start=None):
        for system in ("megvii", "mindyolo"):
            monkeypatch.setitem(PUBLISHED, f"{system}:s", PublishedFile(server.url, hash_start))

    return point


def fetch(tmp_path, name="megvii:s"):
    return fetch_weights(name, folder=tmp_path / "cache", policy=POLICY)


def test_the_first_call_downloads_the_second_does_not(table, tmp_path):
    with serving(Server(CONTENT)) as server:
        table(server)
        path = fetch(tmp_path)
        assert fetch(tmp_path) == path and len(server.requests) == 1
    assert fetch(tmp_path).read_bytes() == CONTENT
    assert path.with_name(path.name + ".sha256").read_text() == f"{HASH}  {path.name}\n"


def test_a_file_that_changed_in_the_cache_is_refused(table, tmp_path):
    with serving(Server(CONTENT)) as server:
        table(server)
        path = fetch(tmp_path)
    path.write_bytes(CONTENT[:-1] + b"x")
    with pytest.raises(WeightsError, match=f"when it was downloaded it was {HASH}; delete it"):
        fetch(tmp_path)


def test_a_pinned_hash_decides(table, tmp_path):
    with serving(Server(CONTENT)) as server:
        table(server)
        with pytest.raises(WeightsError, match="is not the one that is pinned, 0000.*not kept"):
            fetch(tmp_path, "megvii:s@" + "0" * 64)
        assert fetch(tmp_path, f"megvii:s@{HASH}").read_bytes() == CONTENT
        with pytest.raises(WeightsError, match="pinned is 0000.*delete it"):
            fetch(tmp_path, "megvii:s@" + "0" * 64)
        with pytest.raises(WeightsError, match="64 hex digits"):
            fetch(tmp_path, "megvii:s@abc")


@pytest.mark.parametrize(("start", "warned"), [(HASH[:8], False), ("01234567", True)])
def test_digits_of_the_name_that_are_not_the_hash_are_a_warning(table, tmp_path, caplog, start, warned):
    with serving(Server(CONTENT)) as server, caplog.at_level(logging.WARNING, "yolox.weights"):
        table(server, start)
        fetch(tmp_path, "mindyolo:s")
    assert (f"it is {HASH}. Pin it: name@{HASH}" in caplog.text) == warned


def test_a_download_that_fails_leaves_no_weights(table, tmp_path):
    with serving(Server(CONTENT, "cut:10", etag=None)) as server:
        table(server)
        with pytest.raises(WeightsError, match="broke off"):
            fetch(tmp_path)
    assert not [p for p in (tmp_path / "cache").iterdir() if not p.name.startswith(".")]


PAGES = [b"", b"<!DOCTYPE html><title>Log in</title>", b"\n\n\n<html>" * 50, b"PK\x03\x04 and no archive"]


@pytest.mark.parametrize("page", PAGES)
def test_what_is_no_weights_file_is_not_kept(table, tmp_path, page):
    with serving(Server(page)) as server:
        table(server)
        with pytest.raises(WeightsError, match="/file.pth: what came is no weights file, .*; not kept") as raised:
            fetch(tmp_path)
        assert str(tmp_path) not in str(raised.value)
        assert not [p for p in (tmp_path / "cache").iterdir() if not p.name.endswith(".lock")]
        server.content = CONTENT
        assert fetch(tmp_path).read_bytes() == CONTENT


def test_two_at_once_download_once(table, tmp_path):
    with serving(Server(CONTENT)) as server:
        table(server)
        threads = [threading.Thread(target=fetch, args=(tmp_path,)) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(server.requests) == 1


def test_a_folder_that_cannot_be_made_is_a_message(table, tmp_path):
    (tmp_path / "cache").write_text("a file")
    with pytest.raises(WeightsError, match="cache: cannot be used to keep weights"):
        fetch(tmp_path)


def build(num_classes):
    backbone = CSPDarknet(0.33, 0.125, depthwise=True)
    return Detector(backbone, PAFPN(0.33, 0.125, depthwise=True), DecoupledHead(num_classes, 0.125, depthwise=True))


EXPERIMENT = Experiment(
    name="small",
    build_detector=build,
    recipes={"megvii": megvii_recipe("s"), "mindyolo": mindyolo_recipe("s")},
    make_step=lambda *parts: None,
)
MEGVII_ROOTS = {"backbone.": "backbone.backbone.", "neck.": "backbone.", "head.": "head."}
MEGVII_BN = {"gamma": "weight", "beta": "bias", "moving_mean": "running_mean", "moving_variance": "running_var"}


def megvii_file(values, path):
    """Write values under Megvii's names, as torch does."""
    state = {}
    for name, value in values.items():
        root, rest = name.split(".", 1)
        module, _, leaf = rest.rpartition(".")
        leaf = MEGVII_BN[leaf] if module.endswith("bn") else leaf
        state[f"{MEGVII_ROOTS[root + '.']}{module}.{leaf}"] = value
    return write_state(path, state).read_bytes()


def mindyolo_file(values, path):
    """Write values under MindYOLO's numbers, as MindSpore does."""
    from yolox.weights.megvii import _csp_layers

    numbers = sorted(_csp_layers().items(), key=lambda item: -len(item[1]))
    parts = []
    for name, value in values.items():
        number, layer = next((n, layer) for n, layer in numbers if name.startswith(layer + "."))
        parts.append({"name": f"model.model.{number}.{name[len(layer) + 1 :]}", "data": Tensor(value)})
    save_ckpt(parts, str(path))
    return path.read_bytes()


@pytest.mark.parametrize(
    ("name", "write", "spec"),
    [("megvii:s", megvii_file, MEGVII_INPUT), ("mindyolo:s", mindyolo_file, MINDYOLO_INPUT)],
)
def test_from_a_name_to_a_detector_with_the_right_pixels(table, tmp_path, monkeypatch, name, write, spec):
    rng = np.random.default_rng(0)
    values = {p.name: rng.standard_normal(p.shape).astype(np.float32) for p in build(80).get_parameters()}
    monkeypatch.setenv("YOLOX_CACHE", str(tmp_path / "cache"))
    original = hub.fetch_weights
    monkeypatch.setattr(fetching, "fetch_weights", lambda *a, **k: original(*a, policy=POLICY, **k))
    suffix = ".ckpt" if name.startswith("mindyolo") else ".pth"
    with serving(Server(write(values, tmp_path / f"made{suffix}"), "cut:50000", "good")) as server:
        table(server)
        detector, metadata = open_detector(EXPERIMENT, Path(name))
    for parameter in detector.get_parameters():
        np.testing.assert_array_equal(parameter.asnumpy(), values[parameter.name], err_msg=parameter.name)
    assert metadata.source == name.split(":")[0] and len(server.requests) == 2
    found = recipe_of_weights(EXPERIMENT, None, metadata).input
    assert (found.channel_order, found.pixel_scale, found.letterbox) == (
        spec.channel_order, spec.pixel_scale, spec.letterbox
    )  # fmt: skip
