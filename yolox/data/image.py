"""Reads image files as pixels: uint8 BGR, or what an input of other channels takes."""

from __future__ import annotations

import contextlib
import io
import logging
import mmap
import os
import re
import tempfile
import threading
import zlib
from collections.abc import Iterator
from typing import Literal

import cv2
import numpy as np

from yolox.config import InputSpec
from yolox.data.content import AVIF, HEAD_BYTES, HEIC, IMAGE, VIDEO, describe_content, read_head, shown_path
from yolox.data.header import QUARTER_TURNS, read_header, stated_size, tiff_orientation
from yolox.data.pixels import (
    NUMPY_MAGIC,
    TIFF_MAGICS,
    array_size,
    convert_channels,
    decode_channels,
    is_pil_image,
    pil_to_bgr,
    read_array_bytes,
    shrink_image,
    swap_red_and_blue,
    with_axis,
)
from yolox.data.unread import PAGES, unread_content
from yolox.errors import DataError

log = logging.getLogger("yolox.data")
REDUCTIONS = {
    1: cv2.IMREAD_COLOR,
    2: cv2.IMREAD_REDUCED_COLOR_2,
    4: cv2.IMREAD_REDUCED_COLOR_4,
    8: cv2.IMREAD_REDUCED_COLOR_8,
}

MAX_PIXELS = 1 << 27
"""Most pixels of an image file, 134 million: 400 MB when decoded."""

MAX_SCAN_PIXELS = 1 << 31
"""Most pixels that the scans of a JPEG decode together, where a small image counts as a million: 16 scans of the largest
image, 2048 of a small one. Progressive JPEGs have about ten."""

MAX_FILE_BYTES = 1 << 30
"""Most bytes of an image file."""


def read_image(
    path: str,
    *,
    size: tuple[int, int] | None = None,
    reduce: int = 1,
    max_pixels: int = MAX_PIXELS,
    complaints: list[str] | None = None,
    channels: int = 3,
    max_value: int = 255,
) -> np.ndarray:
    """Reads an image file as uint8 BGR, or as `channels` and `max_value` say, at full size or decoded at 1/2, 1/4 or 1/8 of it.

    JPEG decoding at reduced size costs a fraction of the time and averages the pixels, which a tile that will
    shrink needs anyway. Grey, palette, RGBA and 16-bit images become three channels of 8 bits; alpha is
    dropped. An EXIF rotation is applied, unless `size` shows that the annotations were made on the stored
    pixels. Of several pages or frames the first is read; the log names the first such file (`yolox.data.unread`).

    Args:
        path: the file.
        size: height and width in pixels that the annotations state; None accepts any.
        reduce: 1, 2, 4 or 8.
        max_pixels: an image whose header states more is refused before it is decoded.
        complaints: gets what the decoder says of a damaged file that it decodes all the same; None logs it, once for
            each file. The lines that libjpeg and libpng themselves print do not reach the terminal.
        channels: of the result (`decode_channels` tells what is converted and what is not).
        max_value: above 255 the result has 16 bits, as in `InputSpec`.

    Returns:
        [H,W,3] uint8, or [H,W,channels] uint8 or uint16. Reduced images have ceil or floor of size / reduce, and pixel i
        covers i * reduce onwards.

    Raises:
        DataError: the file is missing, is none of JPEG, PNG, BMP, TIFF, WebP and NumPy's arrays, states more pixels than allowed,
            is a TIFF whose orientation turns it by a quarter, is an animated PNG, cannot be decoded, or has another size
            than annotated.
    """
    data = _read_checked(path, max_pixels)
    kind = {"channels": channels, "max_value": max_value}
    is_array = data is not None and data.startswith(NUMPY_MAGIC)
    if data is None or is_array or (channels, max_value) != (3, 255):
        if data is None:
            image = convert_channels(read_heif(path, max_pixels=max_pixels), name=shown_path(path), **kind)
        else:
            with _library_lines():
                image = decode_channels(data, shown_path(path), max_pixels=max_pixels, **kind)
            _log_unread(path, data, **kind)
        image = shrink_image(image, reduce)
        if size is None or _fits(image, size, reduce):
            return image
        raise DataError(
            f"{shown_path(path)}: the image is {image.shape[1] * reduce}x{image.shape[0] * reduce}, "
            f"its annotation says {size[1]}x{size[0]}"
        )
    image = _decode(path, data, REDUCTIONS[reduce], complaints)
    _log_unread(path, data)
    if size is None or _fits(image, size, reduce):
        return image
    stored = _decode(path, data, REDUCTIONS[reduce] | cv2.IMREAD_IGNORE_ORIENTATION, [])
    if _fits(stored, size, reduce):
        return stored
    found = image.shape[:2] if reduce == 1 else _decode(path, data, REDUCTIONS[1], []).shape[:2]
    raise DataError(
        f"{shown_path(path)}: the image is {found[1]}x{found[0]}, its annotation says {size[1]}x{size[0]}"
        f"{' (turned by EXIF?)' if found == tuple(size)[::-1] else ''}"
    )


