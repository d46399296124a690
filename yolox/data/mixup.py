"""Mixup: two images laid over each other, with the boxes of both."""

from __future__ import annotations

import attrs
import cv2
import numpy as np

from yolox.config import AugmentConfig, Size
from yolox.data.affine import map_boxes, reduction_for, scaling
from yolox.data.image import shrink_image
from yolox.data.letterbox import fitted_size
from yolox.data.sample import Sample, clip_boxes


@attrs.frozen(eq=False)
class PartnerPlan:
    """Size, flip and place of the raw partner image under the first image.

    Args:
        size: (height, width) px of the result.
        image_size: (height, width) px of the partner image.
        resized: (height, width) px to which the partner image is resized.
        flip: whether it is mirrored.
        letterbox: int x1, y1, x2, y2, the partner's zoomed letterbox in px of the result; black outside.
    """

    size: Size
    image_size: Size
    resized: Size
    flip: bool
    letterbox: tuple[int, int, int, int]

    @property
    def matrix(self) -> np.ndarray:  # [2,3]
        """The [2,3] map from px of the partner image to px of the result."""
        zoom_y, zoom_x = (new / old for new, old in zip(self.resized, self.image_size, strict=True))
        left, top, right, _ = self.letterbox
        return scaling(-zoom_x, zoom_y, right, top) if self.flip else scaling(zoom_x, zoom_y, left, top)


def draw_partner_plan(
    image_size: Size, *, size: Size, rng: np.random.Generator, config: AugmentConfig
) -> PartnerPlan:
    """Draws zoom, flip and crop of the partner at random.

    Args:
        image_size: (height, width) px of the partner image.
        size: (height, width) px of the result.
        rng: source of randomness.
        config: `mixup_scale`.

    Returns:
        PartnerPlan: the image fitted into the size at its top left, zoomed, flipped with probability one
        half, and cropped at random where it has become larger than the size.

    Source:
        Megvii's recipe.
    """
    zoom, flip = rng.uniform(*config.mixup_scale), bool(rng.random() < 0.5)
    extent = tuple(max(int(side * zoom), 1) for side in size)
    fitted = fitted_size(image_size, size)
    resized = tuple(max(round(f * e / s), 1) for f, e, s in zip(fitted, extent, size, strict=True))
    left, top = (-int(rng.integers(0, max(extent[axis] - size[axis], 1))) for axis in (1, 0))
    letterbox = (left, top, left + extent[1], top + extent[0])
    return PartnerPlan(tuple(size), tuple(image_size), resized, flip, letterbox)


def render_partner(
    plan: PartnerPlan, load, boxes: np.ndarray, classes: np.ndarray, *, pad_value: int = 114
) -> Sample:
    """Loads the partner at a sufficient size and draws it.

    Args:
        plan: from `draw_partner_plan`.
        load: function of `reduce` (1, 2, 4, 8) to the partner's pixels [h,w,3] uint8 at that reduction.
        boxes: [N,4] xyxy px of the partner image.
        classes: [N].
        pad_value: grey level of the partner's letterbox.

    Returns:
        Sample of the plan's size, boxes clipped to it.
    """
    height, width = plan.size
    left, top, right, bottom = plan.letterbox
    canvas = np.zeros((height, width, 3), np.uint8)
    canvas[: min(bottom, height), : min(right, width)] = pad_value
    resized = cv2.resize(load(reduction_for(plan.matrix)), plan.resized[::-1], interpolation=cv2.INTER_LINEAR)
    if plan.flip:
        left, resized = right - plan.resized[1], cv2.flip(resized, 1)
    visible = resized[-top : height - top, max(-left, 0) : max(width - left, 0)]
    canvas[: visible.shape[0], max(left, 0) : max(left, 0) + visible.shape[1]] = visible
    return Sample(canvas, clip_boxes(map_boxes(boxes, plan.matrix), height=height, width=width), classes)


def blend(first: Sample, second: Sample, *, weight: float = 0.5) -> Sample:
    """Blends two samples of one size; the result has the boxes of the first, then those of the second.

    Args:
        first: a sample.
        second: a sample of the same size.
        weight: share of the first image.

    Returns:
        Sample.

    Raises:
        ValueError: when the sizes differ.

    Example:
        >>> from yolox.data.sample import empty_sample
        >>> black, white = (empty_sample(np.full((2, 2, 3), v, np.uint8)) for v in (0, 200))
        >>> int(blend(black, white).image[0, 0, 0])
        100
    """
    if first.image.shape != second.image.shape:
        raise ValueError(f"blend: images are {first.image.shape} and {second.image.shape}, want one size")
    image = cv2.addWeighted(first.image, weight, second.image, 1 - weight, 0)
    return Sample(
        image, np.concatenate([first.boxes, second.boxes]), np.concatenate([first.classes, second.classes])
    )


def mixup(
    sample: Sample, partner: Sample, *, rng: np.random.Generator, config: AugmentConfig, pad_value: int = 114
) -> Sample:
    """Lays a zoomed, flipped, cropped raw image under a sample, half and half.

    Args:
        sample: the first image; its size is the size of the result.
        partner: a raw sample of any size.
        rng: source of randomness; the same state gives the same result.
        config: `mixup_scale`.
        pad_value: grey level of the partner's letterbox.

    Returns:
        Sample with the boxes of both, clipped to the image; some may have no area left.

    Source:
        Megvii's recipe. MindYOLO blends two mosaics instead: `blend` with a weight from Beta(8, 8).
    """
    plan = draw_partner_plan(partner.image.shape[:2], size=sample.image.shape[:2], rng=rng, config=config)
    drawn = render_partner(
        plan,
        lambda reduce: shrink_image(partner.image, reduce),
        partner.boxes,
        partner.classes,
        pad_value=pad_value,
    )
    return blend(sample, drawn)
