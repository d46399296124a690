"""Numbers that cannot be meant are refused where the value is made, with the field and its range."""

from __future__ import annotations

import math

import attrs
import pytest

from yolox.config import AssignConfig, AugmentConfig, InputSpec, LoaderConfig, LossConfig, OptimConfig, PostprocessConfig, Recipe

CONFIGS = (InputSpec, AugmentConfig, AssignConfig, LossConfig, OptimConfig, LoaderConfig, PostprocessConfig, Recipe)
NUMBERS = [
    (config, field.name, field.default)
    for config in CONFIGS
    for field in attrs.fields(config)
    if not isinstance(field.default, bool | str) and not attrs.has(type(field.default))
]


@pytest.mark.parametrize(("config", "name", "default"), NUMBERS)
def test_no_field_takes_a_number_out_of_every_range(config, name, default):
    length = {"gt_paddings": 1, "multiscale_sizes": 1}.get(name, len(default) if isinstance(default, tuple) else 0)
    for number in (math.nan, math.inf, -math.inf, -1, 10**5000, True, "3"):
        if (name, number) == ("mean", -1):  # the only field that may be negative
            continue
        value = (number,) * length if length else number
        others = {"lr_per_image": None} if name == "lr" else {}
        with pytest.raises(ValueError, match=rf"^{name}: got .*, want ") as caught:
            config(**{name: value, **others})
        assert len(str(caught.value)) < 250


@pytest.mark.parametrize(
    ("config", "values", "message"),
    [
        (InputSpec, {"pad_value": 99999}, "pad_value: got 99999, want a grey level in 0..255"),
        (InputSpec, {"pad_value": 1.5}, "pad_value: got 1.5, want a grey level"),
        (InputSpec, {"input_size": (32, 1 << 20)}, r"input_size: got \(32, 1048576\), want .* multiples of 32 up to 8192"),
        (OptimConfig, {"momentum": 2.0}, r"momentum: got 2.0, want a number in \[0, 1\)"),
        (OptimConfig, {"lr_per_image": -0.1}, "lr_per_image: got -0.1, want a number in"),
        (OptimConfig, {"warmup_epochs": 1.5}, "warmup_epochs: got 1.5, want a whole number of 0 or more"),
        (LossConfig, {"loss_iou_weight": -5.0}, "loss_iou_weight: got -5.0, want a number in"),
        (AugmentConfig, {"affine_scale": (2.0, 0.5)}, r"affine_scale: got \(2.0, 0.5\), want the lower number first"),
        (AugmentConfig, {"shear": 90.0}, r"shear: got 90.0, want degrees in \[0, 90\)"),
        (AssignConfig, {"top_k": 0}, "top_k: got 0, want a positive number"),
    ],
)
def test_the_message_has_the_range(config, values, message):
    with pytest.raises(ValueError, match=message):
        config(**values)
