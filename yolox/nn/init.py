"""Fresh weights, the same on every machine for the same seed."""

from __future__ import annotations

import math
import zlib

import numpy as np
from mindspore import Tensor, nn


def initialise(detector: nn.Cell, *, seed: int, prior: float = 0.01) -> None:
    """Fill a detector with fresh weights.

    Each parameter has a random stream of its own, drawn from `seed` and its name, so that adding a layer or
    another number of classes leaves all other weights as they were. Parameters of one dimension that belong to no
    layer known here, such as the slopes of PReLU, stay as they are.

    Args:
        detector: cell whose parameters are overwritten.
        seed: non-negative integer.
        prior: probability that fresh class and objectness outputs give, in (0, 1).

    Raises:
        ValueError: `prior` is not in (0, 1).

    Source: uniform in +-1/sqrt(fan in) for convolutions, dense layers and their biases (He with a = sqrt 5), as
    in the released recipes; the prior of the focal loss paper, section 4.1.

    Example:
        >>> from yolox.nn import DecoupledHead
        >>> head = DecoupledHead(2, 0.125)
        >>> initialise(head, seed=0)
        >>> bool(abs(head.obj_preds[0].bias.asnumpy() + np.log(99)) < 1e-5)
        True
    """
    if not 0.0 < prior < 1.0:
        raise ValueError(f"initialise: prior is {prior}, want a probability in (0, 1)")
    fan_in = {}
    for parameter in detector.get_parameters():
        name, shape = parameter.name, tuple(parameter.shape)
        if len(shape) >= 2:
            fan_in[name.removesuffix("weight")] = math.prod(shape[1:])
        value = _fresh_value(name, shape, fan_in, seed=seed, prior=prior)
        if value is not None:
            parameter.set_data(Tensor(value.astype(np.float32)))


def _fresh_value(name: str, shape: tuple[int, ...], fan_in: dict[str, int], *, seed, prior) -> np.ndarray | None:
    """Give the fresh value of one parameter, None to leave it; a layer's weight comes before its bias."""
    if name.endswith(("gamma", "moving_variance")):
        return np.ones(shape)
    if name.endswith(("beta", "moving_mean")):
        return np.zeros(shape)
    if name.endswith("bias") and ("cls_preds." in name or "obj_preds." in name):
        return np.full(shape, -math.log((1.0 - prior) / prior))
    layer = name.removesuffix("weight").removesuffix("bias")
    if layer not in fan_in:
        return None
    bound = 1.0 / math.sqrt(fan_in[layer])
    rng = np.random.default_rng((zlib.crc32(name.encode()), seed))
    return rng.uniform(-bound, bound, shape)
