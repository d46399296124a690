"""Every form of weights into a detector: all of it, or nothing and a message that says what differs."""

from __future__ import annotations

import json

import attrs
import mindspore as ms
import numpy as np
import pytest

from tests.weights.torch_files import write_state
from yolox.config import InputSpec
from yolox.errors import WeightsError
from yolox.nn import PAFPN, ConvBNAct, CSPDarknet, DecoupledHead, Detector, initialise
from yolox.recipes import megvii_recipe
from yolox.training.checkpoint import save_checkpoint
from yolox.weights.load import LoadedWeights, carry_over_channels, file_kind, load_weights, local_path, read_weights
from yolox.weights.shapes import DARKNET_STEM_INPUT

BN = {"gamma": "weight", "beta": "bias", "moving_mean": "running_mean", "moving_variance": "running_var"}


def _detector(classes: int = 3, width: float = 0.125) -> Detector:
    return Detector(CSPDarknet(0.33, width), PAFPN(0.33, width), DecoupledHead(classes, width))


@pytest.fixture(scope="module")
def detector():
    return _detector()


@pytest.fixture(scope="module")
def values(detector):
    """Random weights for every parameter, under our names."""
    rng = np.random.default_rng(0)
    shapes = {p.name: p.shape for p in detector.get_parameters()}
    return {name: rng.standard_normal(shape).astype(np.float32) for name, shape in shapes.items()}


def _megvii_key(name: str) -> str:
    root, rest = name.split(".", 1)
    module, leaf = rest.rsplit(".", 1)
    leaf = BN[leaf] if module.endswith("bn") else leaf
    return {"backbone": "backbone.backbone.", "neck": "backbone.", "head": "head."}[root] + f"{module}.{leaf}"


def _megvii(values):
    return {_megvii_key(name): value for name, value in values.items()}


def _check(detector, values, *, but=()):
    for parameter in detector.get_parameters():
        if parameter.name not in but:
            np.testing.assert_array_equal(parameter.asnumpy(), values[parameter.name].astype(np.float32))


def _zero(detector):
    for parameter in detector.get_parameters():
        parameter.set_data(ms.Tensor(np.zeros(parameter.shape, np.float32)))


def test_megvii_pth_with_counters_and_half_numbers(tmp_path, detector, values):
    _zero(detector)
    state = {name: value.astype(np.float16) for name, value in _megvii(values).items()}
    state["backbone.backbone.stem.conv.bn.num_batches_tracked"] = np.array(9)
    found = load_weights(detector, write_state(tmp_path / "w.pth", state))
    _check(detector, {name: value.astype(np.float16) for name, value in values.items()})
    assert (found.source, found.input, found.skipped) == ("megvii", InputSpec(), ())
    assert set(found.loaded) == set(values)
    assert found.summary() == f"{len(values)} tensors (megvii)"


def test_npz_under_megvii_names_and_under_ours(tmp_path, detector, values):
    for state, source in ((_megvii(values), "megvii"), (values, "unknown")):
        _zero(detector)
        np.savez(tmp_path / "w.npz", **state)
        assert load_weights(detector, tmp_path / "w.npz").source == source
        _check(detector, values)


def test_ckpt_saved_by_mindspore(tmp_path, detector, values):
    ms.save_checkpoint(
        [{"name": n, "data": ms.Tensor(v)} for n, v in values.items()], str(tmp_path / "w.ckpt")
    )
    _zero(detector)
    assert load_weights(detector, tmp_path / "w.ckpt").input is None
    _check(detector, values)


def test_own_checkpoint_prefers_the_moving_averages(tmp_path, detector, values):
    path, recipe = tmp_path / "w.safetensors", megvii_recipe("nano")
    params = {f"params.{name}": value for name, value in values.items()}
    ema = {f"ema.{name}": value + 1 for name, value in values.items()}
    state = {"momentum.head.x": np.ones(2), "step": np.array(3)}
    save_checkpoint(path, params | ema | state, recipe=recipe, class_names=("a", "b", "c"))
    found = load_weights(detector, path)
    _check(detector, {name: value + 1 for name, value in values.items()})
    assert (found.recipe, found.input, found.class_names) == (recipe, recipe.input, ("a", "b", "c"))
    load_weights(detector, path, averages=False)
    _check(detector, values)
    save_checkpoint(path, params | state, recipe=recipe, class_names=("a", "b", "c"))
    _zero(detector)
    load_weights(detector, path)
    _check(detector, values)
    with pytest.raises(WeightsError, match="has one set of weights, .* leave `averages`"):
        load_weights(detector, path, averages=False)


