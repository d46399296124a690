"""Functions without parameters: normalisation of images, halving and doubling of maps."""

from collections.abc import Callable

import mindspore as ms
from mindspore import Tensor, ops

from yolox.config import InputSpec
from yolox.native import planes_operator


def images_to_planes(images: Tensor) -> Tensor:  # [B,H,W,C] -> [B,C,H,W]
    """Converts images to planes.

    Args:
        images: ``[B, H, W, C]`` of any dtype.

    Returns:
        ``[B, C, H, W]`` float32 of the same numbers.
    """
    return ops.cast(images, ms.float32).transpose(0, 3, 1, 2)


def planes_function(spec: InputSpec) -> Callable:
    """Returns `images_to_planes` for images of a spec, on CPU as a native kernel where `yolox.native` has it.

    Args:
        spec: pixels that a detector takes.

    Returns:
        Function of the images that `normalize_images` takes for this spec, without gradient.
    """
    return (planes_operator() if spec.max_value == 255 else None) or images_to_planes


def normalize_images(  # [B,H,W,C] -> [B,C,H,W]
    images: Tensor, *, spec: InputSpec, planes_of: Callable = images_to_planes
) -> Tensor:
    """Converts loaded images to network input.

    Call it first in a jitted step: bytes travel to the device, a quarter of what floats would need, and every
    set of weights gets the pixels of its own convention.

    Args:
        images: ``[B, H, W, 3]`` uint8 BGR, 0 to 255, as OpenCV reads them; of another number of channels or of uint16, as
            ``spec.channels`` and ``spec.max_value`` say.
        spec: channel order, pixel scale, mean and standard deviation of the weights.
        planes_of: converts the images to planes; `planes_function` has the fastest one.

    Returns:
        ``[B, C, H, W]`` float32 in the channel order of `spec`, times 255 / ``spec.max_value`` and ``spec.pixel_scale``, minus
        ``spec.mean``, divided by ``spec.std``.

    Raises:
        ValueError: if `images` has another type or number of channels.

    Source: input conventions of Megvii's YOLOX (BGR, 0 to 255) and MindYOLO (RGB, 0 to 1).

    Example:
        >>> import numpy as np
        >>> from mindspore import Tensor
        >>> image = Tensor(np.array([[[[10, 20, 255]]]], np.uint8))
        >>> normalize_images(image, spec=InputSpec(channel_order="rgb")).asnumpy().ravel().tolist()
        [255.0, 20.0, 10.0]
    """
    kind = ms.uint8 if spec.max_value == 255 else ms.uint16
    if images.ndim != 4 or images.shape[-1] != spec.channels or images.dtype != kind:
        raise ValueError(f"normalize_images: got {images.dtype} {images.shape}, want {kind} [B, H, W, {spec.channels}]")
    planes = planes_of(images)
    if spec.channel_order == "rgb" and spec.channels >= 3:
        parts = (planes[:, 2:3], planes[:, 1:2], planes[:, 0:1])
        planes = ops.cat(parts if spec.channels == 3 else (*parts, planes[:, 3:]), axis=1)
    scale = spec.pixel_scale * 255 / spec.max_value
    planes = planes if scale == 1.0 else planes * scale
    if spec.mean != (0.0, 0.0, 0.0) or spec.std != (1.0, 1.0, 1.0):
        planes = (planes - Tensor(spec.mean, ms.float32).reshape(3, 1, 1)) / Tensor(spec.std, ms.float32).reshape(3, 1, 1)
    return planes


def space_to_depth(x):  # [B,C,H,W] -> [B,4C,H/2,W/2]
    """Moves the four pixels of every 2x2 cell into channels: top left, bottom left, top right, bottom right.

    Args:
        x: [B,C,H,W], any dtype, H and W even.

    Returns:
        [B,4C,H/2,W/2] of the same dtype; the channels of one quarter stay together.

    Raises:
        ValueError: H or W is odd.

    Example:
        >>> import mindspore as ms
        >>> space_to_depth(ms.Tensor([[[[1, 2], [3, 4]]]])).flatten().asnumpy().tolist()
        [1, 3, 2, 4]
    """
    batch, channels, height, width = x.shape
    if height % 2 or width % 2:
        raise ValueError(f"space_to_depth: x has shape {x.shape}, want even height and width")
    # On CPU twenty times as fast as four strided slices joined (8x3x416x416: 4.4 ms against 87 ms).
    x = x.reshape(batch, channels, height // 2, 2, width // 2, 2)
    return x.transpose(0, 5, 3, 1, 2, 4).reshape(batch, 4 * channels, height // 2, width // 2)


def upsample2x(x):  # [B,C,H,W] -> [B,C,2H,2W]
    """Repeats every pixel twice along height and width (nearest neighbour).

    Args:
        x: [B,C,H,W] float.

    Returns:
        [B,C,2H,2W] of the same dtype.

    Example:
        >>> import mindspore as ms
        >>> upsample2x(ms.Tensor([[[[1.0, 2.0]]]])).asnumpy()[0, 0].tolist()
        [[1.0, 1.0, 2.0, 2.0], [1.0, 1.0, 2.0, 2.0]]
    """
    batch, channels, height, width = x.shape
    # Forward and backward as fast on CPU as ops.interpolate, which is the next best of seven forms.
    x = x.reshape(batch, channels, height, 1, width, 1).broadcast_to((batch, channels, height, 2, width, 2))
    return x.reshape(batch, channels, 2 * height, 2 * width)
