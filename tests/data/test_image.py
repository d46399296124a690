"""Image files of all kinds become uint8 BGR of the annotated size, or a clear error."""

from __future__ import annotations

import io
import os
import struct
import zlib

import cv2
import numpy as np
import pytest
from PIL import Image

import yolox.data.image as image_module
from tests.data.folders import coco_dict, write_image, write_json
from yolox.config import InputSpec
from yolox.data.check import check_dataset, probe_header, probe_pixels
from yolox.data.coco import read_coco
from yolox.data.header import read_header
from yolox.data.image import image_size, read_image, to_bgr
from yolox.data.pixels import shrink_image
from yolox.data.unread import BITS, PAGES, TURNED, Unread, unread_content
from yolox.errors import DataError
from yolox.eval.sources import find_files, unread_lines


def smooth(height=40, width=60, channels=3, seed=0):
    image = np.random.default_rng(seed).integers(0, 256, (height, width, channels)).astype(np.uint8)
    return cv2.GaussianBlur(image, (0, 0), 5)


def with_orientation(jpeg: bytes, orientation: int) -> bytes:
    """Insert an EXIF segment that states how the stored pixels are turned."""
    tiff = b"II*\0" + struct.pack("<IHHHIHHI", 8, 1, 0x0112, 3, 1, orientation, 0, 0)
    body = b"Exif\0\0" + tiff
    return jpeg[:2] + b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body + jpeg[2:]


@pytest.fixture
def turned(tmp_path):
    """A stored image of 40x60 (height, width) that EXIF turns by a quarter to 60x40."""
    path = tmp_path / "turned.JPG"
    path.write_bytes(with_orientation(cv2.imencode(".jpg", smooth())[1].tobytes(), 6))
    return str(path)


def test_png_is_read_exactly(tmp_path):
    cv2.imwrite(str(tmp_path / "a.PNG"), smooth())
    image = read_image(str(tmp_path / "a.PNG"), size=(40, 60))
    np.testing.assert_array_equal(image, smooth())
    assert image.dtype == np.uint8


def test_grey_rgba_and_16_bit_become_three_bytes(tmp_path):
    grey, wide = smooth()[..., 0], smooth().astype(np.uint16) * 257
    alpha = np.dstack([smooth(), np.full((40, 60), 9, np.uint8)])
    for name, stored, want in (
        ("grey", grey, np.dstack([grey] * 3)),
        ("alpha", alpha, smooth()),
        ("wide", wide, smooth()),
    ):
        path = str(tmp_path / f"{name}.png")
        cv2.imwrite(path, stored)
        image = read_image(path)
        assert image.dtype == np.uint8 and image.shape == (40, 60, 3)
        assert np.abs(image.astype(int) - want).max() <= 1


@pytest.mark.parametrize("suffix", ["png", "tiff"])
def test_of_16_bits_the_upper_eight_are_kept(tmp_path, suffix):
    """So an image of 12-bit values in a 16-bit file is almost black, as docs/datasets.md says."""
    path = str(tmp_path / f"a.{suffix}")
    for value, want in ((100, 0), (4095, 15), (0x8000, 128), (65535, 255)):
        cv2.imwrite(path, np.full((4, 6), value, np.uint16))
        assert np.unique(read_image(path)).tolist() == [want]


def test_grey_tiffs_of_floating_point_numbers_are_refused(tmp_path):
    cv2.imwrite(str(tmp_path / "a.tiff"), np.full((4, 6), 0.5, np.float32))
    with pytest.raises(DataError, match="a.tiff: cannot be decoded"):
        read_image(str(tmp_path / "a.tiff"))


def test_exif_rotation_is_applied_when_the_annotations_agree_or_say_nothing(turned):
    upright = cv2.rotate(smooth(), cv2.ROTATE_90_CLOCKWISE).astype(int)
    for size in (None, (60, 40)):
        assert np.abs(read_image(turned, size=size) - upright).mean() < 3
    assert read_image(turned, size=(60, 40), reduce=2).shape == (30, 20, 3)


def test_exif_rotation_is_left_out_when_the_annotations_were_made_without_it(turned):
    assert np.abs(read_image(turned, size=(40, 60)) - smooth().astype(int)).mean() < 3


