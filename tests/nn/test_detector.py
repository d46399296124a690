"""Names, shapes, sizes, maps and errors of whole detectors: backbones, necks and heads seen together."""

from __future__ import annotations

import json
import math

import mindspore as ms
import numpy as np
import pytest
from mindspore import nn

from tests.nn.cells import jitted, numbers
from tests.nn.scales import PARAMETERS, SCALES, build_detector, fill_by_rule, yolox_name
from tests.oracles.network import forward as exact_forward
from yolox.nn import FPN, PAFPN, CSPDarknet, Darknet53, DecoupledHead, Detector, count_flops, count_parameters, initialise

STATISTICS = {
    "nano": 15_392,
    "tiny": 17_328,
    "s": 23_104,
    "m": 43_296,
    "l": 69_248,
    "x": 100_960,
    "darknet53": 57_728,
}
GIGAFLOPS = {"nano": 1.045, "tiny": 6.413, "s": 26.69, "m": 73.53, "l": 155.3, "x": 281.4, "darknet53": 184.7}


@pytest.fixture(scope="module")
def detectors():
    """Build each scale once."""
    return {scale: build_detector(scale) for scale in SCALES}


@pytest.fixture(scope="module")
def nano(detectors):
    return detectors["nano"].set_train(False)


@pytest.mark.parametrize("scale", SCALES)
def test_parameter_counts(detectors, scale):
    detector = detectors[scale]
    assert count_parameters(detector) == PARAMETERS[scale]
    assert sum(p.size for p in detector.get_parameters()) == PARAMETERS[scale] + STATISTICS[scale]


@pytest.mark.parametrize(("scale", "count"), [("nano", 896_754), ("s", 8_937_682)])
def test_parameter_counts_of_one_class(scale, count):
    assert count_parameters(build_detector(scale, num_classes=1)) == count


@pytest.mark.parametrize("scale", SCALES)
def test_flops(detectors, scale):
    side = 416 if scale in ("nano", "tiny") else 640
    got = count_flops(detectors[scale], (side, side)) / 1e9
    assert float(f"{got:.4g}") == GIGAFLOPS[scale]


@pytest.mark.parametrize("scale", SCALES)
def test_names_and_shapes_are_the_released_ones(detectors, scale, golden_dir):
    released = json.loads((golden_dir / "names_megvii.json").read_text())[scale]
    want = {yolox_name(n): tuple(s) for n, s in released.items() if not n.endswith("num_batches_tracked")}
    assert {p.name: tuple(p.shape) for p in detectors[scale].get_parameters()} == want


@pytest.mark.parametrize("scale", ["nano", "darknet53"])
def test_maps_equal_the_float64_network(scale):
    """The whole network without any reference file: random weights, a non-square image of one level-5 row."""
    detector = build_detector(scale, num_classes=2)
    weights = fill_by_rule(detector, seed=7)
    images = np.random.default_rng(0).integers(0, 256, (1, 3, 32, 64)).astype(np.float32)
    got = detector.set_train(False)(ms.Tensor(images))
    for level, want in zip(got, exact_forward(weights, images, batch_stats=False), strict=True):
        np.testing.assert_allclose(level.asnumpy(), want, rtol=1e-4, atol=1e-5)


def test_one_call_gives_the_same_maps_alone_and_in_a_batch(nano):
    images = 100 + 50 * numbers((2, 3, 32, 64))
    batched = nano(ms.Tensor(images))
    for i in range(2):
        for one, many in zip(nano(ms.Tensor(images[i : i + 1])), batched, strict=True):
            np.testing.assert_allclose(one.asnumpy()[0], many.asnumpy()[i], rtol=1e-4, atol=1e-5)


def test_map_shapes_and_attributes(nano):
    maps = nano(ms.ops.zeros((1, 3, 64, 32)))
    assert [m.shape for m in maps] == [(1, 85, 8, 4), (1, 85, 4, 2), (1, 85, 2, 1)]
    assert all(m.dtype == ms.float32 for m in maps)
    assert nano.num_classes == 80 and nano.strides == (8, 16, 32)


@pytest.mark.parametrize(
    ("images", "error", "message"),
    [
        (np.zeros((1, 3, 33, 64), np.float32), ValueError, r"\(1, 3, 33, 64\), want H and W as mult"),
        (np.zeros((1, 3, 32, 48), np.float32), ValueError, r"\(1, 3, 32, 48\), want H and W as mult"),
        (np.zeros((1, 4, 32, 32), np.float32), ValueError, r"\(1, 4, 32, 32\), want \[B,3,H,W\]"),
        (np.zeros((3, 32, 32), np.float32), ValueError, r"\(3, 32, 32\), want \[B,3,H,W\]"),
        (np.zeros((1, 3, 32, 32), np.uint8), TypeError, "images are not floating point, want float32"),
    ],
)
def test_bad_images_are_refused_in_both_modes(nano, images, error, message):
    for run in (nano, jitted(nano)):
        with pytest.raises(error, match=message):
            run(ms.Tensor(images))


