"""Small files that would become large: texts, headers and lists whose objects take many times the memory of their bytes."""

from __future__ import annotations

import json
import pickle
import struct
import zipfile
import zlib

import cv2
import numpy as np
import pytest

from tests.attacks.makers import npy
from yolox.data import pixels
from yolox.data.coco import read_coco
from yolox.data.image import read_image
from yolox.data.voc import read_voc
from yolox.data.yolo import read_yolo
from yolox.errors import MAX_PROBLEMS, CheckpointError, DataError, WeightsError
from yolox.training import checkpoint
from yolox.weights import archive, pickle_reader
from yolox.weights.ckpt import read_ckpt
from yolox.weights.load import read_weights
from yolox.weights.torch_file import read_pdparams


@pytest.mark.parametrize(
    "header",
    [
        "{'descr': '|u1', 'shape': (1", "(" * 5000, "-" * 9000 + "1", "  {'a': 1}\n b", "{'descr': '''|u1", "{'a':" * 3000, "1L",
        "\0",
    ],  # fmt: skip
)
def test_the_header_of_an_array_that_python_cannot_parse_is_refused(tmp_path, header):
    """numpy's parser of it raises SyntaxError, MemoryError, RecursionError, TokenError and more."""
    text = header.encode()
    for version, length in ((1, "<H"), (2, "<I")):
        data = b"\x93NUMPY" + bytes([version, 0]) + struct.pack(length, len(text)) + text + bytes(64)
        (tmp_path / "a.npy").write_bytes(data)
        with pytest.raises(DataError, match="a.npy: is a damaged NumPy array"):
            read_image(str(tmp_path / "a.npy"))
        with zipfile.ZipFile(tmp_path / "a.npz", "w") as file:
            file.writestr("a.npy", data)
        with pytest.raises(WeightsError, match="a.npz: "):
            read_weights(tmp_path / "a.npz")


def test_no_more_of_an_array_is_read_than_its_pixels(tmp_path, monkeypatch):
    image = np.random.default_rng(0).integers(0, 255, (4, 6, 3), dtype=np.uint8)
    (tmp_path / "a.npy").write_bytes(npy(image.shape, "|u1") + image.tobytes())
    with open(tmp_path / "a.npy", "r+b") as file:
        file.truncate(1 << 40)
    assert np.array_equal(read_image(str(tmp_path / "a.npy")), image[..., ::-1])
    (tmp_path / "a.npy").unlink()
    monkeypatch.setattr(pixels, "MAX_BYTES", 100)
    (tmp_path / "b.npy").write_bytes(npy((4, 6, 5), "|u1") + bytes(120))
    with pytest.raises(DataError, match="b.npy: has 120 bytes of pixels, more than the limit of 100"):
        read_image(str(tmp_path / "b.npy"), channels=5)


def test_samples_of_a_tiff_are_counted_and_its_parts_unpack_to_what_they_hold(tmp_path, monkeypatch):
    tifffile = pytest.importorskip("tifffile")
    path, image = tmp_path / "a.tif", np.zeros((64, 64, 5), np.uint8)
    tifffile.imwrite(path, image, compression="zlib", photometric="minisblack", planarconfig="contig", rowsperstrip=64)
    assert read_image(str(path), channels=5).shape == image.shape
    data, part = path.read_bytes(), zlib.compress(bytes(1 << 24))
    with tifffile.TiffFile(path) as file:
        (start,), (count,) = file.pages[0].dataoffsets, file.pages[0].databytecounts
    moved = data.replace(struct.pack("<I", start), struct.pack("<I", len(data)), 1)
    (tmp_path / "b.tif").write_bytes(moved.replace(struct.pack("<I", count), struct.pack("<I", len(part)), 1) + part)
    with pytest.raises(DataError, match="b.tif: .*a part unpacks to more than"):
        read_image(str(tmp_path / "b.tif"), channels=5)
    monkeypatch.setattr(pixels, "MAX_BYTES", 20_000)
    with pytest.raises(DataError, match="a.tif: has 20480 bytes of pixels"):
        read_image(str(path), channels=5)


def test_sixteen_bits_are_made_of_eight_without_floats_of_eight_bytes():
    image = np.arange(256, dtype=np.uint8).reshape(16, 16)
    for most in (4095, 65535):
        assert np.array_equal(pixels.to_pixel_type(image, most), np.round(image * (most / 255)).astype(np.uint16))
    wide = np.arange(0, 65536, 97, dtype=np.uint16)
    assert np.array_equal(pixels.to_pixel_type(wide, 255), (wide >> 8).astype(np.uint8))


def test_an_archive_of_too_many_entries_is_refused_before_they_are_read(tmp_path, monkeypatch):
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as file:
        for number in range(200):
            file.writestr(f"{number}.npy", b"")
    monkeypatch.setattr(archive, "MAX_DIRECTORY_BYTES", 5000)
    with pytest.raises(WeightsError, match="a.npz: lists its entries in more than 5000 bytes"):
        read_weights(tmp_path / "a.npz")
    with zipfile.ZipFile(tmp_path / "b.npz", "w") as file:
        file.comment = b"x" * 1000
        file.writestr("a.npy", npy((2,), "<f4") + bytes(8))
    assert read_weights(tmp_path / "b.npz")[0]["a"].tolist() == [0.0, 0.0]


