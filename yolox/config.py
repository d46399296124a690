"""Frozen configuration values: one attrs class a concern. The published recipes are in `yolox.recipes`.

A config is a value: compare it, print it, and change it with ``attrs.evolve``. This module imports no MindSpore,
so that tools can read recipes quickly; config objects may enter graph code.
"""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Sequence
from numbers import Integral, Real
from typing import Literal

import attrs
from attrs import frozen

Size = tuple[int, int]  # height, width in pixels
MAX_SIDE = 8192  # px of an input image
HUGE = 1e6  # of weights and rates that only a slip of the pen makes larger
MAX_COUNT = 2**31 - 1
MAX_SEED = 2**32 - 1
MAX_STATED_PIXELS = 2560 * 2560  # of an input that a file states: nano takes 1.5 GB for it
MAX_STATED_CLASSES = 20_000


def _sizes_in_range(want: str):
    def check(_instance, attribute, value) -> None:
        if any(not isinstance(v, Integral) or not 0 < v <= MAX_SIDE or v % 32 for v in value):
            raise ValueError(f"{attribute.name}: got {_shown(value)}, want {want}positive multiples of 32 up to {MAX_SIDE}")

    return check


def _number(low: float, high: float, want: str, *, kind: type = Real, above: bool = False, below: bool = False):
    """Returns an attrs validator: each number of the value is of a kind and in a range.

    Args:
        low: least value.
        high: largest value.
        want: text for the message.
        kind: `numbers.Real` or `numbers.Integral`; NaN is in no range.
        above: True takes `low` itself out of the range.
        below: True takes `high` itself out of the range.
    """

    def fits(v) -> bool:
        if isinstance(v, bool) or not isinstance(v, kind) or not low <= v <= high:
            return False
        return not (above and v == low or below and v == high)

    def check(_instance, attribute, value) -> None:
        if not all(map(fits, value if isinstance(value, tuple | list) else (value,))):
            raise ValueError(f"{attribute.name}: got {_shown(value)}, want {want}")

    return check


def _shown(value) -> str:
    try:
        return repr(value)[:80]
    except ValueError:  # Python writes no numbers of more than 4300 digits
        return "a huge number"


def _as_tuple(value):
    return tuple(value) if isinstance(value, list) else value


def _rising_range(_instance, attribute, value) -> None:
    if value[0] > value[1]:
        raise ValueError(f"{attribute.name}: got {value}, want the lower number first")


_probability = _number(0, 1, "a probability in [0, 1]")
_share = _number(0, 1, "a number in [0, 1]")
_positive = _number(0, sys.float_info.max, "a positive number", above=True)
_positive_count = _number(1, MAX_COUNT, "a positive number", kind=Integral)
_count = _number(0, MAX_COUNT, "a whole number of 0 or more", kind=Integral)
_weight = _number(0, HUGE, f"a number in [0, {HUGE:g}]")
_gain = _number(0, 255, "numbers in [0, 255]")
_canvas = _number(1, MAX_SIDE, f"height and width in 1..{MAX_SIDE}", kind=Integral)
_zoom = [_number(0, 100, "two numbers above 0 and up to 100", above=True), _rising_range]
_positives = _number(0, HUGE, "positive numbers", above=True)
_offset = _number(-HUGE, HUGE, f"numbers in [-{HUGE:g}, {HUGE:g}]")


def one_screen(text: str) -> str:
    """Wraps a representation into at most 24 lines of 100 columns.

    Args:
        text: lines of any length and number.

    Returns:
        The text, where a line that was wrapped goes on behind eight blanks; "..." where it was cut.

    Example:
        >>> print(one_screen("f(" + 31 * "1, " + "23, 45)"))
        f(1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 23,
                45)
    """
    wrap = textwrap.TextWrapper(100, subsequent_indent=" " * 8, break_on_hyphens=False)
    lines = [part for line in text.splitlines() for part in wrap.wrap(line)]
    return "\n".join(lines if len(lines) <= 24 else [*lines[:23], "    ..."])


def first_names(names: Sequence[str] | None, most: int = 6) -> str:
    """Returns names for a representation: the first ones and how many there are.

    Args:
        names: any number; None where they are not known.
        most: how many are shown.

    Returns:
        One line.

    Example:
        >>> first_names(("cat", "dog")), first_names("abcdefgh", 2)
        ("('cat', 'dog')", "('a', 'b', ... 8 names)")
    """
    if names is None or len(names) <= most:
        return repr(names)
    return f"({', '.join(map(repr, names[:most]))}, ... {len(names)} names)"


