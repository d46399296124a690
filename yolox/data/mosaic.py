"""Mosaic and mixup: four images around a random centre, and two images laid over each other.

The published recipes paste the tiles of a mosaic onto a canvas of twice the size and warp that. Here each tile is drawn
once, from its own pixels straight to its final place; tiles that the map leaves outside are not even loaded.
"""

from __future__ import annotations

from collections.abc import Sequence

import attrs
import cv2
import numpy as np

from yolox.config import AugmentConfig, Size
from yolox.data.affine import (
    box_corners,
    compose,
    draw_warped,
    map_boxes,
    map_points,
    quad_bounds,
    random_affine_matrix,
    reduction_for,
    scaling,
    surviving_boxes,
)
from yolox.data.letterbox import fitted_size
from yolox.data.pixels import shrink_image, with_axis
from yolox.data.sample import Sample, clip_boxes


@attrs.frozen(eq=False)
class Tile:
    """Placement and region of one image of a mosaic.

    Args:
        placement: [2,3] from image px to px of the mosaic canvas (twice the network's input).
        region: [4] float xyxy, the part of the mosaic canvas that the image covers.
    """

    placement: np.ndarray
    region: np.ndarray


@attrs.frozen(eq=False)
class MosaicPlan:
    """All random values of a mosaic, drawn before any pixel is loaded.

    Args:
        size: (height, width) px of the result.
        tiles: four tiles.
        matrix: [2,3] from the mosaic canvas to the result.
        zoom: of that map.
    """

    size: Size
    tiles: tuple[Tile, ...]
    matrix: np.ndarray
    zoom: float


def draw_plan(
    image_sizes: Sequence[Size], *, size: Size, rng: np.random.Generator, config: AugmentConfig
) -> MosaicPlan:
    """Draws the centre and the map of a mosaic at random.

    Args:
        image_sizes: (height, width) px of four images: top left, top right, lower left, lower right.
        size: (height, width) px of the result.
        rng: source of randomness.
        config: ranges of the map.

    Returns:
        MosaicPlan. The centre is uniform between 0.5 and 1.5 of the size on a canvas of twice the size; every
        image is scaled to fit the size and touches the centre with its inner corner.

    Source:
        YOLOX, section 2.1; the numbers of Megvii's recipe.
    """
    centre = int(rng.uniform(0.5, 1.5) * size[1]), int(rng.uniform(0.5, 1.5) * size[0])  # x, y
    tiles = tuple(
        _tile(image_size, position, centre, size) for position, image_size in enumerate(image_sizes)
    )
    matrix, zoom = random_affine_matrix(
        canvas_size=(2 * size[0], 2 * size[1]), size=size, rng=rng, config=config
    )
    return MosaicPlan(size, tiles, matrix, zoom)


def _tile(image_size: Size, position: int, centre: tuple[int, int], size: Size) -> Tile:
    height, width = fitted_size(image_size, size)
    left = centre[0] - width if position % 2 == 0 else centre[0]
    top = centre[1] - height if position < 2 else centre[1]
    region = clip_boxes(
        np.array([[left, top, left + width, top + height]]), height=2 * size[0], width=2 * size[1]
    )[0]
    return Tile(scaling(width / image_size[1], height / image_size[0], left, top), region)


def tile_reduction(plan: MosaicPlan, position: int) -> int:
    """Returns at which reduction a tile's image is decoded: 1, 2, 4 or 8, or 0 when no pixel of it is visible.

    Args:
        plan: of the mosaic.
        position: of the tile, 0 to 3.

    Returns:
        The divisor for `read_image`, or 0.
    """
    tile = plan.tiles[position]
    if quad_bounds(_quad(plan, tile), plan.size) is None:
        return 0
    return reduction_for(compose(plan.matrix, tile.placement))


def draw_tile(
    canvas: np.ndarray, image: np.ndarray, plan: MosaicPlan, position: int, *, reduce: int = 1
) -> None:
    """Draws one tile onto the result, in place.

    Args:
        canvas: [H,W,3] uint8, written.
        image: [h,w,3] uint8 pixels of the tile's image, reduced by `reduce`.
        plan: the mosaic.
        position: 0 to 3.
        reduce: as the image was decoded.
    """
    tile = plan.tiles[position]
    matrix = compose(plan.matrix, compose(tile.placement, scaling(reduce, reduce)))
    draw_warped(canvas, image, matrix, _quad(plan, tile))


def _quad(plan: MosaicPlan, tile: Tile) -> np.ndarray:  # [4,2]
    return map_points(box_corners(tile.region[None])[0], plan.matrix)


def tile_boxes(
    boxes: np.ndarray, plan: MosaicPlan, position: int, *, config: AugmentConfig
):  # [N,4] -> [n,4], [N] bool
    """Maps the boxes of one tile's image to the result.

    A box is first cut to the part of its image that lies on the mosaic canvas. One that this leaves without
    area is dropped; the published code keeps it as a line, which a rotation can open into a box around
    nothing.

    Args:
        boxes: [N,4] xyxy px of the tile's image.
        plan: the mosaic.
        position: 0 to 3.
        config: `box_filter`.

    Returns:
        boxes [n,4] float32 xyxy px of the result that survive the filter, and keep [N] bool.
    """
    tile = plan.tiles[position]
    before = map_boxes(boxes, tile.placement)
    before = np.clip(before, np.tile(tile.region[:2], 2), np.tile(tile.region[2:], 2))
    after = clip_boxes(map_boxes(before, plan.matrix), height=plan.size[0], width=plan.size[1])
    keep = (before[:, 2:] > before[:, :2]).all(axis=1) & (after[:, 2:] > after[:, :2]).all(axis=1)
    keep &= surviving_boxes(before, after, zoom=plan.zoom, config=config)
    return after[keep], keep


