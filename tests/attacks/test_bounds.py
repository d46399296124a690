"""Files made to take memory, time or the process itself: each reader refuses them, names the file and stays small."""

from __future__ import annotations

import csv
import json
import os
import resource
import struct
import time
from functools import partial
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from tests.attacks.makers import encoded, motion_jpeg, png
from tests.cli.tiny import EXPERIMENT
from yolox import errors
from yolox.cli.main import run
from yolox.cli.run_options import remembered
from yolox.config import InputSpec, Recipe
from yolox.data.build import MAX_TEXT_BYTES, read_text
from yolox.data.coco import read_coco
from yolox.data.header import read_header
from yolox.data.image import image_size, read_image
from yolox.data.voc import read_voc, read_voc_data
from yolox.data.yolo import read_yolo_data
from yolox.data.yolo_layout import read_class_names
from yolox.errors import CheckpointError, CommandError, DataError, ExportError, WeightsError
from yolox.eval import media, video_process
from yolox.eval.media import read_frames
from yolox.export.metadata import ExportMetadata, metadata_from_text, metadata_to_text
from yolox.training.checkpoint import load_checkpoint, save_checkpoint
from yolox.training.history import read_history, restore_history, stored_history
from yolox.visualize.run_pictures import RunPictures
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


@pytest.mark.parametrize("name", [b"IDAT", b"PLTE", b"tEXt", b"eXIf"])
def test_a_png_whose_chunk_states_gigabytes_is_refused(tmp_path, name):
    content = png(16, 16, (name, b"x" * 100, 0x7FFFFFFF))
    (tmp_path / "a.png").write_bytes(content)
    with pytest.raises(DataError, match="a.png: is a damaged PNG, of which 2147483"):
        read_image(str(tmp_path / "a.png"))


def test_a_sparse_jpeg_is_looked_through_in_blocks(tmp_path):
    data = encoded(16, 24)
    (tmp_path / "a.jpg").write_bytes(data[:-2])
    with open(tmp_path / "a.jpg", "r+b") as file:
        file.truncate(1 << 40)
    header = read_header(str(tmp_path / "a.jpg"))
    assert header.size == (16, 24) and not header.whole
    with pytest.raises(DataError, match="has more than 1073741824 bytes; not decoded"):
        read_image(str(tmp_path / "a.jpg"))
    os.remove(tmp_path / "a.jpg")
    (tmp_path / "b.jpg").write_bytes(data + bytes(4 << 20))  # the end is in another block than the pixels' beginning
    assert read_header(str(tmp_path / "b.jpg")).whole


def test_a_history_of_any_size_is_refused_or_rebuilt(tmp_path):
    path, history = tmp_path / "history.csv", {"columns": ["epoch", "lr"], "rows": [["1", "0.5"]]}
    sparse(path, 1 << 40)
    with pytest.raises(DataError, match="history.csv: .*more than the limit"):
        read_history(path)
    with pytest.raises(CommandError, match="history.csv: .*more than the limit"):
        stored_history(path, 1)
    assert restore_history(path, history) and path.read_text() == "epoch,lr\n1,0.5\n"
    assert read_history(path) == [{"epoch": 1.0, "lr": 0.5}]


@pytest.mark.parametrize("text", ["epoch,lr\n1\n", "epoch\nx\n", 'epoch\n"' + "x" * 200_000 + "\n"])
def test_a_damaged_history_is_named(tmp_path, text):
    path = tmp_path / "history.csv"
    path.write_text(text)
    with pytest.raises(DataError, match="history.csv: damaged") as caught:
        read_history(path)
    assert len(str(caught.value)) < 500


def test_a_field_of_a_history_that_is_too_long_is_named(tmp_path):
    (tmp_path / "history.csv").write_text(f"epoch\n{'9' * 200_000}\n")
    before = csv.field_size_limit(100_000)  # Python's is near; other packages raise it
    try:
        with pytest.raises(CommandError, match="history.csv: field larger"):
            stored_history(tmp_path / "history.csv", 1)
    finally:
        csv.field_size_limit(before)


@pytest.mark.parametrize("name", ["history.csv", "evaluation.json"])
def test_plot_reads_files_of_a_run_within_bounds(tmp_path, capsys, name):
    (tmp_path / "run").mkdir()
    sparse(tmp_path / "run" / name, 1 << 40)
    assert run(EXPERIMENT, ["plot", str(tmp_path / "run"), "--output", str(tmp_path / "out")]) == 1
    assert f"{name}: " in (err := capsys.readouterr().err) and "more than the limit" in err


def test_the_written_evaluation_is_read_within_bounds(tmp_path):
    (tmp_path / "evaluation.json").write_text('{"epoch": 3}')
    pictures = RunPictures()
    pictures._context = SimpleNamespace(folder=tmp_path)
    assert not pictures.wants_best(3) and pictures.wants_best(2)
    for spoil in ("[" * 100_000, "[3]", '{"epoch"', "9" * 10_000):
        (tmp_path / "evaluation.json").write_text(spoil)
        assert pictures.wants_best(3)
    sparse(tmp_path / "evaluation.json", 1 << 40)
    assert pictures.wants_best(3)