class OneScreen:
    """Base of values whose representation fits on a screen."""

    __slots__ = ()

    def __repr__(self) -> str:
        text = f"{type(self).__name__}("
        for i, name in enumerate(a.name for a in attrs.fields(type(self)) if a.repr):
            value = getattr(self, name)
            gap = ",\n    " if isinstance(value, OneScreen) else ", "
            text += f"{gap if i else ''}{name}={_shown_field(value)}"
        return one_screen(text + ")")


def _shown_field(value) -> str:
    if isinstance(value, tuple) and value and all(isinstance(name, str) for name in value):
        return first_names(value)
    return one_line(value)


def one_line(value) -> str:
    """Returns the representation of a value without line breaks, for messages.

    Args:
        value: any.

    Returns:
        One line.

    Example:
        >>> one_line(InputSpec())[:60]
        "InputSpec(input_size=(640, 640), channel_order='bgr', pixel_"
    """
    return " ".join(repr(value).split())


@frozen(kw_only=True, repr=False)
class InputSpec(OneScreen):
    """The pixels that a network was trained on. Travels into checkpoints and exports.

    Megvii feeds BGR in 0..255 with the image at the top left; MindYOLO feeds RGB in 0..1 with the image centred.
    Weights of one convention give wrong boxes, without an error, when they are fed the other.
    """

    input_size: Size = attrs.field(default=(640, 640), validator=_sizes_in_range("height and width as "))
    """Height and width in pixels: of evaluation images, and of training images where there are no `multiscale_sizes`."""
    channel_order: Literal["bgr", "rgb"] = "bgr"
    """Order of the colour channels that the network takes."""
    pixel_scale: float = attrs.field(default=1.0, validator=_positive)
    """Factor on the 0..255 pixel values."""
    mean: tuple[float, float, float] = attrs.field(default=(0.0, 0.0, 0.0), validator=_offset)
    """Taken away from each channel after the factor, in the network's channel order; zeros but for legacy weights."""
    std: tuple[float, float, float] = attrs.field(default=(1.0, 1.0, 1.0), validator=_positives)
    """By which each channel is divided in the end; ones but for legacy weights."""
    letterbox: Literal["top_left", "center"] = "top_left"
    """Where the resized image lies on the padded canvas."""
    shrink_interpolation: Literal["linear", "area"] = "linear"
    """Interpolation when an evaluation image is made smaller."""
    pad_value: int = attrs.field(default=114, validator=_number(0, 255, "a grey level in 0..255", kind=Integral))
    """Grey level of the padding, of 255."""
    channels: int = attrs.field(default=3, validator=_number(1, 64, "a whole number in 1..64", kind=Integral))
    """Channels of an image: 3 for colour, 1 for grey. Of more, a file's first three are red, green and blue."""
    max_value: int = attrs.field(default=255, validator=_number(255, 65535, "a whole number in 255..65535", kind=Integral))
    """Pixel value that counts as 255: 65535 for files of 16 bits, 4095 for 12 bits in them. Above 255, images are read and
    augmented with 16 bits."""

    def __attrs_post_init__(self) -> None:
        if self.channels != 3 and (self.mean, self.std) != ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0)):
            raise ValueError(f"mean, std: are for 3 channels; want them left as they are for channels={self.channels}")

    @property
    def is_color(self) -> bool:
        """Whether images have three channels of 8 bits, which changes of colour are made for."""
        return self.channels == 3 and self.max_value == 255

    @property
    def pixel_type(self) -> str:
        """Name of the numpy type of images: uint8, or uint16 where `max_value` is above 255."""
        return "uint8" if self.max_value == 255 else "uint16"


def pixel_words(spec: InputSpec) -> str:
    """Returns the channels and the bits of an input, for a line.

    Args:
        spec: any.

    Returns:
        A few words.

    Example:
        >>> pixel_words(InputSpec()), pixel_words(InputSpec(channels=1, max_value=4095))
        ('3 channels of 8 bits', '1 channel of 16 bits, values up to 4095')
    """
    channels = f"{spec.channels} channel{'s' if spec.channels > 1 else ''}"
    return f"{channels} of 8 bits" if spec.max_value == 255 else f"{channels} of 16 bits, values up to {spec.max_value}"