def mosaic4(
    samples: Sequence[Sample],
    *,
    size: Size,
    rng: np.random.Generator,
    config: AugmentConfig,
    pad_value: int = 114,
) -> Sample:
    """Makes a mosaic of four samples and maps it by a random rotation, zoom, shear and shift.

    Args:
        samples: four samples of any sizes: top left, top right, lower left, lower right.
        size: (height, width) px of the result.
        rng: source of randomness; the same state gives the same mosaic.
        config: ranges of the map and the box filter.
        pad_value: grey level where there is no image.

    Returns:
        Sample of the size. Boxes are clipped to it.

    Raises:
        ValueError: when there are not four samples.

    Source:
        YOLOX, section 2.1. A tile that shrinks to half or less is first averaged over blocks of 2, 4 or 8
        pixels.

    Example:
        >>> from yolox.data.sample import empty_sample
        >>> four = [empty_sample(np.full((40, 60, 3), level, np.uint8)) for level in (0, 80, 160, 240)]
        >>> rng = np.random.default_rng(0)
        >>> mosaic4(four, size=(32, 64), rng=rng, config=AugmentConfig()).image.shape
        (32, 64, 3)
    """
    if len(samples) != 4:
        raise ValueError(f"mosaic4: got {len(samples)} samples, want 4")
    plan = draw_plan([s.image.shape[:2] for s in samples], size=size, rng=rng, config=config)
    labels = [(s.boxes, s.classes) for s in samples]
    canvas = blank_canvas(samples[0].image, size, pad_value)
    return render_mosaic(plan, lambda i, reduce: shrink_image(samples[i].image, reduce), labels, canvas, config=config)


def blank_canvas(image: np.ndarray, size: Size, pad_value: int) -> np.ndarray:  # [h,w,C] -> [H,W,C]
    """Returns a canvas of the padding for images like one.

    Args:
        image: whose channels and type count.
        size: (height, width) px of the canvas.
        pad_value: level of each channel.

    Returns:
        [H,W,C] of the image's type.
    """
    return np.full((*size, image.shape[2]), pad_value, image.dtype)


def render_mosaic(plan: MosaicPlan, load, labels, canvas: np.ndarray, *, config: AugmentConfig) -> Sample:
    """Loads the visible images of a plan and draws them.

    Args:
        plan: the mosaic.
        load: function of (position, reduce) to [h,w,C]; called once for each visible tile.
        labels: for each tile its boxes [N,4] xyxy px of the full image and classes [N].
        canvas: [H,W,C] of the plan's size, filled with the padding; it is drawn on.
        config: `box_filter`.

    Returns:
        Sample.
    """
    for position in range(len(plan.tiles)):
        reduce = tile_reduction(plan, position)
        if reduce:
            draw_tile(canvas, load(position, reduce), plan, position, reduce=reduce)
    kept = [(tile_boxes(boxes, plan, i, config=config), classes) for i, (boxes, classes) in enumerate(labels)]
    boxes = np.concatenate([boxes for (boxes, _), _ in kept])
    return Sample(
        canvas, boxes, np.concatenate([classes[keep] for (_, keep), classes in kept]).astype(np.int32)
    )


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
    plan: PartnerPlan, load, boxes: np.ndarray, classes: np.ndarray, canvas: np.ndarray
) -> Sample:
    """Loads the partner at a sufficient size and draws it.

    Args:
        plan: from `draw_partner_plan`.
        load: function of `reduce` (1, 2, 4, 8) to the partner's pixels [h,w,C] at that reduction.
        boxes: [N,4] xyxy px of the partner image.
        classes: [N].
        canvas: [H,W,C] of the plan's size, filled with the padding of the partner's letterbox; it is drawn on.

    Returns:
        Sample of the plan's size, boxes clipped to it.
    """
    height, width = plan.size
    left, top, right, bottom = plan.letterbox
    canvas[min(bottom, height) :], canvas[:, min(right, width) :] = 0, 0
    image = load(reduction_for(plan.matrix))
    resized = with_axis(cv2.resize(image, plan.resized[::-1], interpolation=cv2.INTER_LINEAR))
    if plan.flip:
        left, resized = right - plan.resized[1], with_axis(cv2.flip(resized, 1))
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
    image = with_axis(cv2.addWeighted(first.image, weight, second.image, 1 - weight, 0))
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
    canvas = blank_canvas(sample.image, sample.image.shape[:2], pad_value)
    drawn = render_partner(
        plan, lambda reduce: shrink_image(partner.image, reduce), partner.boxes, partner.classes, canvas
    )
    return blend(sample, drawn)
