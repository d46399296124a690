"""The detector, which is a backbone, a neck and a head in a row: its fresh weights, its parameters and its arithmetic."""

from __future__ import annotations

import math
import zlib

import numpy as np
from mindspore import Tensor, nn, ops

STRIDES = (8, 16, 32)


class Detector(nn.Cell):
    """Joins a backbone, a neck and a head to the network that is trained, evaluated and exported.

    It owns the parameters `backbone.*`, `neck.*` and `head.*` and nothing else: what the maps mean is
    left to functions (decoding, the loss), the same for every detector.

    Args:
        backbone: cell that takes [B,3,H,W] float32 images and returns three maps at strides 8, 16, 32; its attribute
            `in_channels`, where it has one, tells another number of channels.
        neck: cell that takes and returns such three maps.
        head: cell that takes them and returns three [B,5+C,H,W] maps; has the attribute `num_classes`.

    Returns:
        (when called) three raw maps [B,5+C,H/s,W/s] for s in `strides`: box 4, objectness 1, classes C.

    Raises:
        ValueError: when called, the images have other channels, or are not [B,C,H,W] with H and W multiples of 32.
        TypeError: when called, the images are not floating point.

    Example:
        >>> from mindspore import ops
        >>> from yolox.nn import PAFPN, CSPDarknet, DecoupledHead
        >>> detector = Detector(CSPDarknet(0.33, 0.125), PAFPN(0.33, 0.125), DecoupledHead(80, 0.125))
        >>> [m.shape for m in detector(ops.zeros((1, 3, 32, 64)))]
        [(1, 85, 4, 8), (1, 85, 2, 4), (1, 85, 1, 2)]
    """

    def __init__(self, backbone, neck, head):
        super().__init__()
        self.backbone = backbone
        self.neck = neck
        self.head = head
        self.num_classes = head.num_classes
        self.in_channels = getattr(backbone, "in_channels", 3)
        self.strides = STRIDES
        self.spec = None  # the pixels that its weights take (an InputSpec) and the names of its classes, where they are
        self.class_names = None  # known: `load_weights` and `train` set them, `evaluate` and `predict` read them

    def __repr__(self) -> str:  # nn.Cell would print hundreds of layers; print a part to see its own
        parts = ", ".join(f"{name}={type(getattr(self, name)).__name__}" for name in ("backbone", "neck", "head"))
        return f"Detector({parts}, num_classes={self.num_classes}, {count_parameters(self)} parameters)"

    def construct(self, images):  # [B,3,H,W] -> ([B,5+C,H/8,W/8], [B,5+C,H/16,W/16], [B,5+C,H/32,W/32])
        _check_images(images.shape, images.is_floating_point(), self.in_channels)
        return self.head(self.neck(self.backbone(images)))


def _check_images(shape, is_float, channels) -> None:
    if len(shape) != 4 or shape[1] != channels:
        raise ValueError(f"Detector: images have shape {shape}, want [B,{channels},H,W]")
    coarsest = STRIDES[-1]
    if shape[2] % coarsest or shape[3] % coarsest:
        raise ValueError(f"Detector: images have shape {shape}, want H and W as multiples of {coarsest}")
    if not is_float:
        raise TypeError("Detector: images are not floating point, want float32; see normalize_images")


def initialise(detector: nn.Cell, *, seed: int, prior: float = 0.01) -> None:
    """Fills a detector with fresh weights.

    Each parameter has a random stream of its own, drawn from `seed` and its name, so that adding a layer or
    another number of classes leaves all other weights as they were. Parameters of one dimension that belong to no
    layer known here, such as the slopes of PReLU, stay as they are.

    Args:
        detector: cell whose parameters are overwritten.
        seed: non-negative integer.
        prior: probability of fresh class and objectness outputs, in (0, 1).

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
    """Returns the fresh value of one parameter, None to leave it; a layer's weight comes before its bias."""
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


def count_parameters(detector: nn.Cell) -> int:
    """Counts trainable numbers; the running statistics of batch normalisation are not among them.

    Args:
        detector: any Cell.

    Returns:
        The number.

    Example:
        >>> from yolox.nn import ConvBNAct
        >>> count_parameters(ConvBNAct(3, 8, 3, 1))
        232
    """
    return sum(math.prod(parameter.shape) for parameter in detector.trainable_params())


def count_flops(detector: nn.Cell, size: tuple[int, int]) -> int:
    """Counts the operations of all convolutions for one image, two for each multiplication and addition.

    Args:
        detector: cell that takes [B,3,H,W] images.
        size: height and width of the image in pixels, multiples of 32.

    Returns:
        Operations of a forward pass. Published tables also count normalisation and activation, about 1 % more
        (3 % for nano).

    Raises:
        ValueError: `size` is not of positive multiples of 32.

    Example:
        >>> from yolox.nn import ConvBNAct
        >>> count_flops(ConvBNAct(3, 8, 3, 1), (32, 64))
        884736
    """
    height, width = size
    if height < 32 or width < 32 or height % 32 or width % 32:
        raise ValueError(f"count_flops: size is {size}, want height and width as positive multiples of 32")
    # Every layer's cost grows with the area, so that one small forward pass tells the cost of any size.
    return _count_on_zeros(detector, 32, 32) * (height // 32) * (width // 32)


def _count_on_zeros(detector: nn.Cell, height: int, width: int) -> int:
    """Runs a forward pass on a black image and adds up its convolutions."""
    total = 0

    def add(cell, _inputs, output):
        nonlocal total
        total += 2 * math.prod(cell.weight.shape[1:]) * math.prod(output.shape[1:])

    convolutions = [cell for _, cell in detector.cells_and_names() if isinstance(cell, nn.Conv2d)]
    hooks = [cell.register_forward_hook(add) for cell in convolutions]
    try:
        detector(ops.zeros((1, getattr(detector, "in_channels", 3), height, width)))
    finally:
        for hook in hooks:
            hook.remove()
    return total
