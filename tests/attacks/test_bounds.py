"""Files made to take memory, time or the process itself: each reader refuses them, names the file and stays small."""

from __future__ import annotations

import json
import os
import resource
import struct
import time

import cv2
import numpy as np
import pytest

from yolox.cli.run_options import remembered
from yolox.config import InputSpec, Recipe
from yolox.data.build import MAX_TEXT_BYTES, read_text
from yolox.data.coco import read_coco
from yolox.data.image import image_size, read_image
from yolox.data.voc import read_voc
from yolox.data.yolo_layout import read_class_names
from yolox.errors import CommandError, DataError, ExportError, WeightsError
from yolox.eval.media import read_frames
from yolox.export.metadata import ExportMetadata, metadata_from_text, metadata_to_text
from yolox.training.checkpoint import load_checkpoint, save_checkpoint
from yolox.weights.load import read_weights

MOST_MEGABYTES, MOST_SECONDS = 500, 10
REFUSALS = (DataError, WeightsError, CommandError, ValueError)


@pytest.fixture(autouse=True)
def budget():
    """Every test ends in seconds, without much memory above that of the start."""
    before, begun = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.monotonic()
    yield
    assert time.monotonic() - begun < MOST_SECONDS
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < MOST_MEGABYTES << 10


def sparse(path, size):
    with open(path, "wb") as file:
        file.truncate(size)


def special(path, kind):
    """A pipe, a device, a link to one, a folder, or a sparse file of a terabyte."""
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    elif kind == "sparse":
        sparse(path, 1 << 40)
    else:
        path.symlink_to("/dev/zero")


def voc(path):
    folder = path.parent / "xml"
    folder.mkdir(exist_ok=True)
    os.replace(path, folder / "a.xml")
    (path.parent / "images").mkdir(exist_ok=True)
    cv2.imwrite(str(path.parent / "images/a.png"), np.zeros((8, 8, 3), np.uint8))
    return read_voc(str(folder), str(path.parent / "images"))


def resume(path):
    os.replace(path, path.parent / "recipe.json")
    return remembered(path.parent)


READERS = {
    "text": lambda path: read_text(str(path)),
    "json": lambda path: read_coco(str(path), str(path.parent)),
    "xml": voc,
    "yaml": lambda path: read_class_names(str(path.rename(path.with_suffix(".yaml")))),
    "image": lambda path: read_image(str(path)),
    "header": lambda path: image_size(str(path)),
    "video": lambda path: list(read_frames(path.rename(path.with_suffix(".mp4")), "a")),
    "weights": read_weights,
    "checkpoint": load_checkpoint,
    "run": resume,
}


@pytest.mark.parametrize("kind", ["pipe", "device", "folder", "sparse"])
@pytest.mark.parametrize("reader", READERS)
def test_what_is_no_regular_file_or_declares_a_terabyte_is_refused(tmp_path, reader, kind):
    special(tmp_path / "a", kind)
    with pytest.raises(REFUSALS, match=str(tmp_path)):
        READERS[reader](tmp_path / "a")


def test_texts_have_a_budget(tmp_path):
    sparse(tmp_path / "a.txt", MAX_TEXT_BYTES + 1)
    with pytest.raises(DataError, match="more than the limit"):
        read_text(str(tmp_path / "a.txt"))
    (tmp_path / "a.xml").write_bytes(b"<a>" + b"<b/>" * (3 << 20) + b"</a>")
    with pytest.raises(DataError, match="more than the limit"):
        voc(tmp_path / "a.xml")


def test_a_yaml_of_nested_aliases_is_refused(tmp_path):
    levels = "\n".join(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 12))
    (tmp_path / "data.yaml").write_text(f"a0: &a0 [x]\n{levels}\nnc: *a11\nnames: *a11\n")
    with pytest.raises(DataError, match="has aliases"):
        read_class_names(str(tmp_path / "data.yaml"))


def jpeg(height, width, scans):
    """A progressive JPEG of many scans, each of which costs the decoder a pass over all blocks."""
    frame = struct.pack(">BHHBBBB", 8, height, width, 1, 1, 0x11, 0)
    table = b"\xff\xc4" + struct.pack(">HB", 20, 0) + bytes([1, *[0] * 15, 0])
    head = b"\xff\xd8\xff\xc2" + struct.pack(">H", len(frame) + 2) + frame + table
    scan = b"\xff\xda" + struct.pack(">HBBB", 8, 1, 1, 0) + bytes([0, 0, 0]) + b"\0"
    return head + scan * scans + b"\xff\xd9"


@pytest.mark.parametrize(("side", "scans"), [(64, 5000), (8000, 100)])
def test_progressive_jpegs_of_thousands_of_scans_are_refused(tmp_path, side, scans):
    (tmp_path / "a.jpg").write_bytes(jpeg(side, side, scans))
    with pytest.raises(DataError, match=f"a JPEG of {scans} scans"):
        read_image(str(tmp_path / "a.jpg"))


def test_usual_progressive_jpegs_are_read(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 255, (200, 300, 3), dtype=np.uint8)
    cv2.imwrite(str(tmp_path / "a.jpg"), pixels, [cv2.IMWRITE_JPEG_PROGRESSIVE, 1])
    assert read_image(str(tmp_path / "a.jpg")).shape == (200, 300, 3)


def test_images_named_as_videos_and_videos_of_png_are_refused(tmp_path):
    picture = np.zeros((32, 32, 3), np.uint8)
    cv2.imwrite(str(tmp_path / "a.png"), picture)
    os.replace(tmp_path / "a.png", tmp_path / "a.mp4")
    assert next(read_frames(tmp_path / "a.mp4", "a")).number is None  # an image under the suffix of a video is an image
    for code in ("MPNG", "MJPG"):
        path = tmp_path / f"{code}.avi"
        writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*code), 5, (32, 32))
        if not writer.isOpened():  # this OpenCV cannot make the attack
            continue
        writer.write(picture)
        writer.release()
        if code == "MPNG":
            with pytest.raises(DataError, match="has frames of PNG"):
                next(read_frames(path, "a"))
        else:
            assert next(read_frames(path, "a")).image.shape == (32, 32, 3)


def test_files_that_state_an_input_of_gigabytes_are_refused(tmp_path):
    large = InputSpec(input_size=(8192, 8192))
    save_checkpoint(tmp_path / "a.safetensors", {"params.w": np.ones(2)}, recipe=Recipe(input=large), class_names=["cat"])
    with pytest.raises(WeightsError, match="a.safetensors: states an input of 8192 x 8192 px"):
        read_weights(tmp_path / "a.safetensors")
    names = [str(number) for number in range(30_000)]
    save_checkpoint(tmp_path / "b.safetensors", {"params.w": np.ones(2)}, recipe=Recipe(), class_names=names)
    with pytest.raises(WeightsError, match="states 30000 classes"):
        read_weights(tmp_path / "b.safetensors")
    with pytest.raises(ExportError, match="states an input of 8192 x 8192 px"):
        metadata_from_text(metadata_to_text(ExportMetadata(class_names=("cat",), input=large)))


def test_deep_json_is_refused(tmp_path):
    for name, text in (("a.json", "[" * 200_000), ("b.json", json.dumps({"images": 1})[:-1] + ', "x": ' + "[" * 200_000)):
        (tmp_path / name).write_text(text)
        with pytest.raises(DataError, match=name):
            read_coco(str(tmp_path / name), str(tmp_path))