def test_a_checkpoint_of_a_run_is_named_without_its_suffix(tmp_path):
    for name in ("best", "last", "epoch_2"):
        (tmp_path / f"{name}.safetensors").touch()
        assert local_path(tmp_path / name) == tmp_path / f"{name}.safetensors"
    with pytest.raises(WeightsError, match="first: no such file"):
        read_weights(local_path(tmp_path / "first"))


def test_the_last_step_of_a_file_with_one_set_of_weights_is_refused(tmp_path, detector, values):
    np.savez(tmp_path / "w.npz", **values)
    with pytest.raises(WeightsError, match="has one set of weights"):
        load_weights(detector, tmp_path / "w.npz", averages=False)


def test_a_compiled_network_sees_the_new_weights(tmp_path):
    """`Parameter.set_data` replaces memory that a compiled graph keeps reading; loading writes into it."""
    layer, images = ConvBNAct(3, 4, 3, 1).set_train(False), ms.Tensor(np.ones((1, 3, 8, 8), np.float32))
    forward = ms.jit(layer.construct)
    before = forward(images).asnumpy()
    np.savez(
        tmp_path / "w.npz", **{p.name: np.full(p.shape, 0.5, np.float32) for p in layer.get_parameters()}
    )
    load_weights(layer, tmp_path / "w.npz")
    after = forward(images).asnumpy()
    assert np.abs(after - before).max() > 1
    np.testing.assert_allclose(after, layer(images).asnumpy(), rtol=1e-5)


def test_another_number_of_classes_keeps_everything_but_the_class_predictions(tmp_path, values):
    other = _detector(classes=5)
    before = {p.name: p.asnumpy().copy() for p in other.get_parameters()}
    found = load_weights(other, write_state(tmp_path / "w.pth", _megvii(values)))
    classes = {f"head.cls_preds.{i}.{leaf}" for i in range(3) for leaf in ("weight", "bias")}
    assert set(found.skipped) == classes and set(found.loaded) == set(values) - classes
    assert "another number of classes, so the class predictions (6 tensors) are new" in found.summary()
    _check(other, values, but=classes)
    for name in classes:
        np.testing.assert_array_equal(other.parameters_dict()[name].asnumpy(), before[name])


def test_another_scale_is_refused_and_nothing_is_written(tmp_path, detector, values):
    path = write_state(tmp_path / "w.pth", _megvii(values))
    wide = _detector(classes=3, width=0.25)
    before = {p.name: p.asnumpy().copy() for p in wide.get_parameters()}
    with pytest.raises(WeightsError) as error:
        load_weights(wide, path)
    lines = str(error.value).splitlines()
    assert len(lines) == 5
    assert "w.pth does not fit the detector" in lines[0] and lines[-1].startswith("  and ")
    assert lines[0].endswith(" tensors differ: it is of another scale or another detector")
    assert "  backbone.stem.conv.conv.weight: file has (8, 12, 3, 3), detector wants (16, 12, 3, 3)" in lines
    _check(wide, before)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda v: v.astype(np.int64), "of type int64, want floating point"),
        (lambda v: v * np.float32("nan"), "numbers that are not finite"),
        (lambda v: v.astype(np.float64) * 1e300, "numbers that are not finite"),
    ],
)
def test_numbers_that_are_no_weights_are_refused(tmp_path, detector, values, change, message):
    _zero(detector)
    name = "neck.lateral_conv0.conv.weight"
    np.savez(tmp_path / "w.npz", **(values | {name: change(values[name])}))
    with pytest.raises(WeightsError, match=f"w.npz: {name} .*{message}"):
        load_weights(detector, tmp_path / "w.npz")
    assert all((p.asnumpy() == 0).all() for p in detector.get_parameters())


def test_content_decides_not_the_name(tmp_path, values):
    state = write_state(tmp_path / "w.npz", _megvii(values))
    assert file_kind(state) == "pth"
    np.savez(tmp_path / "b.npz", a=np.ones(2))
    (tmp_path / "b.npz").rename(tmp_path / "b.pth")
    assert file_kind(tmp_path / "b.pth") == "npz"
    assert list(read_weights(tmp_path / "b.pth")[0]) == ["a"]
    save_checkpoint(tmp_path / "c", {"params.a": np.ones(2)}, recipe=megvii_recipe("s"), class_names=())
    assert file_kind(tmp_path / "c") == "safetensors"


TORCH_LEGACY = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19."  # the number with which torch began its files before 1.6


@pytest.mark.parametrize(
    "data", [b"", b"P", b"hello", b"\x80\x02}q\x00.", TORCH_LEGACY, b"PK\x03\x04broken", b"\x0abroken"]
)
def test_other_files_are_refused(tmp_path, detector, data):
    path = tmp_path / "w.bin"
    with pytest.raises(WeightsError, match="w.bin: no such file"):
        load_weights(detector, path)
    path.write_bytes(data)
    with pytest.raises(WeightsError, match=f"w.bin: .*{'before 1.6' if data == TORCH_LEGACY else ''}"):
        load_weights(detector, path)