def image_size(path: str, *, max_pixels: int = MAX_PIXELS) -> tuple[int, int]:
    """Returns the height and width that `read_image` returns, without decoding where that is possible.

    Headers of JPEG and PNG files are read, the orientation in a JPEG's EXIF too; a JPEG with broken EXIF, a PNG with
    any, and any other format are decoded.

    Args:
        path: the file.
        max_pixels: as in `read_image`, where the image is decoded.

    Returns:
        height and width in pixels.

    Raises:
        DataError: the file is missing or is no image.
    """
    if (size := array_size(path) if os.path.isfile(path) else None) is not None:
        return size
    header = read_header(path)
    shown = None if header is None else header.shown
    if header is None and (size := _upright_tiff_size(path)) is not None:  # OpenCV decodes no more than four channels
        return size
    return read_image(os.fspath(path), max_pixels=max_pixels).shape[:2] if shown is None else shown


def _upright_tiff_size(path: str) -> tuple[int, int] | None:
    with open(path, "rb") as file:
        if not file.read(4).startswith(TIFF_MAGICS):
            return None
        file.seek(0)
        size = stated_size(file)
        return None if tiff_orientation(file) in QUARTER_TURNS else size


def to_pixels(image, *, spec: InputSpec, channels: Literal["bgr", "rgb"] = "bgr") -> np.ndarray:  # -> [H,W,C]
    """Returns an image as the pixels that an input takes, whatever it is given as.

    Args:
        image: path of an image file, PIL image, or array: uint8 [H,W,3] for colour; [H,W] or [H,W,C] of uint8 or uint16 where
            `spec` has other channels or 16 bits.
        spec: the input.
        channels: order of the first three channels of an array. Files and PIL images state theirs.

    Returns:
        [H,W,spec.channels] of `spec.pixel_type`.

    Raises:
        DataError: a file cannot be decoded, or the image has other channels.
        ValueError: the image is something else.

    Example:
        >>> to_pixels(np.zeros((4, 6), np.uint8), spec=InputSpec(channels=1)).shape
        (4, 6, 1)
    """
    kind = {"channels": spec.channels, "max_value": spec.max_value}
    if isinstance(image, (str, os.PathLike)):
        return read_image(os.fspath(image), **kind)
    is_array = isinstance(image, np.ndarray) and image.ndim in (2, 3) and image.dtype in (np.uint8, np.uint16)
    if spec.is_color or not is_array:
        return convert_channels(to_bgr(image, channels=channels), **kind)
    image = with_axis(image)
    return convert_channels(swap_red_and_blue(image) if channels == "rgb" else image, **kind)


def to_bgr(image, *, channels: Literal["bgr", "rgb"] = "bgr") -> np.ndarray:  # -> [H,W,3] uint8
    """Returns an image as BGR pixels, whatever it is given as.

    Args:
        image: uint8 [H,W,3] array, path of an image file, or PIL image.
        channels: order of the channels of an array. Files and PIL images state theirs.

    Returns:
        [H,W,3] uint8 BGR. Files and PIL images are turned upright as their EXIF says; alpha is dropped; PIL images of 16
        bits become 8 bits by division, as files do.

    Raises:
        DataError: a file is missing or cannot be decoded, as in `read_image`; so for a PIL image.
        ValueError: an array is not uint8 [H,W,3], the image is something else, or `channels` is neither order.

    Example:
        >>> to_bgr(np.full((1, 1, 3), (1, 2, 3), np.uint8), channels="rgb").tolist()
        [[[3, 2, 1]]]
    """
    if channels not in ("bgr", "rgb"):
        raise ValueError(f"channels is {channels!r}, want 'bgr' or 'rgb'")
    if isinstance(image, (str, os.PathLike)):
        return read_image(os.fspath(image))
    if is_pil_image(image):
        return pil_to_bgr(image, max_pixels=MAX_PIXELS)
    if not isinstance(image, np.ndarray) or image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        what = f"{image.dtype} {image.shape}" if isinstance(image, np.ndarray) else type(image).__name__
        raise ValueError(f"an image is {what}, want a uint8 array [H,W,3], a path or a PIL image")
    return image if channels == "bgr" else np.ascontiguousarray(image[..., ::-1])  # OpenCV takes no negative strides


