"""The detector: backbone, neck and head in a row."""

from __future__ import annotations

from mindspore import nn

STRIDES = (8, 16, 32)


class Detector(nn.Cell):
    """Join a backbone, a neck and a head to the network that is trained, evaluated and exported.

    It owns the parameters `backbone.*`, `neck.*` and `head.*` and nothing else: what the maps mean is
    left to functions (decoding, the loss), the same for every detector.

    Args:
        backbone: cell that takes [B,3,H,W] float32 images and gives three maps at strides 8, 16, 32.
        neck: cell that takes and gives such three maps.
        head: cell that takes them and gives three [B,5+C,H,W] maps; has the attribute `num_classes`.

    Returns:
        (when called) three raw maps [B,5+C,H/s,W/s] for s in `strides`: box 4, objectness 1, classes C.

    Raises:
        ValueError: when called, the images are not [B,3,H,W] with H and W multiples of 32.
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
        self.strides = STRIDES
        self.spec = None  # the pixels that its weights take (an InputSpec) and the names of its classes, where they are
        self.class_names = None  # known: `load_weights` and `train` set them, `evaluate` and `predict` read them

    def construct(self, images):  # [B,3,H,W] -> ([B,5+C,H/8,W/8], [B,5+C,H/16,W/16], [B,5+C,H/32,W/32])
        _check_images(images.shape, images.is_floating_point())
        return self.head(self.neck(self.backbone(images)))


def _check_images(shape, is_float) -> None:
    if len(shape) != 4 or shape[1] != 3:
        raise ValueError(f"Detector: images have shape {shape}, want [B,3,H,W]")
    coarsest = STRIDES[-1]
    if shape[2] % coarsest or shape[3] % coarsest:
        raise ValueError(f"Detector: images have shape {shape}, want H and W as multiples of {coarsest}")
    if not is_float:
        raise TypeError("Detector: images are not floating point, want float32; see normalize_images")
