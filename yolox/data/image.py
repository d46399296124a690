"""Image files to uint8 BGR pixels."""

from __future__ import annotations

import os

import cv2
import numpy as np

from yolox.data.orientation import QUARTER_TURNS, tiff_orientation
from yolox.data.stated import stated_size
from yolox.errors import DataError

REDUCTIONS = {
    1: cv2.IMREAD_COLOR,
    2: cv2.IMREAD_REDUCED_COLOR_2,
    4: cv2.IMREAD_REDUCED_COLOR_4,
    8: cv2.IMREAD_REDUCED_COLOR_8,
}

MAX_PIXELS = 1 << 27
"""Most pixels of an image file, 134 million: 400 MB when decoded."""


def read_image(
    path: str, *, size: tuple[int, int] | None = None, reduce: int = 1, max_pixels: int = MAX_PIXELS
) -> np.ndarray:
    """Read an image file as uint8 BGR, at full size or decoded at 1/2, 1/4 or 1/8 of it.

    JPEG decoding at reduced size costs a fraction of the time and averages the pixels, which a tile that will
    shrink needs anyway. Grey, palette, RGBA and 16-bit images become three channels of 8 bits; alpha is
    dropped. An EXIF rotation is applied, unless `size` shows that the annotations were made on the stored
    pixels.

    Args:
        path: the file.
        size: height and width in pixels that the annotations state; None accepts any.
        reduce: 1, 2, 4 or 8.
        max_pixels: an image whose header states more is refused before it is decoded.

    Returns:
        [H,W,3] uint8; reduced images have ceil or floor of size / reduce, and pixel i covers i * reduce
        onwards.

    Raises:
        DataError: the file is missing, is none of JPEG, PNG, BMP, TIFF and WebP, states more pixels than allowed,
            is a TIFF whose orientation turns it by a quarter, cannot be decoded, or has another size than annotated.
    """
    _check_header(path, max_pixels)
    image = _decode(path, REDUCTIONS[reduce])
    if size is None or _fits(image, size, reduce):
        return image
    stored = _decode(path, REDUCTIONS[reduce] | cv2.IMREAD_IGNORE_ORIENTATION)
    if _fits(stored, size, reduce):
        return stored
    found = image.shape[:2] if reduce == 1 else read_image(path, max_pixels=max_pixels).shape[:2]
    raise DataError(
        f"{path}: the image is {found[1]}x{found[0]}, its annotation says {size[1]}x{size[0]}"
        f"{' (turned by EXIF?)' if found == tuple(size)[::-1] else ''}"
    )


def shrink_image(image: np.ndarray, reduce: int) -> np.ndarray:  # [H,W,3] -> [H//r,W//r,3]
    """Average blocks of `reduce` x `reduce` pixels: reduced decoding for pixels already in memory.

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
    return cv2.resize(whole, (width, height), interpolation=cv2.INTER_AREA)


def _check_header(path: str, max_pixels: int) -> None:
    if not os.path.isfile(path):  # a pipe or a device would never end
        raise DataError(f"{path}: no such image file")
    try:
        with open(path, "rb") as file:
            stated, orientation = stated_size(file), tiff_orientation(file)
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from None
    if stated is None:
        raise DataError(f"{path}: cannot be decoded as an image (no header of JPEG, PNG, BMP, TIFF or WebP)")
    if stated[0] * stated[1] > max_pixels:
        raise DataError(
            f"{path}: states {stated[1]}x{stated[0]} pixels, more than max_pixels={max_pixels}; not decoded"
        )
    if orientation in QUARTER_TURNS:
        raise DataError(
            f"{path}: is a TIFF of orientation {orientation}, turned by a quarter, which OpenCV cannot decode; save it upright"
        )


def _decode(path: str, flags: int) -> np.ndarray:
    try:
        image = cv2.imread(path, flags)
    except cv2.error as error:
        raise DataError(f"{path}: cannot be decoded as an image ({error.err})") from None
    if image is None:
        raise DataError(f"{path}: cannot be decoded as an image")
    return image


def _fits(image: np.ndarray, size: tuple[int, int], reduce: int) -> bool:
    return all(
        int(want) // reduce <= have <= -(-int(want) // reduce)
        for have, want in zip(image.shape[:2], size, strict=True)
    )
