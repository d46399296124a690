"""Geometry prior: the points near the centre of a ground truth, or inside its box."""

import mindspore as ms
from mindspore import Tensor, ops

from yolox.config import AssignConfig
from yolox.errors import check_last_dim, check_rank


def center_prior(points: Tensor, point_strides: Tensor, gt_boxes: Tensor, *, radius: float) -> Tensor:
    # [P,2] or [B,P,2],[P] or [B,P],[B,G,4] -> [B,G,P]
    """Returns the mask of points near the centre of each ground truth.

    These are the candidate points of a ground truth under Megvii's rule. The region does not depend on the size of the
    box, so that even an object smaller than a stride has points.

    Args:
        points: ``[P, 2]`` float32 x, y in pixels, or ``[B, P, 2]`` where each image has its own.
        point_strides: ``[P]`` or ``[B, P]`` float32 in pixels.
        gt_boxes: ``[B, G, 4]`` float32 xyxy in pixels.
        radius: half side of the square region in strides; a point on its edge is outside.

    Returns:
        ``[B, G, P]`` bool. Rows of padding get the points near (0, 0): mask them by `valid`.

    Raises:
        ValueError: if `gt_boxes` is not ``[B, G, 4]``.

    Source: Ge et al., YOLOX (arXiv:2107.08430), section 2.1, "multi positives" and SimOTA; strictness and 1.5 strides as in
        Megvii's code.

    Example:
        >>> points, strides = Tensor([[4.0, 4.0], [12.0, 4.0], [20.0, 4.0]]), Tensor([8.0, 8.0, 8.0])
        >>> center_prior(points, strides, Tensor([[[0.0, 0.0, 10.0, 8.0]]]), radius=1.5).asnumpy().tolist()
        [[[True, True, False]]]
    """
    check_rank("center_prior", "gt_boxes", gt_boxes.shape, "B,G,4")
    check_last_dim("center_prior", "gt_boxes", gt_boxes.shape, 4)
    if 0 in gt_boxes.shape:  # compiled slices of nothing end the process
        return ops.zeros((*gt_boxes.shape[:2], points.shape[-2]), ms.bool_)
    center_x = (gt_boxes[..., 0:1] + gt_boxes[..., 2:3]) * 0.5
    center_y = (gt_boxes[..., 1:2] + gt_boxes[..., 3:4]) * 0.5
    reach = ops.expand_dims(radius * point_strides, -2)
    near_x = ops.abs(ops.expand_dims(points[..., 0], -2) - center_x) < reach
    near_y = ops.abs(ops.expand_dims(points[..., 1], -2) - center_y) < reach
    return ops.logical_and(near_x, near_y)


def in_box(points: Tensor, gt_boxes: Tensor) -> Tensor:  # [P,2] or [B,P,2],[B,G,4] -> [B,G,P]
    """Returns the mask of points inside each ground truth.

    These are the candidates of MindYOLO's rule. A box that is smaller than a stride may contain no point.

    Args:
        points: ``[P, 2]`` float32 x, y in pixels, or ``[B, P, 2]`` where each image has its own.
        gt_boxes: ``[B, G, 4]`` float32 xyxy in pixels.

    Returns:
        ``[B, G, P]`` bool; a point on an edge is outside.

    Raises:
        ValueError: if `gt_boxes` is not ``[B, G, 4]``.

    Source: Ge et al., OTA (arXiv:2103.14259).

    Example:
        >>> in_box(Tensor([[4.0, 4.0], [12.0, 4.0]]), Tensor([[[0.0, 0.0, 10.0, 8.0]]])).asnumpy().tolist()
        [[[True, False]]]
    """
    check_rank("in_box", "gt_boxes", gt_boxes.shape, "B,G,4")
    check_last_dim("in_box", "gt_boxes", gt_boxes.shape, 4)
    if 0 in gt_boxes.shape:
        return ops.zeros((*gt_boxes.shape[:2], points.shape[-2]), ms.bool_)
    x, y = ops.expand_dims(points[..., 0], -2), ops.expand_dims(points[..., 1], -2)
    between_x = ops.logical_and(x > gt_boxes[..., 0:1], x < gt_boxes[..., 2:3])
    between_y = ops.logical_and(y > gt_boxes[..., 1:2], y < gt_boxes[..., 3:4])
    return ops.logical_and(between_x, between_y)


def geometry_prior(
    points: Tensor, point_strides: Tensor, gt_boxes: Tensor, valid: Tensor, *, config: AssignConfig
) -> tuple[Tensor, Tensor]:  # [P,2],[P],[B,G,4],[B,G] -> [B,G,P],[B,P]
    """Computes the geometry prior of a config: the preferred points of each ground truth, and the candidate points.

    Args:
        points: ``[P, 2]`` float32 x, y in pixels, or ``[B, P, 2]`` where each image has its own.
        point_strides: ``[P]`` or ``[B, P]`` float32 in pixels.
        gt_boxes: ``[B, G, 4]`` float32 xyxy in pixels.
        valid: ``[B, G]`` bool, False for padding.
        config: its `prior` and `center_radius` are used.

    Returns:
        prior: ``[B, G, P]`` bool, points without penalty for the ground truth; all False in rows of padding.
        candidate_mask: ``[B, P]`` bool, candidate points of any ground truth.

    Raises:
        ValueError: if `gt_boxes` is not ``[B, G, 4]``.

    Source: "center" is Megvii's rule: the candidates are the union of all centre regions. "box_and_center" is MindYOLO's
        rule: candidates lie in any box, preferred ones in the box and the centre region of the ground truth. "box_or_center" is
        that of mmdetection, PaddleDetection and Megvii's code of 2021: candidates lie in any box or any centre region.

    Example:
        >>> points, strides = Tensor([[4.0, 4.0], [12.0, 4.0], [20.0, 4.0]]), Tensor([8.0, 8.0, 8.0])
        >>> prior, candidate_mask = geometry_prior(points, strides, Tensor([[[0.0, 0.0, 10.0, 8.0]]]), Tensor([[True]]),
        ...                             config=AssignConfig())
        >>> prior.asnumpy().tolist(), candidate_mask.asnumpy().tolist()
        ([[[True, True, False]]], [[True, True, False]])
    """
    if 0 in gt_boxes.shape:  # `any` over nothing reads memory of others
        batch, rows, count = gt_boxes.shape[0], gt_boxes.shape[1], points.shape[-2]
        return ops.zeros((batch, rows, count), ms.bool_), ops.zeros((batch, count), ms.bool_)
    prior = ops.logical_and(
        center_prior(points, point_strides, gt_boxes, radius=config.center_radius), ops.expand_dims(valid, -1)
    )
    if config.prior == "center":
        return prior, prior.any(1)
    inside = ops.logical_and(in_box(points, gt_boxes), ops.expand_dims(valid, -1))
    candidate = inside if config.prior == "box_and_center" else ops.logical_or(inside, prior)
    return ops.logical_and(prior, inside), candidate.any(1)