def check_stated(spec: InputSpec, class_names: Sequence[str]) -> None:
    """Raises ValueError where a weights file asks for gigabytes: it may come from a stranger.

    Args:
        spec: the pixels that the file states.
        class_names: the classes that it states.

    Raises:
        ValueError: the input has more than `MAX_STATED_PIXELS`, or there are more than `MAX_STATED_CLASSES`.
    """
    height, width = spec.input_size
    if height * width > MAX_STATED_PIXELS:
        raise ValueError(f"states an input of {height} x {width} px, more than {MAX_STATED_PIXELS} pixels")
    if len(class_names) > MAX_STATED_CLASSES:
        raise ValueError(f"states {len(class_names)} classes, more than {MAX_STATED_CLASSES}")


@frozen(kw_only=True, repr=False)
class AugmentConfig(OneScreen):
    """Training augmentations; the numbers of mosaic, affine, mixup, colour and flip."""

    mosaic_prob: float = attrs.field(default=1.0, validator=_probability)
    """Probability of a four-image mosaic."""
    mosaic_partners: Literal["uniform", "buffer"] = "uniform"
    """Where mosaic partners come from: the whole dataset, or a rolling window of 1000 images."""
    affine_scale: tuple[float, float] = attrs.field(default=(0.1, 2.0), validator=_zoom)
    """Range of the zoom after the mosaic."""
    degrees: float = attrs.field(default=10.0, validator=_number(0, 180, "degrees in [0, 180]"))
    """Rotation range, plus and minus, in degrees."""
    translate: float = attrs.field(default=0.1, validator=_share)
    """Translation range as a share of the input size."""
    shear: float = attrs.field(default=2.0, validator=_number(0, 90, "degrees in [0, 90)", below=True))
    """Shear range, plus and minus, in degrees."""
    affine_center: bool = False
    """True turns about the centre of the mosaic canvas (MindYOLO), False about its origin (Megvii)."""
    box_filter: Literal["min_side", "candidates"] = "min_side"
    """Which boxes survive: sides above 1 px (Megvii), or sides, area ratio and aspect ratio (MindYOLO)."""
    mixup_prob: float = attrs.field(default=1.0, validator=_probability)
    """Probability of mixup after a mosaic."""
    mixup_partner: Literal["image", "mosaic"] = "image"
    """A raw image blended half and half (Megvii), or a second mosaic blended by Beta(8, 8) (MindYOLO)."""
    mixup_scale: tuple[float, float] = attrs.field(default=(0.5, 1.5), validator=_zoom)
    """Range of the zoom of the raw mixup image."""
    canvas_size: Size | None = attrs.field(default=None, validator=attrs.validators.optional(_canvas))
    """Height and width at which samples are drawn before they are resized to the training size; None draws at that size."""
    hsv_mode: Literal["additive", "multiplicative"] = "additive"
    """Integer shifts, each with probability one half (Megvii), or gains (MindYOLO)."""
    hsv_gains: tuple[float, float, float] = attrs.field(default=(5.0, 30.0, 30.0), validator=_gain)
    """Ranges of hue, saturation and value: grey levels when additive, shares when multiplicative."""
    hsv_prob: float = attrs.field(default=1.0, validator=_probability)
    """Probability of the colour change."""
    flip_prob: float = attrs.field(default=0.5, validator=_probability)
    """Probability of a left-right flip."""


@frozen(kw_only=True, repr=False)
class AssignConfig(OneScreen):
    """SimOTA. Megvii's values are the default (paper section 2.1; details in docs/recipes.md)."""

    prior: Literal["center", "box_and_center", "box_or_center"] = "center"
    """Candidate points: near the ground truth's centre (Megvii); in any box (MindYOLO); or in any box or near any centre
    (mmdetection, PaddleDetection). The last two prefer points that are in the box and near the centre."""
    center_radius: float = attrs.field(default=1.5, validator=_positive)
    """Half side of the centre region in strides; a point on its edge is outside."""
    top_k: int = attrs.field(default=10, validator=_positive_count)
    """Number of highest IoUs that are summed to the number of positives of a ground truth."""
    cost_iou_weight: float = attrs.field(default=3.0, validator=_weight)
    """Weight of -log(IoU) in the cost."""
    outside_penalty: float = attrs.field(default=1e6, validator=_number(0, 1e12, "a number in [0, 1e12]"))
    """Added to the cost of candidates outside the geometry prior of a ground truth."""