def test_parts_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="num_classes is 0, want 1 or more"):
        DecoupledHead(0)
    with pytest.raises(ValueError, match="DecoupledHead: got 2 maps, want 3"):
        DecoupledHead(1, 0.125)((ms.ops.zeros((1, 32, 4, 4)), ms.ops.zeros((1, 64, 2, 2))))
    with pytest.raises(ValueError, match=r"ConvBNAct: x has shape .*, want \[B,256,H,W\]"):
        narrow, wide = CSPDarknet(0.33, 0.125), PAFPN(0.33, 0.25)
        Detector(narrow, wide, DecoupledHead(1, 0.25))(ms.ops.zeros((1, 3, 32, 32)))


@pytest.mark.parametrize("part", [CSPDarknet(0.33, 0.25), PAFPN(0.33, 0.25)])
def test_out_channels_tell_the_channels_of_csp_parts(part):
    assert part.out_channels == (64, 128, 256)


def test_out_channels_tell_the_channels_of_yolov3_parts():
    assert Darknet53().out_channels == (256, 512, 512)
    assert FPN().out_channels == (128, 256, 512)


@pytest.mark.parametrize("size", [(0, 32), (33, 32), (32, 40)])
def test_flops_of_an_impossible_size(nano, size):
    with pytest.raises(ValueError, match="want height and width as positive multiples of 32"):
        count_flops(nano, size)


def test_flops_leave_no_hook_behind(nano):
    first = count_flops(nano, (32, 64))
    assert count_flops(nano, (32, 64)) == first


def fresh(num_classes=80, **options):
    detector = build_detector("nano", num_classes)
    initialise(detector, **{"seed": 0, **options})
    return {name: value.asnumpy() for name, value in detector.parameters_dict().items()}


@pytest.fixture(scope="module")
def weights():
    return fresh()


def test_same_seed_same_weights(weights):
    for name, value in fresh().items():
        np.testing.assert_array_equal(value, weights[name])


def test_another_seed_changes_every_drawn_tensor(weights):
    other = fresh(seed=1)
    for name, value in weights.items():
        if value.ndim == 4:
            assert not np.array_equal(value, other[name]), name


def test_number_of_classes_changes_only_class_predictions(weights):
    for name, value in fresh(num_classes=3).items():
        if "cls_preds" not in name:
            np.testing.assert_array_equal(value, weights[name])


def test_convolutions_are_uniform_within_one_over_root_fan_in(weights):
    for name, value in weights.items():
        if value.ndim == 4:
            bound = 1 / math.sqrt(math.prod(value.shape[1:]))
            assert np.abs(value).max() <= bound, name
            if value.size > 2000:
                assert abs(value.std() * math.sqrt(3) / bound - 1) < 0.05, name
                assert abs(value.mean()) < 0.05 * bound, name


def test_streams_of_different_tensors_differ(weights):
    a, b = weights["head.cls_convs.0.0.pconv.conv.weight"], weights["head.reg_convs.0.0.pconv.conv.weight"]
    assert abs(np.corrcoef(a.ravel(), b.ravel())[0, 1]) < 0.1


@pytest.mark.parametrize("prior", [0.01, 0.2])
def test_biases_give_the_prior(prior):
    for name, value in fresh(prior=prior).items():
        if name.endswith("bias") and ("cls_preds" in name or "obj_preds" in name):
            np.testing.assert_allclose(1 / (1 + np.exp(-value)), prior, rtol=1e-5)


def test_batch_norm_is_the_identity(weights):
    for name, value in weights.items():
        if ".bn." in name:
            np.testing.assert_array_equal(value, 1.0 if name.endswith(("gamma", "variance")) else 0.0)


@pytest.mark.parametrize("prior", [0.0, 1.0])
def test_impossible_prior(prior):
    with pytest.raises(ValueError, match=r"want a probability in \(0, 1\)"):
        fresh(prior=prior)


def test_layers_of_other_kinds():
    own = nn.SequentialCell(nn.Conv2d(3, 8, 3, has_bias=True), nn.PReLU(8, 0.3), nn.LayerNorm((8,)), nn.Dense(8, 50))
    initialise(own, seed=0)
    values = {name: value.asnumpy() for name, value in own.parameters_dict().items()}
    np.testing.assert_array_equal(values["1.w"], np.full(8, 0.3, np.float32))
    np.testing.assert_array_equal(values["2.gamma"], 1.0)
    for name in ("3.weight", "3.bias"):
        assert 0.8 < np.abs(values[name]).max() * math.sqrt(8) <= 1.0, name
    assert 0.5 < np.abs(values["0.bias"]).max() * math.sqrt(27) <= 1.0
