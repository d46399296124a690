"""Decodes raw head maps to boxes in pixels and encodes boxes back.

Channels of a raw map are box (4), objectness (1), classes (C), in this order.
"""

import numpy as np
from mindspore import Tensor, ops

from yolox.errors import check_last_dim, check_rank


def make_points(size: tuple[int, int], strides: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    # (H,W) -> [P,2], [P]
    """Returns the prediction points of all levels of an image.

    Call it once for each image size, on the host, and make Tensors of the results: decoding, assignment and
    losses take them as arguments.

    Args:
        size: height and width of the network input in pixels.
        strides: pixels between neighbouring points, a number for each level, in the order of the head's maps.

    Returns:
        points: ``[P, 2]`` float32, x and y of the cell centres ``(i + 0.5) * stride`` in pixels. Levels
            follow each other in the order of `strides`; within a level x runs fastest.
        point_strides: ``[P]`` float32, the stride in pixels of each point.

    Raises:
        ValueError: if there are no strides, or height or width is not a positive multiple of each.

    Source: Ge et al., YOLOX (arXiv:2107.08430), section 2.1, one point a location as in FCOS
        (arXiv:1904.01355). Megvii stores cell indices; centres carry the same information and serve both
        decoding and the centre prior.

    Example:
        >>> points, point_strides = make_points((16, 32), (8, 16))
        >>> points.shape, points[1].tolist(), points[-1].tolist(), point_strides[-1].item()
        ((10, 2), [12.0, 4.0], [24.0, 8.0], 16.0)
    """
    _check(size, strides)
    levels = [_level_points(size, stride) for stride in strides]
    point_strides = np.repeat(np.array(strides, np.float32), [len(level) for level in levels])
    return np.concatenate(levels), point_strides


def _level_points(size: tuple[int, int], stride: int) -> np.ndarray:  # -> [h*w,2]
    height, width = size[0] // stride, size[1] // stride
    y, x = np.meshgrid(np.arange(height), np.arange(width), indexing="ij")
    cells = np.stack((x, y), axis=-1).reshape(-1, 2)
    return ((cells + 0.5) * stride).astype(np.float32)


def _check(size: tuple[int, int], strides: tuple[int, ...]) -> None:
    if not strides or any(stride <= 0 for stride in strides):
        raise ValueError(f"make_points: strides are {tuple(strides)}, want at least one positive stride")
    if any(side <= 0 or side % stride for side in size for stride in strides):
        raise ValueError(f"make_points: size is {tuple(size)}, want positive multiples of {tuple(strides)}")


MAX_LOG_SIZE = 10.0
"""Largest raw width or height that is decoded, exp(10) = 22,026 strides. Keeps boxes finite in float32."""


def flatten_levels(maps: tuple[Tensor, ...]) -> Tensor:  # ([B,K,H,W], ...) -> [B,P,K]
    """Concatenates the maps of all levels to one row a point.

    Call it on the output of the head; the order of rows is that of `make_points`.

    Args:
        maps: one ``[B, K, H, W]`` tensor a level, finest first, any float dtype.

    Returns:
        ``[B, P, K]`` of the same dtype, P the sum of ``H * W`` over levels.

    Raises:
        ValueError: if a map is not four-dimensional, or maps differ in batch or channels.

    Example:
        >>> from mindspore import ops
        >>> flatten_levels((ops.zeros((2, 85, 4, 6)), ops.zeros((2, 85, 2, 3)))).shape
        (2, 30, 85)
    """
    rows = []
    for level in maps:
        check_rank("flatten_levels", "a map", level.shape, "B,K,H,W")
        if level.shape[:2] != maps[0].shape[:2]:
            raise ValueError(f"flatten_levels: a map is {level.shape}, want {maps[0].shape[:2]} in front")
        rows.append(level.reshape(level.shape[0], level.shape[1], -1))
    return ops.cat(rows, axis=2).transpose(0, 2, 1)


def split_predictions(raw: Tensor) -> tuple[Tensor, Tensor, Tensor]:  # [B,P,5+C] -> [B,P,4], [B,P], [B,P,C]
    """Splits raw predictions into boxes, objectness and classes.

    Args:
        raw: ``[B, P, 5 + C]`` float, from `flatten_levels`, with at least one class.

    Returns:
        ``(raw_boxes [B, P, 4], obj_logits [B, P], cls_logits [B, P, C])``, before any sigmoid.

    Raises:
        ValueError: if `raw` is not ``[B, P, 5 + C]`` with C >= 1.

    Example:
        >>> from mindspore import ops
        >>> [part.shape for part in split_predictions(ops.zeros((2, 30, 85)))]
        [(2, 30, 4), (2, 30), (2, 30, 80)]
    """
    check_rank("split_predictions", "raw", raw.shape, "B,P,5+C")
    if raw.shape[-1] < 6:
        raise ValueError(f"split_predictions: raw has {raw.shape[-1]} channels, want 5 + num_classes >= 6")
    return raw[..., :4], raw[..., 4], raw[..., 5:]


def decode_boxes(raw: Tensor, points: Tensor, point_strides: Tensor) -> Tensor:
    # [B,P,4+],[P,2],[P] -> [B,P,4]
    """Decodes raw predictions to boxes.

    Call it before assignment, the IoU loss, or NMS.

    Args:
        raw: ``[B, P, 4]`` or more channels, float: offsets from the cell's corner in strides, then the
            logarithm of the size in strides.
        points: ``[P, 2]`` float32 cell centres in pixels, from `make_points`.
        point_strides: ``[P]`` float32 in pixels.

    Returns:
        ``[B, P, 4]`` cxcywh in pixels; widths and heights are positive and, for finite `raw`, finite.

    Raises:
        ValueError: if `raw` has fewer than 4 channels, or its P is not that of `points` and `point_strides`.

    Source: Ge et al., YOLOX (arXiv:2107.08430), section 2.1. Deviation: sizes stop at exp(`MAX_LOG_SIZE`)
        strides, so that one exploding prediction does not make every loss of the batch infinite.

    Example:
        >>> from mindspore import Tensor
        >>> raw = Tensor([[[0.5, 0.5, 0.0, 0.0]]])
        >>> decode_boxes(raw, Tensor([[12.0, 4.0]]), Tensor([8.0])).asnumpy().tolist()
        [[[12.0, 4.0, 8.0, 8.0]]]
    """
    _check_points("decode_boxes", raw, points, point_strides)
    if 0 in raw.shape:  # compiled slices of nothing end the process
        return ops.zeros((*raw.shape[:-1], 4), raw.dtype)
    stride = ops.expand_dims(point_strides, -1)
    center = raw[..., :2] * stride + (points - 0.5 * stride)
    size = ops.exp(ops.clamp(raw[..., 2:4], max=MAX_LOG_SIZE)) * stride
    return ops.cat((center, size), axis=-1)


def encode_boxes(boxes: Tensor, points: Tensor, point_strides: Tensor, *, eps: float = 1e-8) -> Tensor:
    # [B,P,4],[P,2],[P] -> [B,P,4]
    """Encodes boxes as the raw values that decode to them.

    Use it for the targets of the L1 loss: row p is what point p would have to predict.

    Args:
        boxes: ``[B, P, 4]`` float32 cxcywh in pixels, the box that each point should predict.
        points: ``[P, 2]`` float32 cell centres in pixels, from `make_points`.
        point_strides: ``[P]`` float32 in pixels.
        eps: least size in strides; a box without area (padding) encodes to finite numbers.

    Returns:
        ``[B, P, 4]`` raw values; ``decode_boxes(encode_boxes(b)) == b`` up to rounding.

    Raises:
        ValueError: if `boxes` has not 4 channels, or its P is not that of `points` and `point_strides`.

    Source: inverse of `decode_boxes`. Megvii adds 1e-8 to the size before the logarithm; here it is a floor.

    Example:
        >>> from mindspore import Tensor
        >>> box = Tensor([[[12.0, 4.0, 8.0, 8.0]]])
        >>> encode_boxes(box, Tensor([[12.0, 4.0]]), Tensor([8.0])).asnumpy().tolist()
        [[[0.5, 0.5, 0.0, 0.0]]]
    """
    check_last_dim("encode_boxes", "boxes", boxes.shape, 4)
    _check_points("encode_boxes", boxes, points, point_strides)
    if 0 in boxes.shape:
        return boxes
    stride = ops.expand_dims(point_strides, -1)
    offset = (boxes[..., :2] - (points - 0.5 * stride)) / stride
    log_size = ops.log(ops.clamp(boxes[..., 2:] / stride, min=eps))
    return ops.cat((offset, log_size), axis=-1)


def decode_predictions(maps: tuple[Tensor, ...], points: Tensor, point_strides: Tensor) -> Tensor:
    # ([B,5+C,H,W], ...),[P,2],[P] -> [B,P,5+C]
    """Decodes head maps to boxes and probabilities.

    This is the whole way from the network's output to what evaluation, NMS and exported models take.

    Args:
        maps: one ``[B, 5 + C, H, W]`` tensor a level, finest first.
        points: ``[P, 2]`` float32 cell centres in pixels, from `make_points`.
        point_strides: ``[P]`` float32 in pixels.

    Returns:
        ``[B, P, 5 + C]`` cxcywh in pixels, objectness, class probabilities; the last two in [0, 1].

    Raises:
        ValueError: if maps and points do not fit together.

    Source: Ge et al., YOLOX (arXiv:2107.08430). A class scores objectness times class probability.

    Example:
        >>> from mindspore import Tensor, ops
        >>> out = decode_predictions((ops.zeros((1, 6, 1, 1)),), Tensor([[4.0, 4.0]]), Tensor([8.0]))
        >>> out.asnumpy().tolist()
        [[[0.0, 0.0, 8.0, 8.0, 0.5, 0.5]]]
    """
    raw = flatten_levels(maps)
    return ops.cat((decode_boxes(raw, points, point_strides), ops.sigmoid(raw[..., 4:])), axis=-1)


def _check_points(function: str, rows: Tensor, points: Tensor, point_strides: Tensor) -> None:
    if rows.shape[-1] < 4:
        raise ValueError(f"{function}: raw has {rows.shape[-1]} channels, want at least 4")
    if points.shape != (rows.shape[-2], 2) or point_strides.shape != (rows.shape[-2],):
        raise ValueError(
            f"{function}: points are {points.shape} and point_strides {point_strides.shape}, "
            f"want [{rows.shape[-2]}, 2] and [{rows.shape[-2]}] for rows of shape {rows.shape}"
        )