def read_heif(path: str, *, max_pixels: int = MAX_PIXELS) -> np.ndarray:  # [H,W,3] uint8 BGR
    """Reads a HEIC or AVIF image, upright, where a decoder is installed.

    Args:
        path: the file.
        max_pixels: an image that states more is refused before it is decoded.

    Returns:
        [H,W,3] uint8 BGR.

    Raises:
        DataError: no decoder is installed, the file states more pixels than allowed, or it cannot be decoded.
    """
    what = describe_content(read_head(path))
    try:
        from PIL import Image, ImageOps, UnidentifiedImageError
    except ImportError:
        raise DataError(f"{shown_path(path)}: is {what}; pip install pillow-heif reads it") from None
    try:
        from pillow_heif import register_heif_opener

        register_heif_opener()
    except ImportError:
        pass  # Pillow itself reads AVIF from 11.3 on
    try:
        with Image.open(path) as image:
            if image.width * image.height > max_pixels:
                raise DataError(
                    f"{shown_path(path)}: states {image.width}x{image.height} pixels, more than "
                    f"`max_pixels` {max_pixels}; not decoded"
                )
            if (count := getattr(image, "n_frames", 1)) > 1:
                _log_once(PAGES, f"{shown_path(path)}: has {count} images: {PAGES}; others are not named here")
            pixels = np.asarray(ImageOps.exif_transpose(image).convert("RGB"))
    except UnidentifiedImageError:
        raise DataError(f"{shown_path(path)}: is {what}; pip install pillow-heif reads it") from None
    except (OSError, ValueError, SyntaxError, RuntimeError) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(f"{shown_path(path)}: is {what} that cannot be decoded ({error})") from None
    return np.ascontiguousarray(pixels[..., ::-1])


def _read_checked(path: str, max_pixels: int) -> bytes | None:
    """Reads the bytes of an image file whose header is sound; None for HEIC and AVIF.

    OpenCV gets bytes, never a path: a path that is not UTF-8, as archives from other systems unpack to, ends the process
    (OpenCV 4.11).
    """
    if not os.path.isfile(path):  # a pipe or a device would never end
        raise DataError(f"{shown_path(path)}: no such image file")
    try:
        with open(path, "rb") as file:
            if file.read(len(NUMPY_MAGIC)) == NUMPY_MAGIC:
                file.seek(0)
                return read_array_bytes(file, shown_path(path), max_pixels)
            file.seek(0)
            stated, orientation = stated_size(file), tiff_orientation(file)
            file.seek(0)
            small = os.fstat(file.fileno()).st_size <= MAX_FILE_BYTES
            data = file.read(MAX_FILE_BYTES + 1 if small and stated is not None else HEAD_BYTES)
    except OSError as error:
        raise DataError(f"{shown_path(path)}: cannot be read ({error.strerror})") from None
    if stated is None:
        what = describe_content(data[:HEAD_BYTES])
        if what in (HEIC, AVIF):
            return None
        known = "" if what in (None, IMAGE) else f": it is {'a video or a GIF' if what == VIDEO else what}"
        raise DataError(
            f"{shown_path(path)}: cannot be decoded as an image{known} (no header of JPEG, PNG, BMP, TIFF or WebP)"
        )
    if stated[0] * stated[1] > max_pixels:
        raise DataError(
            f"{shown_path(path)}: states {stated[1]}x{stated[0]} pixels, more than `max_pixels` {max_pixels}; not decoded"
        )
    most = max_pixels * 3 // 4
    if data.startswith(b"\x89PNG") and data[24:26] == b"\x10\x06" and stated[0] * stated[1] > most:  # takes 16 bytes each
        raise DataError(
            f"{shown_path(path)}: states {stated[1]}x{stated[0]} pixels of four channels of 16 bits, more than {most} "
            f"(`max_pixels` {max_pixels}); not decoded"
        )
    if not small or len(data) > MAX_FILE_BYTES:
        raise DataError(f"{shown_path(path)}: has more than {MAX_FILE_BYTES} bytes; not decoded")
    if orientation in QUARTER_TURNS:
        raise DataError(
            f"{shown_path(path)}: is a TIFF of orientation {orientation}, turned by a quarter, which OpenCV cannot decode; "
            "save it upright"
        )
    scans = data.count(b"\xff\xda") if data.startswith(b"\xff\xd8") else 0  # the coded pixels have no such bytes
    if scans * max(stated[0] * stated[1], 1 << 20) > MAX_SCAN_PIXELS:
        raise DataError(f"{shown_path(path)}: is a JPEG of {scans} scans, which would take minutes to decode; save it again")
    if data.startswith(b"\x89PNG") and (problem := _png_problem(data)):
        raise DataError(f"{shown_path(path)}: {problem}")
    return data


