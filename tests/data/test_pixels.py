"""Files of grey, of many channels and of 16 bits, against arrays that were written into them."""

from __future__ import annotations

import importlib.util
import io
from pathlib import Path

import cv2
import numpy as np
import pytest

from yolox.config import InputSpec
from yolox.data.image import image_size, read_image, to_pixels
from yolox.data.pixels import convert_channels, swap_red_and_blue, to_pixel_type, viewable
from yolox.data.yolo_labels import folder_pairs
from yolox.errors import DataError

tifffile = pytest.importorskip("tifffile", reason="TIFF files of many channels need tifffile")


def pixels(channels, kind=np.uint8, size=(12, 20)):
    return np.random.default_rng(channels).integers(0, np.iinfo(kind).max + 1, (*size, channels)).astype(kind)


def write(path, image):
    """Write channels in the order of the array: an .npy, or a TIFF as most programs write it."""
    if path.suffix == ".npy":
        np.save(path, image[..., 0] if image.shape[2] == 1 else image)
    else:
        options = {"photometric": "minisblack", "planarconfig": "contig"} if image.shape[2] > 1 else {}
        tifffile.imwrite(path, image[..., 0] if image.shape[2] == 1 else image, **options)
    return str(path)


def in_memory(image):
    return swap_red_and_blue(image)


@pytest.mark.parametrize("suffix", [".npy", ".tif"])
@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
@pytest.mark.parametrize("channels", [1, 2, 4, 5, 12])
def test_every_channel_is_read(tmp_path, channels, kind, suffix):
    image = pixels(channels, kind)
    path = write(tmp_path / f"a{suffix}", image)
    wanted = {"channels": channels, "max_value": 255 if kind == np.uint8 else 65535}
    found = read_image(path, size=(12, 20), **wanted)
    assert found.dtype == kind
    np.testing.assert_array_equal(found, in_memory(image))
    assert image_size(path) == (12, 20)
    half = read_image(path, reduce=2, **wanted)
    blocks = in_memory(image).reshape(6, 2, 10, 2, channels).mean(axis=(1, 3))
    assert half.shape == blocks.shape and np.abs(half - blocks).max() <= 0.51


@pytest.mark.parametrize("layout", ["pages", "planes", "deflated"])
def test_other_forms_of_tiff(tmp_path, layout):
    image, path = pixels(5), tmp_path / "a.tif"
    if layout == "pages":
        with tifffile.TiffWriter(path) as file:
            for channel in range(5):
                file.write(image[..., channel], contiguous=False)
    elif layout == "planes":
        tifffile.imwrite(path, np.moveaxis(image, 2, 0), photometric="minisblack", planarconfig="separate")
    else:
        tifffile.imwrite(path, image, photometric="minisblack", planarconfig="contig", compression="zlib")
    np.testing.assert_array_equal(read_image(str(path), channels=5), in_memory(image))


@pytest.mark.parametrize(("method", "number"), [("lzw", 5), ("deflate", 8), ("packbits", 32773)])
def test_compressed_tiff_is_read_or_names_the_package_that_reads_it(tmp_path, method, number):
    image, path = pixels(5), tmp_path / "a.tif"
    assert cv2.imwritemulti(str(path), list(np.moveaxis(image, 2, 0)), (cv2.IMWRITE_TIFF_COMPRESSION, number))
    if method == "lzw" and importlib.util.find_spec("imagecodecs") is None:
        with pytest.raises(DataError, match="a.tif: is a TIFF compressed by LZW; to read it, pip install imagecodecs"):
            read_image(str(path), channels=5)
        return
    np.testing.assert_array_equal(read_image(str(path), channels=5), in_memory(image))


def test_grey_and_colour_become_each_other_and_other_numbers_are_refused(tmp_path):
    colour = pixels(3)
    cv2.imwrite(str(tmp_path / "a.png"), colour)
    grey = read_image(str(tmp_path / "a.png"), channels=1)
    np.testing.assert_allclose(grey[..., 0], cv2.cvtColor(colour, cv2.COLOR_BGR2GRAY), atol=1)  # the file decoder rounds down
    write(tmp_path / "grey.npy", grey)
    np.testing.assert_array_equal(read_image(str(tmp_path / "grey.npy")), np.repeat(grey, 3, axis=2))
    write(tmp_path / "rgb.npy", colour[..., ::-1])
    np.testing.assert_array_equal(read_image(str(tmp_path / "rgb.npy")), colour)
    for name in ("a.png", "rgb.npy"):
        with pytest.raises(DataError, match=r"has 3 channels, want 5 \(`channels`\)"):
            read_image(str(tmp_path / name), channels=5)
    with pytest.raises(DataError, match="has 3 channels, want 1"):
        read_image(str(tmp_path / "rgb.npy"), channels=1)
    rgba = pixels(4)
    cv2.imwrite(str(tmp_path / "b.png"), rgba)
    np.testing.assert_array_equal(read_image(str(tmp_path / "b.png"), channels=4), rgba)  # as OpenCV stores it: blue first


