"""Boxes as tensors: conversions between layouts, areas and overlaps.

Layouts are named, never guessed: ``xyxy`` corners, ``cxcywh`` centre and size, ``xywh`` corner and size. All
values are pixels of the network input. Every function is pure and works the same in eager and in graph mode.
"""

from mindspore import Tensor, ops

from yolox.errors import check_last_dim, check_rank


def cxcywh_to_xyxy(boxes: Tensor) -> Tensor:  # [...,4] -> [...,4]
    """Converts centre and size to corners.

    Use it on decoded predictions before IoU or drawing.

    Args:
        boxes: ``[..., 4]`` float, centre x, centre y, width, height in pixels.

    Returns:
        ``[..., 4]`` of the same dtype: left, top, right, bottom in pixels.

    Raises:
        ValueError: if the last dimension is not 4.

    Example:
        >>> from mindspore import Tensor
        >>> cxcywh_to_xyxy(Tensor([[10.0, 20.0, 4.0, 6.0]])).asnumpy().tolist()
        [[8.0, 17.0, 12.0, 23.0]]
    """
    check_last_dim("cxcywh_to_xyxy", "boxes", boxes.shape, 4)
    if 0 in boxes.shape:  # compiled slices of nothing end the process
        return boxes
    center, half = boxes[..., :2], boxes[..., 2:] * 0.5
    return ops.cat((center - half, center + half), axis=-1)


def xyxy_to_cxcywh(boxes: Tensor) -> Tensor:  # [...,4] -> [...,4]
    """Converts corners to centre and size.

    Use it on ground truths before encoding them as regression targets.

    Args:
        boxes: ``[..., 4]`` float, left, top, right, bottom in pixels.

    Returns:
        ``[..., 4]`` of the same dtype: centre x, centre y, width, height in pixels.

    Raises:
        ValueError: if the last dimension is not 4.

    Example:
        >>> from mindspore import Tensor
        >>> xyxy_to_cxcywh(Tensor([[8.0, 17.0, 12.0, 23.0]])).asnumpy().tolist()
        [[10.0, 20.0, 4.0, 6.0]]
    """
    check_last_dim("xyxy_to_cxcywh", "boxes", boxes.shape, 4)
    if 0 in boxes.shape:  # compiled slices of nothing end the process
        return boxes
    top_left, bottom_right = boxes[..., :2], boxes[..., 2:]
    return ops.cat(((top_left + bottom_right) * 0.5, bottom_right - top_left), axis=-1)


def xywh_to_xyxy(boxes: Tensor) -> Tensor:  # [...,4] -> [...,4]
    """Converts COCO's corner and size to corners.

    Use it on boxes that come straight from an annotation file.

    Args:
        boxes: ``[..., 4]`` float, left, top, width, height in pixels.

    Returns:
        ``[..., 4]`` of the same dtype: left, top, right, bottom in pixels.

    Raises:
        ValueError: if the last dimension is not 4.

    Example:
        >>> from mindspore import Tensor
        >>> xywh_to_xyxy(Tensor([[8.0, 17.0, 4.0, 6.0]])).asnumpy().tolist()
        [[8.0, 17.0, 12.0, 23.0]]
    """
    check_last_dim("xywh_to_xyxy", "boxes", boxes.shape, 4)
    if 0 in boxes.shape:  # compiled slices of nothing end the process
        return boxes
    top_left = boxes[..., :2]
    return ops.cat((top_left, top_left + boxes[..., 2:]), axis=-1)


def area(boxes: Tensor) -> Tensor:  # xyxy [...,4] -> [...]
    """Computes the areas of boxes.

    Use it for overlaps, or to sort objects by size.

    Args:
        boxes: ``[..., 4]`` float xyxy in pixels.

    Returns:
        ``[...]`` of the same dtype, width times height in square pixels; negative where exactly one side is
        inverted.

    Raises:
        ValueError: if the last dimension is not 4.

    Example:
        >>> from mindspore import Tensor
        >>> area(Tensor([[8.0, 17.0, 12.0, 23.0]])).asnumpy().tolist()
        [24.0]
    """
    check_last_dim("area", "boxes", boxes.shape, 4)
    return (boxes[..., 2] - boxes[..., 0]) * (boxes[..., 3] - boxes[..., 1])