def test_the_message_of_a_damaged_checkpoint_has_an_end(tmp_path):
    """safetensors quotes what it does not understand, however long that is."""
    header = json.dumps({"x" * 1_000_000: {"dtype": "F32", "shape": [1], "data_offsets": [0, 9]}}).encode()
    (tmp_path / "a.safetensors").write_bytes(struct.pack("<Q", len(header)) + header + bytes(8))
    for read, error in ((load_checkpoint, CheckpointError), (read_weights, WeightsError)):
        with pytest.raises(error, match="a.safetensors") as caught:
            read(tmp_path / "a.safetensors")
        assert len(str(caught.value)) < 2000


@pytest.fixture
def fresh_decoder(monkeypatch):
    """A decoding process that starts in the environment of most users, who do not set PYTHONUNBUFFERED."""
    monkeypatch.delenv("PYTHONUNBUFFERED", raising=False)
    monkeypatch.setattr(video_process, "_idle", [])


def test_frames_that_are_larger_than_the_first_are_counted_as_lost(tmp_path, fresh_decoder):
    """Only the first is known before decoding; of those that follow OpenCV would give the one before once more."""
    small, path, counts = encoded(32, 32), tmp_path / "a.avi", []
    path.write_bytes(motion_jpeg([small, small, encoded(64, 96), small], 32, 32))
    frames = list(read_frames(path, "a", max_pixels=2000, on_video=counts.append))
    assert [frame.image.shape for frame in frames] == [(32, 32, 3)] * 3
    assert str(counts[0]) == "3 of 4 frames, 1 could not be decoded" and not counts[0].is_whole
    with pytest.raises(DataError, match="has frames of 6144 pixels, more than `max_pixels` 2000"):
        path.write_bytes(motion_jpeg([encoded(64, 96), small], 64, 96))
        list(read_frames(path, "a", max_pixels=2000))


def test_a_video_of_damaged_frames_has_an_end_in_time(tmp_path, monkeypatch, fresh_decoder):
    small, path, counts = encoded(32, 32), tmp_path / "a.avi", []
    path.write_bytes(motion_jpeg([small, *[encoded(6000, 6000)] * 9, small], 32, 32))
    monkeypatch.setattr(media, "FAILING_SECONDS", 0.1)
    assert len(list(read_frames(path, "a", on_video=counts.append))) == 1
    assert str(counts[0]) == "1 of 11 frames, 10 could not be decoded"


def test_deep_json_is_refused(tmp_path):
    for name, text in (("a.json", "[" * 200_000), ("b.json", json.dumps({"images": 1})[:-1] + ', "x": ' + "[" * 200_000)):
        (tmp_path / name).write_text(text)
        with pytest.raises(DataError, match=name):
            read_coco(str(tmp_path / name), str(tmp_path))


def test_lists_of_files_that_are_not_there_are_not_read_to_their_end(tmp_path, monkeypatch):
    """Each name takes several looks at the disk: a list of 60 MB took minutes."""
    monkeypatch.setattr(errors, "MAX_PROBLEMS", 5)
    (tmp_path / "Annotations").mkdir()
    (tmp_path / "Annotations/a.xml").write_text("<annotation/>")
    (tmp_path / "data.yaml").write_text("train: list.txt\nnames: [cat]\n")
    yolo = partial(read_yolo_data, str(tmp_path / "data.yaml"), split="train")
    voc = partial(read_voc_data, str(tmp_path), split=str(tmp_path / "list.txt"))
    for read, line, what in (
        (yolo, "images/{}.jpg", "images/0.jpg: no such image file"),
        (voc, "{}", "'0' has no XML file"),
        (voc, "../../{}", "'../../0' lies outside"),
        (voc, "a", "'a' is listed more than once"),
    ):
        (tmp_path / "list.txt").write_text("".join(f"{line.format(number)}\n" for number in range(100)))
        with pytest.raises(DataError, match="list.txt: 5 problems, and more was not read") as caught:
            read()
        assert what in str(caught.value)


def test_videos_of_frames_that_are_too_large_are_refused_before_decoding(tmp_path, monkeypatch):
    path = tmp_path / "a.avi"
    path.write_bytes(motion_jpeg([encoded(64, 96)], 64, 96))
    monkeypatch.setattr(media, "MOST_PIXELS", 6000)
    with pytest.raises(DataError, match="has frames of 6144 pixels, more than 6000"):
        list(read_frames(path, "a"))


def test_large_pngs_of_four_channels_of_sixteen_bits_have_a_lower_limit(tmp_path):
    cv2.imwrite(str(tmp_path / "a.png"), np.zeros((10, 10, 4), np.uint16))
    assert read_image(str(tmp_path / "a.png"), max_pixels=134).shape == (10, 10, 3)
    with pytest.raises(DataError, match=r"10x10 pixels of four channels of 16 bits, more than 99 \(`max_pixels` 133\)"):
        read_image(str(tmp_path / "a.png"), max_pixels=133)


@pytest.mark.parametrize("between", [b"\0", b"\xff", b"\xff\0"])
def test_megabytes_between_the_segments_of_a_jpeg_are_skipped_in_blocks(tmp_path, between):
    small = encoded(32, 48)
    (tmp_path / "a.jpg").write_bytes(small[:2] + between * (40_000_000 // len(between)) + small[2:])
    begin = time.process_time()
    assert image_size(str(tmp_path / "a.jpg")) == (32, 48)
    assert time.process_time() - begin < 2  # byte by byte 5 s