def test_bits_are_converted_where_the_input_has_others(tmp_path):
    deep = pixels(1, np.uint16)
    cv2.imwrite(str(tmp_path / "a.png"), deep)
    np.testing.assert_array_equal(read_image(str(tmp_path / "a.png"), channels=1, max_value=65535), deep)
    np.testing.assert_array_equal(read_image(str(tmp_path / "a.png"), channels=1), deep >> 8)
    assert to_pixel_type(np.array([0, 51, 255], np.uint8), 4095).tolist() == [0, 819, 4095]


@pytest.mark.parametrize(
    "data, message",
    [
        (np.zeros((4, 6), np.float32), "is an array of float32"),
        (np.zeros((4, 6, 65), np.uint8), "up to 64 channels"),
        (np.zeros((0, 6), np.uint8), "has no pixels"),
        (np.zeros(5, np.uint8), r"\[H,W\] or \[H,W,C\]"),
        (np.asfortranarray(np.zeros((4, 6), np.uint8)), "Fortran"),
        (np.array([["a"]], object), "is an array of"),
    ],
)
def test_arrays_that_are_no_images_are_refused(tmp_path, data, message):
    np.save(tmp_path / "a.npy", data, allow_pickle=True)
    with pytest.raises(DataError, match=message):
        read_image(str(tmp_path / "a.npy"), channels=1)
    with pytest.raises(DataError, match=message):
        image_size(str(tmp_path / "a.npy"))


def test_files_that_claim_too_much_or_are_cut_are_refused(tmp_path):
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(file, {"descr": "|u1", "fortran_order": False, "shape": (1 << 20, 1 << 20)})
    (tmp_path / "huge.npy").write_bytes(file.getvalue())
    with pytest.raises(DataError, match="more than `max_pixels`"):
        read_image(str(tmp_path / "huge.npy"))
    for suffix in (".npy", ".tif"):
        path = tmp_path / f"cut{suffix}"
        write(path, pixels(5))
        path.write_bytes(path.read_bytes()[: -100 if suffix == ".npy" else 300])
        with pytest.raises(DataError):
            read_image(str(path), channels=5)
    write(tmp_path / "large.tif", pixels(5))
    with pytest.raises(DataError, match="states 20x12 pixels"):
        read_image(str(tmp_path / "large.tif"), channels=5, max_pixels=100)


def test_values_in_memory_are_taken_as_the_input_says():
    grey = pixels(1)
    np.testing.assert_array_equal(to_pixels(grey[..., 0], spec=InputSpec(channels=1)), grey)
    five = pixels(5, np.uint16)
    spec = InputSpec(channels=5, max_value=65535)
    np.testing.assert_array_equal(to_pixels(five, spec=spec), five)
    np.testing.assert_array_equal(to_pixels(five, spec=spec, channels="rgb"), swap_red_and_blue(five))
    with pytest.raises(DataError, match="has 5 channels, want 4"):
        convert_channels(five, channels=4, max_value=65535)
    with pytest.raises(ValueError, match="want a uint8 array"):
        to_pixels(grey.astype(np.float32), spec=InputSpec(channels=1))


def test_pictures_show_grey_or_the_first_three_channels():
    for channels in (1, 2):
        np.testing.assert_array_equal(viewable(pixels(channels)), np.repeat(pixels(channels)[..., :1], 3, axis=2))
    np.testing.assert_array_equal(viewable(pixels(5)), pixels(5)[..., :3])
    deep = np.array([[[0, 2048, 4095, 9]]], np.uint16)
    assert viewable(deep).tolist() == [[[0, 128, 255]]]


def test_decoded_copies_beside_images_are_no_images_of_a_yolo_dataset(tmp_path):
    for name, label in (("a", "0 .5 .5 .4 .4"), ("b", "0 .5 .5 .4 .4")):
        (tmp_path / f"{name}.txt").write_text(label)
    cv2.imwrite(str(tmp_path / "a.png"), pixels(3))
    np.save(tmp_path / "a.npy", pixels(3))
    np.save(tmp_path / "b.npy", pixels(3))
    found = folder_pairs(str(tmp_path), str(tmp_path))
    assert [Path(image).name for image, _ in found.pairs] == ["a.png", "b.npy"]
