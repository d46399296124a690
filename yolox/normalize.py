"""From loaded images to what the network takes."""

import mindspore as ms
from mindspore import Tensor, ops

from yolox.config import InputSpec


def normalize_images(images: Tensor, *, spec: InputSpec) -> Tensor:  # [B,H,W,3] -> [B,3,H,W]
    """Turn images as they were loaded into network input.

    Call it first in a jitted step: bytes travel to the device, a quarter of what floats would need, and every
    set of weights gets the pixels of its own convention.

    Args:
        images: ``[B, H, W, 3]`` uint8 BGR, 0 to 255, as OpenCV reads them.
        spec: channel order and pixel scale of the weights.

    Returns:
        ``[B, 3, H, W]`` float32 in the channel order of `spec`, times ``spec.pixel_scale``.

    Raises:
        ValueError: if `images` is not uint8 ``[B, H, W, 3]``.

    Source: input conventions of Megvii's YOLOX (BGR, 0 to 255) and MindYOLO (RGB, 0 to 1).

    Example:
        >>> import numpy as np
        >>> from mindspore import Tensor
        >>> image = Tensor(np.array([[[[10, 20, 255]]]], np.uint8))
        >>> normalize_images(image, spec=InputSpec(channel_order="rgb")).asnumpy().ravel().tolist()
        [255.0, 20.0, 10.0]
    """
    if images.ndim != 4 or images.shape[-1] != 3 or images.dtype != ms.uint8:
        raise ValueError(f"normalize_images: got {images.dtype} {images.shape}, want UInt8 [B, H, W, 3]")
    planes = ops.cast(images, ms.float32).transpose(0, 3, 1, 2)
    if spec.channel_order == "rgb":
        planes = ops.cat((planes[:, 2:3], planes[:, 1:2], planes[:, 0:1]), axis=1)
    return planes if spec.pixel_scale == 1.0 else planes * spec.pixel_scale