def test_texts_of_a_pickle_are_bounded(tmp_path, monkeypatch):
    path = tmp_path / "a.pdparams"
    path.write_bytes(pickle.dumps({"a": "x" * 2000 + "\N{GRINNING FACE}"}, protocol=2))
    with pytest.raises(WeightsError, match="a long text has characters beyond Latin-1"):
        read_pdparams(path)
    path.write_bytes(pickle.dumps({"w": np.ones(500, np.float32)}, protocol=2))  # bytes as a text of Latin-1
    assert read_pdparams(path)["w"].sum() == 500
    monkeypatch.setattr(pickle_reader, "MAX_ARGUMENT", 1000)
    with pytest.raises(WeightsError, match="has an argument of more than 1000 bytes, the limit"):
        read_pdparams(path)


def test_bfloat16_is_widened_within_the_limit(tmp_path, monkeypatch):
    from tests.attacks.mutations import encode_field as field

    tensor = field(1, 0, 100) + field(2, 2, b"BFloat16") + field(3, 2, struct.pack("<H", 0x3F80) * 100)
    (tmp_path / "a.ckpt").write_bytes(field(1, 2, field(1, 2, b"a.weight") + field(2, 2, tensor)))
    assert read_ckpt(tmp_path / "a.ckpt")["a.weight"].tolist() == [1.0] * 100
    monkeypatch.setattr("yolox.weights.ckpt.MAX_BYTES", 350)
    with pytest.raises(WeightsError, match="has 200 bytes of bfloat16, want at most 175"):
        read_ckpt(tmp_path / "a.ckpt")


def test_the_header_of_a_checkpoint_is_bounded(tmp_path, monkeypatch):
    header = json.dumps({"__metadata__": {"yolox": "[" + "[]," * 5000 + "[]]"}}).encode()
    (tmp_path / "a.safetensors").write_bytes(struct.pack("<Q", len(header)) + header)
    monkeypatch.setattr(checkpoint, "MAX_HEADER_BYTES", 10_000)
    with pytest.raises(CheckpointError, match=f"a.safetensors: has a header of {len(header)} bytes, want at most 10000"):
        checkpoint.load_checkpoint(tmp_path / "a.safetensors")


def pictures(folder):
    (folder / "images").mkdir()
    cv2.imwrite(str(folder / "images/a.png"), np.zeros((8, 8, 3), np.uint8))
    return str(folder / "images")


def test_a_file_is_given_up_after_many_problems(tmp_path):
    images, many = pictures(tmp_path), MAX_PROBLEMS + 500
    message = f"{MAX_PROBLEMS} problems, and more was not read"
    (tmp_path / "a.json").write_text(json.dumps({"images": [1] * many, "annotations": [], "categories": []}))
    with pytest.raises(DataError, match=message):
        read_coco(str(tmp_path / "a.json"), images)
    (tmp_path / "b.json").write_text(json.dumps({"categories": [{"id": "x"}] * many, "images": [], "annotations": []}))
    with pytest.raises(DataError, match=message):
        read_coco(str(tmp_path / "b.json"), images)
    (tmp_path / "labels").mkdir()
    (tmp_path / "labels/a.txt").write_text("x\n" * many)
    with pytest.raises(DataError, match=message):
        read_yolo(str(tmp_path / "labels"), images, class_names=("cat",))
    (tmp_path / "xml").mkdir()
    size = "<size><width>8</width><height>8</height></size>"
    (tmp_path / "xml/a.xml").write_text(f"<annotation>{size}{'<object/>' * many}</annotation>")
    with pytest.raises(DataError, match=message) as caught:
        read_voc(str(tmp_path / "xml"), images)
    assert len(str(caught.value)) < 4000


def test_labels_of_an_image_have_a_budget(tmp_path):
    images = pictures(tmp_path)
    (tmp_path / "labels").mkdir()
    with open(tmp_path / "labels/a.txt", "wb") as file:
        file.truncate((4 << 20) + 1)
    with pytest.raises(DataError, match="a.txt: has 4194305 bytes, more than the limit of 4194304"):
        read_yolo(str(tmp_path / "labels"), images, class_names=("cat",))


def test_an_element_of_a_json_list_has_a_budget(tmp_path, monkeypatch):
    monkeypatch.setattr("yolox.data.json_lists._LONGEST", 1 << 20)
    (tmp_path / "a.json").write_text('{"images": [], "info": [' + "[]," * (1 << 14) + "[]]}")  # small elements: nothing is kept
    with pytest.raises(DataError, match="has no list 'annotations'"):
        read_coco(str(tmp_path / "a.json"), str(tmp_path))
    (tmp_path / "b.json").write_text('{"info": [{"a": [' + "[]," * (1 << 20) + "[]]}]}")
    with pytest.raises(DataError, match=r"b.json: .*in info\[0\]"):
        read_coco(str(tmp_path / "b.json"), str(tmp_path))