def test_names_of_nobody_are_refused(tmp_path, detector):
    np.savez(tmp_path / "w.npz", **{"model.model.99.x": np.ones(1)})
    with pytest.raises(WeightsError, match="w.npz: 'model.model.99.x' is no parameter of MindYOLO"):
        load_weights(detector, tmp_path / "w.npz")
    np.savez(tmp_path / "w.npz", **{"backbone.backbone.a.w": np.ones(1), "other": np.ones(1)})
    with pytest.raises(WeightsError, match="w.npz: 'other' is no parameter of Megvii"):
        load_weights(detector, tmp_path / "w.npz")


def test_mindyolo_names_of_a_small_file(tmp_path):
    np.savez(
        tmp_path / "w.npz",
        **{"model.model.0.conv.bn.gamma": np.ones(2), "model.model.24.stems.0.bn.beta": 1.0},
    )
    state, metadata = read_weights(tmp_path / "w.npz")
    assert set(state) == {"backbone.stem.conv.bn.gamma", "head.stems.0.bn.beta"}
    assert (metadata.source, metadata.input.channel_order, metadata.input.letterbox) == ("mindyolo", "rgb", "center")
    assert json.dumps(metadata.input.pixel_scale) == json.dumps(1 / 255)


def small(channels):
    backbone = CSPDarknet(0.33, 0.125, in_channels=channels)
    return Detector(backbone, PAFPN(0.33, 0.125), DecoupledHead(3, 0.125))


def check_answers(detector, images, other, other_images):
    pairs = [d.set_train(False)(ms.Tensor(x)) for d, x in ((detector, images), (other, other_images))]
    for found, want in zip(*pairs, strict=True):
        largest = float(want.abs().max().asnumpy())
        assert largest > 0
        np.testing.assert_allclose(found.asnumpy(), want.asnumpy(), atol=1e-4 * largest)


@pytest.fixture(scope="module")
def colour_file(tmp_path_factory, detector):
    """Weights for colour under Megvii's names, which takes BGR of 0 to 255."""
    path = tmp_path_factory.mktemp("colour") / "w.npz"
    initialise(detector, seed=0)
    np.savez(path, **_megvii({p.name: p.asnumpy() for p in detector.get_parameters()}))
    return path


def test_grey_images_get_the_answer_of_colour_images_of_three_equal_channels(colour_file, detector):
    grey = np.random.default_rng(0).uniform(0, 255, (2, 1, 32, 64)).astype(np.float32)
    one = small(1)
    found = load_weights(one, colour_file)
    assert (found.file_channels, found.input.channels) == (3, 1) and "carried over from 3 channels" in found.summary()
    check_answers(one, grey, detector, grey.repeat(3, axis=1))


@pytest.mark.parametrize("channels", [2, 5])
def test_of_other_channels_only_the_first_three_count(colour_file, detector, channels):
    images = np.random.default_rng(0).uniform(0, 255, (2, channels, 32, 64)).astype(np.float32)
    many, colour = small(channels), np.zeros((2, 3, 32, 64), np.float32)
    colour[:, : min(channels, 3)] = images[:, :3]
    load_weights(many, colour_file)
    check_answers(many, images, detector, colour)


def test_weights_of_other_channels_than_three_fit_only_their_own(tmp_path):
    five = small(5)
    tensors = {f"params.{p.name}": p.asnumpy() for p in five.get_parameters()}
    recipe = megvii_recipe("nano")
    spec = attrs.evolve(recipe.input, channels=5, max_value=4095)
    save_checkpoint(tmp_path / "w.safetensors", tensors, recipe=attrs.evolve(recipe, input=spec), class_names=("a", "b", "c"))
    assert load_weights(small(5), tmp_path / "w.safetensors").input == spec
    with pytest.raises(WeightsError, match="is for images of 5 channels, the detector for 3; want a detector for 5"):
        load_weights(_detector(), tmp_path / "w.safetensors")


def test_weights_with_means_of_three_channels_are_not_carried_over(colour_file):
    with pytest.raises(WeightsError, match="takes a mean away from each of 3 channels"):
        load_weights(small(1), colour_file, legacy=True)


def test_darknet_is_carried_over_too():
    weights = {DARKNET_STEM_INPUT: np.random.default_rng(0).normal(size=(32, 3, 3, 3)).astype(np.float32)}
    about = LoadedWeights(source="megvii", loaded=())
    made, _ = carry_over_channels(weights, about, 1)
    np.testing.assert_allclose(made[DARKNET_STEM_INPUT][:, 0], weights[DARKNET_STEM_INPUT].sum(axis=1))
    assert carry_over_channels(weights, about, 3) == (weights, about)
