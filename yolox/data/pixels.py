"""Pixels in memory, of any number of channels and 8 or 16 bits: conversions; and the decoding of what OpenCV does not decode."""

from __future__ import annotations

import io
import math
import os
import sys
import zlib
from typing import BinaryIO

import cv2
import numpy as np

from yolox.config import InputSpec
from yolox.data.content import counted
from yolox.errors import DataError

NUMPY_MAGIC = b"\x93NUMPY"
TIFF_MAGICS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
MAX_CHANNELS = 64
MAX_BYTES = 1 << 29
"""Most bytes of the pixels of a NumPy array or a TIFF of many channels: those of the largest image with four 8-bit channels."""
_COMPRESSIONS = (1, 5, 8, 32773, 32946)  # none, LZW, deflate, PackBits, deflate
_DEFLATE = (8, 32946)
_TYPES = (np.dtype(np.uint8), np.dtype(np.uint16))


def with_axis(image: np.ndarray) -> np.ndarray:  # [H,W] or [H,W,C] -> [H,W,C]
    """Returns an image with its axis of channels, which OpenCV drops from results of one channel.

    Args:
        image: any.

    Returns:
        The image, as [H,W,1] where it is [H,W].

    Example:
        >>> with_axis(np.zeros((4, 6), np.uint8)).shape, with_axis(np.zeros((4, 6, 5), np.uint8)).shape
        ((4, 6, 1), (4, 6, 5))
    """
    return image[..., None] if image.ndim == 2 else image


def pad_level(spec: InputSpec) -> int:
    """Returns the pixel value of the padding: the grey level of `spec` on the scale of its `max_value`.

    Args:
        spec: the input.

    Returns:
        A whole number.

    Example:
        >>> pad_level(InputSpec()), pad_level(InputSpec(max_value=65535))
        (114, 29298)
    """
    return round(spec.pad_value * spec.max_value / 255)


def swap_red_and_blue(image: np.ndarray) -> np.ndarray:  # [...,C] -> [...,C]
    """Swaps the first and the third channel, RGB to BGR or back; images of fewer than three channels stay as they are.

    Args:
        image: [...,C].

    Returns:
        The same type and shape.

    Example:
        >>> swap_red_and_blue(np.arange(5)).tolist(), swap_red_and_blue(np.arange(1)).tolist()
        ([2, 1, 0, 3, 4], [0])
    """
    channels = image.shape[-1]
    return image if channels < 3 else np.take(image, [2, 1, 0, *range(3, channels)], axis=-1)


def to_pixel_type(image: np.ndarray, max_value: int) -> np.ndarray:
    """Converts an image between 8 and 16 bits where `max_value` asks for the other.

    Args:
        image: uint8 or uint16.
        max_value: as in `InputSpec`: 255 wants 8 bits, which are the upper ones of 16; more wants 16 bits, in which 255 becomes
            `max_value`.

    Returns:
        uint8 or uint16; the image itself where nothing is to be done.

    Example:
        >>> to_pixel_type(np.array([255], np.uint8), 4095).tolist(), to_pixel_type(np.array([65535], np.uint16), 255).tolist()
        ([4095], [255])
    """
    if max_value == 255:
        narrow = image.dtype == np.uint8
        return image if narrow else np.right_shift(image, 8, out=np.empty(image.shape, np.uint8), casting="unsafe")
    if image.dtype == np.uint16:
        return image
    return np.round(np.arange(256) * (max_value / 255)).astype(np.uint16)[image]


def convert_channels(image: np.ndarray, *, channels: int, max_value: int, name: str = "an image") -> np.ndarray:
    """Converts an image in memory to the channels and the type of an input.

    Args:
        image: [H,W] or [H,W,C], uint8 or uint16; three channels are BGR.
        channels: that are wanted. Colour becomes grey, and grey becomes colour; no other number is made up.
        max_value: as in `InputSpec`.
        name: of the image, for the error.

    Returns:
        [H,W,channels] uint8, or uint16 where `max_value` is above 255.

    Raises:
        DataError: the image has another number of channels.

    Example:
        >>> convert_channels(np.full((2, 2, 3), 50, np.uint8), channels=1, max_value=255).tolist()[0]
        [[50], [50]]
    """
    image = to_pixel_type(with_axis(image), max_value)
    if image.shape[2] == channels:
        return image
    if channels == 1 and image.shape[2] == 3:
        return cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)[..., None]
    if channels == 3 and image.shape[2] == 1:
        return np.repeat(image, 3, axis=2)
    raise DataError(f"{name}: has {counted(image.shape[2], 'channel')}, want {channels} (`channels`)")