@pytest.mark.parametrize("reduce", [1, 2, 4, 8])
def test_another_size_than_annotated_names_the_file_and_both_sizes(turned, reduce):
    with pytest.raises(DataError, match=r"turned.JPG: the image is 40x60, its annotation says 200x100"):
        read_image(turned, size=(100, 200), reduce=reduce)


def test_swapped_sides_hint_at_exif(tmp_path):
    cv2.imwrite(str(tmp_path / "a.png"), smooth())
    with pytest.raises(DataError, match=r"60x40, its annotation says 40x60 \(turned by EXIF\?\)"):
        read_image(str(tmp_path / "a.png"), size=(60, 40))


def test_missing_and_undecodable_files_are_named(tmp_path):
    (tmp_path / "text.jpg").write_text("no image")
    (tmp_path / "nothing.jpg").write_bytes(b"")
    with pytest.raises(DataError, match="gone.jpg: no such image file"):
        read_image(str(tmp_path / "gone.jpg"))
    for name in ("text.jpg", "nothing.jpg"):
        with pytest.raises(DataError, match=f"{name}: cannot be decoded as an image"):
            read_image(str(tmp_path / name))


@pytest.mark.parametrize("reduce", [2, 4, 8])
@pytest.mark.parametrize("shape", [(64, 96), (61, 95)])
def test_reduced_decoding_is_the_average_of_blocks(tmp_path, reduce, shape):
    path = str(tmp_path / "a.jpg")
    cv2.imwrite(path, smooth(*shape), [cv2.IMWRITE_JPEG_QUALITY, 100])
    reduced, averaged = read_image(path, size=shape, reduce=reduce), shrink_image(read_image(path), reduce)
    height, width = averaged.shape[:2]
    assert (height, width) == (shape[0] // reduce, shape[1] // reduce)
    assert np.abs(reduced[:height, :width].astype(int) - averaged).max() <= 4


def test_shrinking_by_hand():
    image = np.array([[[0], [4]], [[8], [12]], [[99], [99]]], np.uint8).repeat(3, axis=2)
    assert shrink_image(image, 2).tolist() == [[[6, 6, 6]]]
    assert shrink_image(image, 1) is image
    assert shrink_image(image, 8).shape == (1, 1, 3)


def test_a_name_that_is_not_utf8_is_read(tmp_path):
    """As Chinese archives unpack to; OpenCV's own reading of such a path ends the process."""
    write_image(tmp_path / "a.png", smooth(8, 9))
    name = os.fsdecode(b"\xd6\xd0\xce\xc4.png")  # in GBK
    os.rename(tmp_path / "a.png", tmp_path / name)
    assert read_image(str(tmp_path / name)).shape == (8, 9, 3)
    (tmp_path / name).write_bytes(b"\x89PNG no more")
    with pytest.raises(DataError) as error:
        read_image(str(tmp_path / name))
    assert "\\xd6\\xd0\\xce\\xc4.png: cannot be decoded" in str(error.value).encode().decode()


def animated(data, kind=b"acTL", *, at_end=False):
    """A PNG with one more chunk."""
    content = struct.pack(">II", 3, 0)
    chunk = struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
    place = data.index(b"IEND") - 4 if at_end else 33  # behind IHDR
    return data[:place] + chunk + data[place:]


@pytest.mark.parametrize("at_end", [False, True])
@pytest.mark.parametrize("kind", [b"acTL", b"fcTL", b"fdAT"])
def test_an_animated_png_is_refused_before_it_is_decoded(tmp_path, monkeypatch, kind, at_end):
    write_image(tmp_path / "a.png", smooth(8, 9))
    (tmp_path / "b.png").write_bytes(animated((tmp_path / "a.png").read_bytes(), kind, at_end=at_end))
    monkeypatch.setattr(cv2, "imdecode", lambda *_: pytest.fail("decoded"))
    with pytest.raises(DataError, match="b.png: is an animated PNG"):
        read_image(str(tmp_path / "b.png"))


def test_a_png_with_a_harmless_chunk_is_read(tmp_path):
    write_image(tmp_path / "a.png", smooth(8, 9))
    (tmp_path / "b.png").write_bytes(animated((tmp_path / "a.png").read_bytes(), b"teXt"))
    np.testing.assert_array_equal(read_image(str(tmp_path / "b.png")), read_image(str(tmp_path / "a.png")))


def jpeg(seed=0):
    pixels = cv2.GaussianBlur(np.random.default_rng(seed).integers(0, 256, (96, 128, 3)).astype(np.uint8), (0, 0), 2)
    return cv2.imencode(".jpg", pixels)[1].tobytes()


def dataset_of(folder, *names):
    content = coco_dict([(i, name, 96, 128) for i, name in enumerate(names)], [])
    return read_coco(write_json(folder / "a.json", content), str(folder))


def test_damaged_jpegs_are_named_and_libjpeg_is_silent(tmp_path, capfd, caplog):
    """A file that lost bytes in the middle, as by a transfer in text mode, one cut before its last marker, a motion photo."""
    whole = jpeg()
    (tmp_path / "text.jpg").write_bytes(whole[:300] + whole[300:].replace(b"\n", b"\r\n"))
    (tmp_path / "cut.jpg").write_bytes(whole[: len(whole) // 2] + b"\xff\xd9")
    (tmp_path / "motion.jpg").write_bytes(whole + bytes(5000))
    (tmp_path / "whole.jpg").write_bytes(whole)
    dataset = dataset_of(tmp_path, "text.jpg", "cut.jpg", "motion.jpg", "whole.jpg")
    report = check_dataset(dataset, input_size=(64, 64), max_gt=8, probe=probe_pixels)
    (line,) = [line for line in report.warnings if "damaged" in line]
    assert "damaged, of which the decoder says: 2 (text.jpg: " in line and "cut.jpg: Corrupt JPEG data" in line
    assert not any("too early" in line for line in report.warnings) and capfd.readouterr().err == ""
    (tmp_path / "cut.jpg").rename(tmp_path / "other.jpg")
    for _ in range(2):
        read_image(str(tmp_path / "other.jpg"))
    assert caplog.text.count("other.jpg: is damaged (Corrupt JPEG data") == 1 and capfd.readouterr().err == ""


def test_a_jpeg_that_is_cut_within_its_pixels_has_no_end(tmp_path):
    thumbnail = jpeg(1)  # in a segment before the pixels, with a last marker of its own
    head = b"\xff\xd8\xff\xe2" + (len(thumbnail) + 2).to_bytes(2, "big") + thumbnail
    (tmp_path / "cut.jpg").write_bytes((head + jpeg()[2:])[:-2000])
    assert not read_header(str(tmp_path / "cut.jpg")).whole
    with pytest.raises(DataError, match=r"cut.jpg: cannot be decoded as an image \(the file ends too early\)"):
        probe_header(dataset_of(tmp_path, "cut.jpg"), 0)


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"<!DOCTYPE html><html>404</html>", "cannot be decoded as an image: it is an HTML page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "cannot .*: it is a pointer of Git LFS"),
        (b"\0\0\0\x18ftypisom" + bytes(40), "cannot .*: it is a video"),
        (b"", "cannot .*: it is empty"),
        (bytes(400), "cannot .*: it is nothing but zero bytes"),
        (b"../../lake/x.jpg", "cannot .*: it is the text of a link to ../../lake/x.jpg, as archives and git leave it"),
        (jpeg()[:1500], r"cannot be decoded as an image \(the file ends too early\)"),
        (b"8BPS\0\1", "cannot .*: it is a Photoshop file"),
        (b"\0\0\0\x18ftypheic" + bytes(40), "is a HEIC image(; pip install pillow-heif| that cannot be decoded)"),
    ],
)
def test_a_file_that_is_no_image_is_told_by_what_it_is(tmp_path, content, what):
    (tmp_path / "a.jpg").write_bytes(content)
    with pytest.raises(DataError, match=f"a.jpg: {what}"):
        read_image(str(tmp_path / "a.jpg"))


def pages_of(count, form, **options):
    """The bytes of an image file with pages or frames of 10, 40, 70 and so on, by Pillow."""
    first, *rest = [Image.fromarray(np.full((20, 30, 3), 10 + 30 * i, np.uint8)) for i in range(count)]
    data = io.BytesIO()
    first.save(data, form, save_all=True, append_images=rest, **options)
    return data.getvalue()


def big_tiff(*kinds):
    """A BigTIFF of empty pages, with the kind of each: 0 a page, 1 a reduced copy, 4 a mask."""
    data = b"II+\0" + struct.pack("<HHQ", 8, 0, 16)
    for number, kind in enumerate(kinds):
        last = number == len(kinds) - 1
        data += struct.pack("<QHHQQQ", 1, 254, 4, 1, kind, 0 if last else len(data) + 36)
    return data


@pytest.mark.parametrize(
    ("data", "found"),
    [
        (pages_of(1, "TIFF"), None),
        (pages_of(3, "TIFF"), Unread(PAGES, "has 3 pages")),
        (pages_of(3, "TIFF")[:3900], Unread(PAGES, "has 2 pages")),  # cut off within the third
        (big_tiff(0, 0), Unread(PAGES, "has 2 pages")),
        (big_tiff(0, 1, 4), None),
        (b"II*\0" + struct.pack("<IHI", 8, 0, 8), None),  # a directory that is followed by itself
        (b"II*\0\1", None),
        (pages_of(1, "WEBP"), None),
        (pages_of(4, "WEBP"), Unread(PAGES, "has 4 frames")),
        (pages_of(1, "WEBP", exif=b"Exif\0\0MM\0*" + struct.pack(">IHHHIHHI", 8, 1, 0x0112, 3, 1, 6, 0, 0)),
         Unread(TURNED, "has the orientation 6")),
        (cv2.imencode(".png", np.zeros((4, 4, 3), np.uint16))[1].tobytes(), Unread(BITS, "has 16 bits a channel")),
        (cv2.imencode(".tif", np.zeros((4, 4, 3), np.uint16))[1].tobytes(), Unread(BITS, "has 16 bits a channel")),
        (cv2.imencode(".tif", np.zeros((4, 4), np.uint16))[1].tobytes(), Unread(BITS, "has 16 bits a channel")),
        (cv2.imencode(".png", np.zeros((4, 4, 4), np.uint8))[1].tobytes(), None),
        (jpeg(), None),
        (b"", None),
    ],
)  # fmt: skip
def test_what_is_not_read_of_an_image_file_is_found(data, found):
    assert unread_content(io.BytesIO(data)) == found


def array_bytes(array):
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


@pytest.mark.parametrize(
    ("data", "channels", "max_value", "found"),
    [
        (pages_of(3, "TIFF"), 5, 255, None),  # the pages are channels
        (pages_of(3, "TIFF"), 1, 255, Unread(PAGES, "has 3 pages")),
        (pages_of(2, "WEBP"), 5, 255, Unread(PAGES, "has 2 frames")),
        (cv2.imencode(".png", np.zeros((4, 4), np.uint16))[1].tobytes(), 1, 65535, None),
        (cv2.imencode(".png", np.zeros((4, 4), np.uint16))[1].tobytes(), 1, 255, Unread(BITS, "has 16 bits a channel")),
        (array_bytes(np.zeros((4, 4), "<u2")), 1, 255, Unread(BITS, "has 16 bits a channel")),
        (array_bytes(np.zeros((4, 4, 5), ">u2")), 5, 255, Unread(BITS, "has 16 bits a channel")),
        (array_bytes(np.zeros((4, 4), "<u2")), 1, 4095, None),
        (array_bytes(np.zeros((4, 4), np.uint8)), 1, 255, None),
        (cv2.imencode(".tif", np.zeros((4, 4, 4), np.uint16))[1].tobytes(), 4, 4095, None),
        (cv2.imencode(".tif", np.zeros((4, 4, 4), np.uint16))[1].tobytes(), 4, 255, Unread(BITS, "has 16 bits a channel")),
    ],
)
def test_what_is_not_read_depends_on_the_pixels_of_the_input(data, channels, max_value, found):
    assert unread_content(io.BytesIO(data), channels=channels, max_value=max_value) == found


def test_pages_that_are_not_read_are_counted_by_check_and_named_once_by_reading(tmp_path, capsys, caplog, monkeypatch):
    monkeypatch.setattr(image_module, "_seen", bytearray(1 << 16))
    for name in ("a.tif", "b.tif"):
        (tmp_path / name).write_bytes(pages_of(3, "TIFF"))
    (tmp_path / "c.webp").write_bytes(pages_of(2, "WEBP"))
    content = coco_dict([(i, name, 20, 30) for i, name in enumerate(("a.tif", "b.tif", "c.webp"))], [])
    dataset = read_coco(write_json(tmp_path / "a.json", content), str(tmp_path))
    for probe in (probe_header, probe_pixels):
        report = check_dataset(dataset, input_size=(64, 64), max_gt=8, probe=probe)
        assert f"{PAGES}: 3 (a.tif has 3 pages, b.tif has 3 pages, c.webp has 2 frames)" in report.warnings
    found = find_files([tmp_path / "*.[tw]*"])
    assert found.left_out == []
    assert unread_lines(found.files, InputSpec()) == [f"{PAGES}: 3 (a.tif has 3 pages, b.tif has 3 pages, c.webp has 2 frames)"]
    image = read_image(str(tmp_path / "b.tif"))
    assert (image == 10).all() and caplog.text.count("of which the first is read") == 1


def test_pages_of_heic_are_named(tmp_path, caplog, monkeypatch):
    pillow_heif = pytest.importorskip("pillow_heif", reason="pip install -c constraints.txt -e '.[heif]'")
    pillow_heif.register_heif_opener()
    monkeypatch.setattr(image_module, "_seen", bytearray(1 << 16))
    (tmp_path / "a.heic").write_bytes(pages_of(2, "HEIF"))
    assert read_image(str(tmp_path / "a.heic")).shape == (20, 30, 3) and "a.heic: has 2 images" in caplog.text


@pytest.mark.parametrize("form", ["HEIF", "AVIF"])
def test_heic_and_avif_are_read_upright(tmp_path, form):
    """A picture that is dark on the left, stored as it is, and once more as a phone that was turned by a quarter stores it."""
    pillow_heif = pytest.importorskip("pillow_heif", reason="pip install -c constraints.txt -e '.[heif]'")
    pillow_heif.register_heif_opener()
    pixels = np.full((48, 64, 3), 220, np.uint8)
    pixels[:, :32] = (200, 30, 30)  # RGB
    path = tmp_path / f"a.{form.lower()}"
    for orientation, wanted in ((1, pixels), (6, np.rot90(pixels, -1))):
        exif = Image.Exif()
        exif[0x0112] = orientation
        Image.fromarray(pixels).save(path, form, exif=exif.tobytes(), quality=95)
        for name in (path, tmp_path / "renamed.jpg"):
            name.write_bytes(path.read_bytes())
            found = read_image(str(name))
            assert found.shape == wanted.shape and np.abs(found[..., ::-1].astype(int) - wanted).mean() < 6
            assert image_size(str(name)) == wanted.shape[:2]
    with pytest.raises(DataError, match="states 64x48 pixels, more than `max_pixels` 1000|states 48x64 pixels"):
        read_image(str(path), max_pixels=1000)


def test_pil_images_of_any_mode_become_bgr():
    from PIL import Image

    deep = Image.fromarray(np.array([[0, 255, 256, 65535]], np.uint16))  # convert() would make 255 of all but the first
    assert to_bgr(deep)[0].tolist() == [[0, 0, 0], [0, 0, 0], [1, 1, 1], [255, 255, 255]]
    clear = Image.fromarray(np.array([[[1, 2, 3, 0]]], np.uint8), "RGBA")
    assert to_bgr(clear).tolist() == [[[3, 2, 1]]]
    assert to_bgr(Image.new("L", (2, 1), 7)).tolist() == [[[7, 7, 7]] * 2]
    with pytest.raises(ValueError, match="mode F, whose range is not known"):
        to_bgr(Image.new("F", (2, 2)))


def test_a_pil_image_of_a_damaged_file_is_a_data_error(tmp_path):
    from PIL import Image

    Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)).save(tmp_path / "a.png")
    data = (tmp_path / "a.png").read_bytes()
    (tmp_path / "a.png").write_bytes(data[: len(data) // 2])
    with pytest.raises(DataError, match=r"a PIL image \(.*a.png\) cannot be decoded"):
        to_bgr(Image.open(tmp_path / "a.png"))
