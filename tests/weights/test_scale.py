"""The scale of weights is told by their first layer, for all seven and for none of them."""

import pytest

from tests.nn.scales import SCALES, build_detector
from yolox.weights.scale import scale_of


@pytest.mark.parametrize("scale", SCALES)
def test_each_published_scale_is_told(scale):
    assert scale_of({p.name: tuple(p.shape) for p in build_detector(scale, 3).get_parameters()}) == scale


@pytest.mark.parametrize(
    "shapes",
    [{}, {"a": (16,)}, {"backbone.stem.conv.conv.weight": ()}, {"backbone.stem.conv.conv.weight": (16, 12, 3, 3)},
     {"backbone.stem.conv.conv.weight": (32, 12, 3, 3), "neck.p.dconv.conv.weight": (1,)}],
)  # fmt: skip
def test_other_detectors_are_none(shapes):
    assert scale_of(shapes) is None