def shrink_image(image: np.ndarray, reduce: int) -> np.ndarray:  # [H,W,3] -> [H//r,W//r,3]
    """Averages blocks of `reduce` x `reduce` pixels: reduced decoding for pixels already in memory.

    Args:
        image: [H,W,3] uint8.
        reduce: 1 (returned as it is), 2, 4 or 8.

    Returns:
        [H//reduce, W//reduce, 3] uint8; a rest at the right and lower edge is left out.
    """
    if reduce == 1:
        return image
    height, width = (max(side // reduce, 1) for side in image.shape[:2])
    whole = image[: height * reduce, : width * reduce]
    return with_axis(cv2.resize(whole, (width, height), interpolation=cv2.INTER_AREA))


def is_pil_image(image) -> bool:
    """Returns whether a value is an image of Pillow, without importing Pillow.

    Args:
        image: any value.

    Returns:
        False where nobody has imported ``PIL.Image``.
    """
    pil = sys.modules.get("PIL.Image")
    return pil is not None and isinstance(image, pil.Image)


def pil_to_bgr(image, *, max_pixels: int) -> np.ndarray:  # -> [H,W,3] uint8
    """Converts an image of Pillow to BGR pixels, upright; 16 bits become 8 by division.

    Args:
        image: a `PIL.Image.Image`.
        max_pixels: a larger one is refused.

    Returns:
        [H,W,3] uint8 BGR.

    Raises:
        DataError: the image is larger, or its file is damaged.
        ValueError: its pixels are numbers of 32 bits, whose range is not known.
    """
    from PIL import ImageOps

    if image.width * image.height > max_pixels:
        raise DataError(f"a PIL image has {image.width}x{image.height} pixels, more than {max_pixels}")
    if image.mode in ("I", "F"):
        raise ValueError(f"a PIL image is of mode {image.mode}, whose range is not known; want RGB, L or another of 8 bits")
    try:
        upright = ImageOps.exif_transpose(image)
        if upright.mode.startswith("I;16"):  # convert() would cut off at 255
            return np.repeat((np.asarray(upright) >> 8).astype(np.uint8)[..., None], 3, axis=2)
        return np.ascontiguousarray(np.asarray(upright.convert("RGB"))[..., ::-1])
    except (OSError, SyntaxError) as error:  # its pixels are decoded only now
        raise DataError(f"a PIL image ({getattr(image, 'filename', '') or image.mode}) cannot be decoded ({error})") from None


def viewable(image: np.ndarray) -> np.ndarray:  # [H,W,C] -> [H,W,3] uint8
    """Returns an image as a picture that can be drawn on and looked at.

    One or two channels show the first as grey, of more than three the first three are shown. Of 16 bits the brightest pixel
    becomes white.

    Args:
        image: [H,W] or [H,W,C], uint8 or uint16; the first three of many channels in the order blue, green, red.

    Returns:
        [H,W,3] uint8 BGR; the image itself where it is that.

    Example:
        >>> viewable(np.full((1, 1, 1), 7, np.uint8)).tolist(), viewable(np.array([[[1, 2, 300, 9]]], np.uint16)).tolist()
        ([[[7, 7, 7]]], [[[1, 2, 255]]])
    """
    image = with_axis(image)
    shown = image if image.shape[2] == 3 else image[..., :3] if image.shape[2] > 3 else np.repeat(image[..., :1], 3, axis=2)
    if shown.dtype != np.uint8:
        shown = np.round(shown * (255 / max(int(shown.max(initial=0)), 1))).astype(np.uint8)
    return np.ascontiguousarray(shown)


def decode_channels(data: bytes, name: str, *, channels: int, max_value: int, max_pixels: int) -> np.ndarray:
    """Decodes a file for an input of other than three 8-bit channels, or a NumPy array for any.

    Args:
        data: the content of an image file, or of an `.npy` file of uint8 or uint16, [H,W] or [H,W,C].
        name: of the file, for errors.
        channels: that are wanted. Image files of OpenCV's formats are converted between grey and colour. Others need the
            number that is wanted: PNG, TIFF (samples of a pixel, or one page a channel) and NumPy arrays.
        max_value: as in `InputSpec`.
        max_pixels: an array or a TIFF that states more is refused.

    Returns:
        [H,W,channels] uint8, or uint16 where `max_value` is above 255. Of three or more channels, the file's first three, red,
        green and blue, are returned as blue, green and red.

    Raises:
        DataError: the file cannot be decoded or has another number of channels.
    """
    if data.startswith(NUMPY_MAGIC):
        image = swap_red_and_blue(_array_of(data, name, max_pixels))
        if channels == 3 and image.shape[2] == 1:
            image = np.repeat(image, 3, axis=2)
    elif data.startswith(TIFF_MAGICS) and channels not in (1, 3):
        image = swap_red_and_blue(_tiff_of(data, name, max_pixels))
    else:
        image = _picture_of(data, name, channels, max_value)
    if image.shape[2] != channels:
        raise DataError(f"{name}: has {counted(image.shape[2], 'channel')}, want {channels} (`channels`)")
    return np.ascontiguousarray(to_pixel_type(image, max_value))


def array_size(path: str) -> tuple[int, int] | None:
    """Reads the height and width of an `.npy` file from its header.

    Args:
        path: the file.

    Returns:
        height and width in pixels; None where the file is no NumPy array.

    Raises:
        DataError: the file cannot be read, or its array is no image.
    """
    try:
        with open(path, "rb") as file:
            if file.read(len(NUMPY_MAGIC)) != NUMPY_MAGIC:
                return None
            file.seek(0)
            return _stated_array(file, os.fspath(path))[0][:2]
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from None


def _stated_array(file, name: str) -> tuple[tuple[int, ...], np.dtype]:
    """Reads the header of an array: shape and type, checked."""
    try:
        version = np.lib.format.read_magic(file)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, is_fortran, kind = read(file)
    except Exception as error:  # the header is a Python literal, whose parser raises a dozen unrelated types
        raise DataError(f"{name}: is a damaged NumPy array ({type(error).__name__}: {str(error)[:100]})") from None
    if kind not in _TYPES or len(shape) not in (2, 3) or is_fortran or (len(shape) == 3 and shape[2] > MAX_CHANNELS):
        order = " in Fortran's order" if is_fortran else ""
        want = f"uint8 or uint16, [H,W] or [H,W,C] with up to {MAX_CHANNELS} channels, in C's order"
        raise DataError(f"{name}: is an array of {str(kind)[:40]} {shape}{order}, want {want}")
    if 0 in shape:
        raise DataError(f"{name}: is an array of {shape}, which has no pixels")
    return shape, kind


def read_array_bytes(file: BinaryIO, name: str, max_pixels: int) -> bytes:
    """Reads as much of an `.npy` file as its array takes.

    Args:
        file: opened for reading bytes, at its start.
        name: of the file, for errors.
        max_pixels: an array that states more is refused before it is read.

    Returns:
        The header and the numbers, which may be cut off.

    Raises:
        DataError: the array is no image, or has more pixels, or more than `MAX_BYTES`.
    """
    shape, kind = _stated_array(file, name)
    _check_pixels(shape, name, max_pixels)
    size, start = math.prod(shape) * kind.itemsize, file.tell()
    _check_bytes(size, name)
    file.seek(0)
    return file.read(start + size)


def _check_bytes(size: int, name: str) -> None:
    if size > MAX_BYTES:
        raise DataError(f"{name}: has {size} bytes of pixels, more than the limit of {MAX_BYTES}; not decoded")


def _array_of(data: bytes, name: str, max_pixels: int) -> np.ndarray:
    file = io.BytesIO(data)
    shape, kind = _stated_array(file, name)
    _check_pixels(shape, name, max_pixels)
    count = math.prod(shape)
    if len(data) - file.tell() < count * kind.itemsize:
        raise DataError(f"{name}: is a NumPy array that is cut off")
    return with_axis(np.frombuffer(data, kind, count, file.tell()).reshape(shape))


def _tiff_of(data: bytes, name: str, max_pixels: int) -> np.ndarray:
    """Decodes the samples of a TIFF's one page, or its pages of one sample each, as channels."""
    try:
        import tifffile
    except ImportError:
        raise DataError(f"{name}: is a TIFF of many channels; pip install tifffile reads it") from None
    try:
        with tifffile.TiffFile(io.BytesIO(data)) as file:
            pages = [file.pages[index] for index in range(min(len(file.pages), MAX_CHANNELS + 1))]
            samples = [(page.imagelength, page.imagewidth, page.samplesperpixel) for page in pages]
            if len(set(samples)) != 1 or len(pages) * samples[0][2] > MAX_CHANNELS or (len(pages) > 1 and samples[0][2] > 1):
                raise DataError(f"{name}: is a TIFF of pages {samples[:3]}, want one page, or a page of one channel for each")
            _check_pixels(samples[0], name, max_pixels)
            _check_bytes(sum(page.nbytes for page in pages), name)
            for page in pages:
                _check_strips(page, data)
            image = np.concatenate([with_axis(_page_pixels(page)) for page in pages], axis=2)
    except DataError:
        raise
    except Exception as error:  # a damaged file raises whatever its numbers lead to
        if "imagecodecs" in str(error):
            raise DataError(f"{name}: is a TIFF compressed by LZW; to read it, pip install imagecodecs") from None
        raise DataError(f"{name}: cannot be decoded as TIFF ({type(error).__name__}: {str(error)[:100]})") from None
    if image.dtype not in _TYPES or image.shape[:2] != samples[0][:2]:
        raise DataError(f"{name}: is a TIFF of {image.dtype} {image.shape}, want uint8 or uint16")
    return image


def _check_strips(page, data: bytes) -> None:
    """Raises ValueError for parts of a page that unpack to more than they hold pixels of: tifffile unpacks them whole."""
    if int(page.compression) not in _COMPRESSIONS:
        raise ValueError(f"compressed by method {int(page.compression)}, want LZW, deflate, PackBits or none")
    if page.compression in _DEFLATE:
        most = page.nbytes + (1 << 16)
        for start, count in zip(page.dataoffsets, page.databytecounts, strict=True):
            if len(zlib.decompressobj().decompress(data[start : start + count], most + 1)) > most:
                raise ValueError(f"a part unpacks to more than {most} bytes")


def _page_pixels(page) -> np.ndarray:
    pixels = page.asarray()
    return np.moveaxis(pixels, 0, -1) if page.planarconfig == 2 and page.samplesperpixel > 1 else pixels


def _check_pixels(shape: tuple[int, ...], name: str, max_pixels: int) -> None:
    if shape[0] * shape[1] > max_pixels:
        raise DataError(f"{name}: states {shape[1]}x{shape[0]} pixels, more than `max_pixels` {max_pixels}; not decoded")


def _picture_of(data: bytes, name: str, channels: int, max_value: int) -> np.ndarray:
    flags = {1: cv2.IMREAD_GRAYSCALE, 3: cv2.IMREAD_COLOR}.get(channels, cv2.IMREAD_UNCHANGED)
    if max_value > 255 and flags != cv2.IMREAD_UNCHANGED:
        flags |= cv2.IMREAD_ANYDEPTH
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error as error:
        raise DataError(f"{name}: cannot be decoded as an image ({error.err})") from None
    if image is None or image.dtype not in _TYPES:
        raise DataError(f"{name}: cannot be decoded as an image" + ("" if image is None else f" of {image.dtype}"))
    return with_axis(image)
