"""Scale, channels and fit of weights, from their names and shapes."""

from __future__ import annotations

import numpy as np
import pytest

from tests.nn.scales import SCALES, build_detector
from yolox.errors import WeightsError
from yolox.weights.shapes import channels_of, check_fit, scale_of

LARGE = ("m", "l", "x")


def test_missing_and_additional_tensors_are_listed():
    wanted = {"a": (2,), "b": (3,), "head.cls_preds.0.bias": (4,), "head.cls_preds.0.weight": (4, 8, 1, 1)}
    state = {"a": np.zeros(2), "c": np.zeros((1, 1)), "head.cls_preds.0.weight": np.zeros((4, 9, 1, 1))}
    with pytest.raises(WeightsError) as error:
        check_fit(state, wanted)
    assert str(error.value).splitlines() == [
        "weights does not fit the detector, 4 of 5 tensors differ:",
        "  b: not in the file, detector wants (3,)",
        "  head.cls_preds.0.bias: not in the file, detector wants (4,)",
        "  head.cls_preds.0.weight: file has (4, 9, 1, 1), detector wants (4, 8, 1, 1)",
        "  c: file has (1, 1), detector has none",
    ]
    assert check_fit({"a": np.zeros(2)}, {"a": (2,)}) == ()


@pytest.mark.parametrize("count, lines", [(20, 21), (21, 5)])
def test_up_to_twenty_differences_are_listed(count, lines):
    with pytest.raises(WeightsError) as error:
        check_fit({}, {f"p{number}": (1,) for number in range(count)})
    assert len(str(error.value).splitlines()) == lines
    assert ("another scale or another detector" in str(error.value)) == (count > 20)


@pytest.mark.parametrize("scale", [pytest.param(s, marks=pytest.mark.slow if s in LARGE else []) for s in SCALES])
def test_each_published_scale_is_told(scale):
    assert scale_of({p.name: tuple(p.shape) for p in build_detector(scale, 3).get_parameters()}) == scale


@pytest.mark.parametrize(
    "shapes",
    [{}, {"a": (16,)}, {"backbone.stem.conv.conv.weight": ()}, {"backbone.stem.conv.conv.weight": (16, 12, 3, 3)},
     {"backbone.stem.conv.conv.weight": (32, 12, 3, 3), "neck.p.dconv.conv.weight": (1,)}],
)  # fmt: skip
def test_other_detectors_are_none(shapes):
    assert scale_of(shapes) is None


@pytest.mark.parametrize(
    ("shapes", "channels"),
    [
        ({"backbone.stem.conv.conv.weight": (16, 4, 3, 3)}, 1),
        ({"backbone.stem.conv.conv.weight": (16, 12, 3, 3)}, 3),
        ({"backbone.stem.0.conv.weight": (32, 5, 3, 3)}, 5),
        ({"backbone.stem.conv.conv.weight": ()}, 3),
        ({"backbone.stem.0.conv.weight": (32, 5)}, 3),
        ({"a": (7, 7, 7, 7)}, 3),
    ],
)
def test_channels_are_those_of_the_first_layer(shapes, channels):
    assert channels_of(shapes) == channels