@frozen(kw_only=True, repr=False)
class LossConfig(OneScreen):
    """Weights of the detection loss and what it is divided by."""

    loss_iou_weight: float = attrs.field(default=5.0, validator=_weight)
    """Weight of 1 - IoU**2."""
    loss_obj_weight: float = attrs.field(default=1.0, validator=_weight)
    """Weight of the objectness cross-entropy."""
    loss_cls_weight: float = attrs.field(default=1.0, validator=_weight)
    """Weight of the class cross-entropy."""
    loss_l1_weight: float = attrs.field(default=1.0, validator=_weight)
    """Weight of the L1 loss on raw box outputs in the no-augmentation epochs."""
    loss_normalizer: Literal["local", "global"] = "local"
    """Divide by the positives of this device, or of all devices."""
    class_weights: tuple[float, ...] = attrs.field(default=(), validator=_weight, converter=_as_tuple)
    """Factor on the class loss of the positive points of each class, in the order of the dataset; empty for 1 each."""
    class_balance: Literal["none", "inverse"] = "none"
    """Where the class weights come from: "inverse" computes boxes / (classes * boxes of the class) of the training set when a run
    starts, and the run's recipe then holds them as `class_weights`."""


@frozen(kw_only=True, repr=False)
class OptimConfig(OneScreen):
    """Optimizer, learning rate schedule and moving average of the weights."""

    optimizer: Literal["sgd", "adamw"] = "sgd"
    """SGD with Nesterov momentum, or AdamW."""
    lr_per_image: float | None = attrs.field(default=0.01 / 64, validator=attrs.validators.optional(_weight))
    """Learning rate per image of the global batch; None takes `lr` as it is."""
    lr: float | None = attrs.field(default=None, validator=attrs.validators.optional(_weight))
    """Absolute peak learning rate; None takes `lr_per_image` times the global batch."""
    momentum: float = attrs.field(default=0.9, validator=_number(0, 1, "a number in [0, 1)", below=True))
    """Nesterov momentum of SGD."""
    betas: tuple[float, float] = attrs.field(default=(0.9, 0.999), validator=_number(0, 1, "two numbers in [0, 1)", below=True))
    """Decay of the two moments of AdamW."""
    eps: float = attrs.field(default=1e-8, validator=_number(0, 1, "a number above 0 and up to 1", above=True))
    """Added to the root of AdamW's second moment."""
    clip_norm: float | None = attrs.field(default=None, validator=attrs.validators.optional(_positive))
    """Largest norm of all gradients together; None does not clip."""
    weight_decay: float = attrs.field(default=5e-4, validator=_share)
    """Decay of convolution weights; BN and biases have none. AdamW's is apart from the gradient."""
    warmup_epochs: int = attrs.field(default=5, validator=_count)
    """Epochs of quadratic warm-up."""
    warmup_start: float = attrs.field(default=0.0, validator=_share)
    """Learning rate at the start of warm-up as a share of the peak."""
    min_lr_ratio: float = attrs.field(default=0.05, validator=_share)
    """Learning rate at the end of the cosine as a share of the peak."""
    flat_epochs: int = attrs.field(default=15, validator=_count)
    """Last epochs at the lowest learning rate."""
    ema_decay: float = attrs.field(default=0.9998, validator=_probability)
    """Decay of the moving average of parameters and BN statistics."""
    ema_ramp: float = attrs.field(default=2000.0, validator=_positive)
    """Steps over which the decay grows: decay * (1 - exp(-step / ramp))."""
    gradient_reduction: Literal["mean", "sum"] = "mean"
    """How gradients of several devices are combined."""
    average_bn_stats: bool = True
    """Average BN statistics over devices before evaluation (Megvii); False takes those of one (MindYOLO)."""
    sync_bn: bool = False
    """Batch normalisation takes its statistics over the batches of all devices, in every step."""
    loss_scale: float = attrs.field(default=1024.0, validator=_number(1, 2**24, "a number in [1, 2**24]"))
    """First loss scale when the network runs in float16; it halves at an overflow."""
    loss_scale_interval: int = attrs.field(default=2000, validator=_positive_count)
    """Good steps in a row after which the loss scale doubles."""
    precision: Literal["float32", "float16"] = "float32"
    """Arithmetic of the network; assignment and losses are always float32."""
    max_bad_steps: int = attrs.field(default=20, validator=_positive_count)
    """Training stops after this many steps in a row with gradients that are not finite."""

    def __attrs_post_init__(self) -> None:
        if (self.lr is None) == (self.lr_per_image is None):
            raise ValueError(f"lr: got lr={self.lr} and lr_per_image={self.lr_per_image}, want exactly one of the two")


