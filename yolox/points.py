"""Points: the places of an image that make one prediction each."""

import numpy as np


def make_points(size: tuple[int, int], strides: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    # (H,W) -> [P,2], [P]
    """List the prediction points of all levels of an image.

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