MAX_LOST_BYTES = 1 << 28  # of a PNG's chunk that is cut off; OpenCV makes room for all that a chunk states, up to 4 GiB


def _png_problem(data: bytes) -> str:
    """Returns why OpenCV 4.11 cannot be trusted with a PNG, by the chunks that it follows; empty for most."""
    place = 8
    while place + 8 <= len(data):
        if data[place + 4 : place + 8] in (b"acTL", b"fcTL", b"fdAT"):  # it reads beyond its memory
            return "is an animated PNG, which OpenCV cannot be trusted with; save one frame of it"
        place += 12 + int.from_bytes(data[place : place + 4], "big")
        if place - len(data) > MAX_LOST_BYTES:
            return f"is a damaged PNG, of which {place - len(data)} bytes are missing"
    return ""


_decoding = threading.Lock()
# No process is forked during a decoding: its lock would stay locked and its stderr caught.
os.register_at_fork(before=_decoding.acquire, after_in_parent=_decoding.release, after_in_child=_decoding.release)
_seen = mmap.mmap(-1, 1 << 16)  # shared with worker processes: a file is named once, whoever decodes it again
_LIBRARIES = re.compile(
    r"^(?:Corrupt JPEG data|Premature end of JPEG file|Invalid SOS parameters|Inconsistent progression|Warning: unknown JFIF|"
    r"Unsupported marker type|Unknown Adobe|Application transferred too|libpng (?:warning|error): |TIFF\w*: |"
    r"\[\s*(?:WARN|ERROR).*(?:grfmt|imread|imdecode|loadsave)).*$"
)
_HARMLESS = re.compile(r"iCCP|sRGB|tEXt|iTXt|zTXt|eXIf|gAMA|cHRM|unknown JFIF|Unknown Adobe")  # they change no pixel


def _decode(path: str, data: bytes, flags: int, complaints: list[str] | None = None) -> np.ndarray:
    try:
        with _library_lines() as lines:
            image = cv2.imdecode(np.frombuffer(data, np.uint8), flags) if data else None
    except cv2.error as error:
        raise DataError(f"{shown_path(path)}: cannot be decoded as an image ({error.err})") from None
    serious = [line for line in lines if not _HARMLESS.search(line)]
    if image is None:
        header = read_header(path) if os.path.isfile(path) else None
        serious += ["the file ends too early"] if header is not None and not header.whole else []
        reason = f" ({serious[0]})" if serious else ""
        raise DataError(f"{shown_path(path)}: cannot be decoded as an image{reason}")
    if serious:
        if complaints is not None:
            complaints.append(serious[0])
        _log_once(path, f"{shown_path(path)}: is damaged ({serious[0]})", is_known=complaints is not None)
    return image


def _log_unread(path: str, data: bytes, **pixels: int) -> None:
    if not data.startswith(b"\xff\xd8") and (unread := unread_content(io.BytesIO(data), **pixels)) is not None:
        _log_once(unread.kind, f"{shown_path(path)}: {unread.what}: {unread.kind}; others are not named here")


def _log_once(key: str, text: str, *, is_known: bool = False) -> None:
    """Logs a warning, unless it or another one with its key was, in this process or a worker of it, or it is known already."""
    slot = zlib.crc32(os.fsencode(key)) % len(_seen)
    if not _seen[slot] and not is_known:
        log.warning("%s", text)
    _seen[slot] = 1


@contextlib.contextmanager
def _library_lines() -> Iterator[list[str]]:
    """Collects what libjpeg, libpng and libtiff print on stderr meanwhile, without the file's name; other text goes on."""
    lines: list[str] = []
    with _decoding, tempfile.TemporaryFile() as caught:
        try:
            stderr = os.dup(2)
        except OSError:  # no stderr
            yield lines
            return
        os.dup2(caught.fileno(), 2)
        try:
            yield lines
        finally:
            os.dup2(stderr, 2)
            if size := os.fstat(caught.fileno()).st_size:
                for line in os.pread(caught.fileno(), min(size, 1 << 16), 0).decode("utf-8", "replace").splitlines():
                    if _LIBRARIES.match(line):
                        lines.append(line.strip()[:200])
                    else:
                        os.write(stderr, f"{line}\n".encode())
            os.close(stderr)


def _fits(image: np.ndarray, size: tuple[int, int], reduce: int) -> bool:
    return all(
        int(want) // reduce <= have <= -(-int(want) // reduce)
        for have, want in zip(image.shape[:2], size, strict=True)
    )