@frozen(kw_only=True, repr=False)
class LoaderConfig(OneScreen):
    """Batches: numbers of images, ground truths and worker processes, and image sizes."""

    batch_size: int = attrs.field(default=8, validator=_positive_count)
    """Images per device and forward pass."""
    accumulate: int = attrs.field(default=1, validator=_number(1, 1024, "a whole number in 1..1024", kind=Integral))
    """Batches whose gradients make one step: the step of so many times the images, in the memory of one batch. Batch
    normalisation sees one batch at a time."""
    last_batch: Literal["fill", "drop"] = "drop"
    """Images of an epoch that fill no batch: the first ones of the next epoch fill it (Megvii), or they are left out
    (MindYOLO)."""
    max_gt: int = attrs.field(default=120, validator=_positive_count)
    """Rows to which ground truths are padded; the smallest boxes of fuller images are dropped and counted."""
    min_image_side: int = attrs.field(default=0, validator=_count)
    """Training images with a shorter side of fewer pixels than this are left out, and counted."""
    gt_paddings: tuple[int, ...] = ()
    """Fewer rows: on one device a batch is padded to the least of these that holds its ground truths, else to the
    largest number of rows. Each is one more compiled step for every image size."""
    multiscale_sizes: tuple[int, ...] = attrs.field(default=(), validator=_sizes_in_range(""))
    """Heights of training images, one drawn every `multiscale_interval` steps; empty trains at one size."""
    multiscale_interval: int = attrs.field(default=10, validator=_positive_count)
    """Steps between changes of the training size."""
    workers: int = attrs.field(default=2, validator=_count)
    """Worker processes that load and augment; 0 loads in the main process."""
    cache: Literal["none", "ram", "disk"] = "none"
    """Keep all training images decoded, in memory or in a file of the run; their size is printed first."""
    seed: int = attrs.field(default=0, validator=_number(0, MAX_SEED, f"a whole number in 0..{MAX_SEED}", kind=Integral))
    """Seed of shuffling, augmentation, training sizes and fresh weights."""

    @property
    def step_images(self) -> int:
        """Images per device and step."""
        return self.batch_size * self.accumulate

    def __attrs_post_init__(self) -> None:
        sizes = (0, *self.gt_paddings, self.max_gt)
        whole = all(isinstance(size, Integral) and not isinstance(size, bool) for size in sizes)
        if not whole or any(low >= high for low, high in zip(sizes, sizes[1:], strict=False)):
            want = f"want rising positive numbers below max_gt {self.max_gt}"
            raise ValueError(f"gt_paddings: got {_shown(self.gt_paddings)}, {want}")


@frozen(kw_only=True, repr=False)
class PostprocessConfig(OneScreen):
    """Postprocessing of decoded predictions."""

    score_threshold: float = attrs.field(default=0.01, validator=_probability)
    """Predictions must score above this."""
    iou_threshold: float = attrs.field(default=0.65, validator=_probability)
    """NMS drops boxes that overlap a better one of their class by more than this."""
    multi_label: bool = False
    """True lets a box be several classes (MindYOLO), False takes its best class (Megvii)."""
    max_candidates: int = attrs.field(default=30000, validator=_positive_count)
    """Most predictions of an image that enter NMS, by falling score."""
    max_detections: int = attrs.field(default=300, validator=_positive_count)
    """Most detections kept for an image."""


@frozen(kw_only=True, repr=False)
class Recipe(OneScreen):
    """All settings of a training run apart from the layers and the data."""

    epochs: int = attrs.field(default=300, validator=_positive_count)
    """Passes over the training images."""
    no_aug_epochs: int = attrs.field(default=16, validator=_count)
    """Last epochs without mosaic and mixup and with the L1 loss."""
    eval_interval: int = attrs.field(default=10, validator=_positive_count)
    """Epochs between evaluations before the no-augmentation epochs."""
    no_aug_eval_interval: int = attrs.field(default=1, validator=_positive_count)
    """Epochs between evaluations in the no-augmentation epochs."""
    input: InputSpec = InputSpec()
    augment: AugmentConfig = AugmentConfig()
    loader: LoaderConfig = LoaderConfig()
    assign: AssignConfig = AssignConfig()
    loss: LossConfig = LossConfig()
    optim: OptimConfig = OptimConfig()
    postprocess: PostprocessConfig = PostprocessConfig()