def elementwise_iou(a: Tensor, b: Tensor, *, eps: float = 1e-8) -> Tensor:  # [...,4],[...,4] -> [...]
    """Computes the IoU of pairs of boxes.

    Use it for the IoU loss, one prediction and one ground truth. Leading dimensions broadcast, so that candidates
    ``[B,G,K,4]`` can be compared with their ground truths ``[B,G,1,4]``.

    Args:
        a: ``[..., 4]`` float xyxy in pixels.
        b: ``[..., 4]`` float xyxy in pixels, of the rank of `a`, leading dimensions broadcastable with its.
        eps: least union in square pixels. Two boxes without area have IoU 0 and a finite gradient; the IoU of
            all others is not changed.

    Returns:
        ``[...]`` intersection over union in [0, 1]; exactly 0 where boxes only touch.

    Raises:
        ValueError: if a last dimension is not 4, or shapes do not broadcast.

    Source: Everingham et al., The Pascal VOC challenge (IJCV 2010), without the extra pixel of its code.
        Where Megvii divides by ``union + 1e-16`` (no change in float32 but for 0/0), the union has a floor
        here.

    Example:
        >>> from mindspore import Tensor
        >>> elementwise_iou(Tensor([[0.0, 0.0, 4.0, 4.0]]), Tensor([[1.0, 0.0, 4.0, 4.0]])).asnumpy().tolist()
        [0.75]
    """
    _check_pair(a, b)
    return _iou(tuple(a[..., i] for i in range(4)), tuple(b[..., i] for i in range(4)), eps=eps)


def pairwise_iou(a: Tensor, b: Tensor, *, eps: float = 1e-8) -> Tensor:  # [B,N,4],[B,M,4] -> [B,N,M]
    """Computes the pairwise IoU of two sets of boxes, image by image.

    Use it to match ground truths with predictions.

    Args:
        a: ``[B, N, 4]`` float xyxy in pixels.
        b: ``[B, M, 4]`` float xyxy in pixels, of the same batch.
        eps: least union, as in `elementwise_iou`: pairs of empty (padding) boxes have IoU 0.

    Returns:
        ``[B, N, M]`` intersection over union in [0, 1]; ``pairwise_iou(a, b)[i, n, m]`` is the IoU of
        ``a[i, n]`` and ``b[i, m]``.

    Raises:
        ValueError: if `a` is not ``[B, N, 4]`` or `b` not ``[B, M, 4]`` of the same B.

    Source: as `elementwise_iou`.

    Example:
        >>> from mindspore import Tensor
        >>> a = Tensor([[[0.0, 0.0, 4.0, 4.0]]])
        >>> b = Tensor([[[0.0, 0.0, 4.0, 4.0], [0.0, 2.0, 4.0, 4.0], [4.0, 0.0, 8.0, 4.0]]])
        >>> pairwise_iou(a, b).asnumpy().tolist()
        [[[1.0, 0.5, 0.0]]]
    """
    check_rank("pairwise_iou", "a", a.shape, "B,N,4")
    check_rank("pairwise_iou", "b", b.shape, "B,M,4")
    check_last_dim("pairwise_iou", "a", a.shape, 4)
    check_last_dim("pairwise_iou", "b", b.shape, 4)
    if a.shape[0] != b.shape[0]:
        raise ValueError(f"pairwise_iou: a is {a.shape} and b {b.shape}, want the same batch")
    # The CPU's minimum and maximum are fifty times slower on operands that broadcast than on equal shapes.
    shape = (a.shape[0], a.shape[1], b.shape[1])
    if 0 in shape:
        return ops.zeros(shape, a.dtype)
    wide_a = tuple(ops.broadcast_to(ops.expand_dims(a[..., i], 2), shape) for i in range(4))
    wide_b = tuple(ops.broadcast_to(ops.expand_dims(b[..., i], 1), shape) for i in range(4))
    return _iou(wide_a, wide_b, eps=eps)


def _iou(a: tuple, b: tuple, *, eps: float) -> Tensor:  # four [...], four [...] -> [...]
    # One coordinate at a time: no [...,2] temporaries. relu has gradient 0 at 0: touching boxes do not pull.
    width = ops.relu(ops.minimum(a[2], b[2]) - ops.maximum(a[0], b[0]))
    height = ops.relu(ops.minimum(a[3], b[3]) - ops.maximum(a[1], b[1]))
    intersection = width * height
    union = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - intersection
    return intersection / ops.clamp(union, min=eps)


def _check_pair(a: Tensor, b: Tensor) -> None:
    check_last_dim("elementwise_iou", "a", a.shape, 4)
    check_last_dim("elementwise_iou", "b", b.shape, 4)
    if len(a.shape) != len(b.shape):
        raise ValueError(f"elementwise_iou: a is {a.shape} and b {b.shape}, want equal ranks")
    for m, n in zip(a.shape, b.shape):  # noqa: B905
        if m != n and m != 1 and n != 1:
            raise ValueError(f"elementwise_iou: a is {a.shape} and b {b.shape}, want them broadcastable")
