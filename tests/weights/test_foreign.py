"""Files of other systems, made under the names that these systems publish, fill a detector."""

from __future__ import annotations

import pickle
import re
import sys
import types

import numpy as np
import pytest

from tests.nn.scales import build_detector
from tests.weights.torch_files import _encode, contiguous, write, write_state
from yolox.config import InputSpec
from yolox.errors import WeightsError
from yolox.weights.foreign import MMYOLO, PADDLE_INPUT, foreign_name, system_of, without_wrappers
from yolox.weights.load import load_weights, read_weights
from yolox.weights.megvii import MEGVII_LEGACY_INPUT

TORCH = {"gamma": "weight", "beta": "bias", "moving_mean": "running_mean", "moving_variance": "running_var"}
PADDLE = {"gamma": "weight", "beta": "bias", "moving_mean": "_mean", "moving_variance": "_variance"}
MM_BLOCKS = [(r"\.m\.", ".blocks."), (r"\.dconv\.", ".depthwise_conv."), (r"\.pconv\.", ".pointwise_conv.")]
MM_CSP = {"conv1": "main_conv", "conv2": "short_conv", "conv3": "final_conv"}
NECKS = {
    "mmdetection": {
        "lateral_conv0": "reduce_layers.0", "reduce_conv1": "reduce_layers.1", "C3_p4": "top_down_blocks.0",
        "C3_p3": "top_down_blocks.1", "bu_conv2": "downsamples.0", "bu_conv1": "downsamples.1",
        "C3_n3": "bottom_up_blocks.0", "C3_n4": "bottom_up_blocks.1",
    },
    "mmyolo": {
        "lateral_conv0": "reduce_layers.2", "reduce_conv1": "top_down_layers.0.1", "C3_p4": "top_down_layers.0.0",
        "C3_p3": "top_down_layers.1", "bu_conv2": "downsample_layers.0", "bu_conv1": "downsample_layers.1",
        "C3_n3": "bottom_up_layers.0", "C3_n4": "bottom_up_layers.1",
    },
    "paddledetection": {
        "lateral_conv0": "lateral_convs.0", "reduce_conv1": "lateral_convs.1", "C3_p4": "fpn_blocks.0",
        "C3_p3": "fpn_blocks.1", "bu_conv2": "downsample_convs.0", "bu_conv1": "downsample_convs.1",
        "C3_n3": "pan_blocks.0", "C3_n4": "pan_blocks.1",
    },
}  # fmt: skip
STAGES = {"dark2": ("1.conv", "2.csp"), "dark3": ("3.conv", "4.csp"), "dark4": ("5.conv", "6.csp"),
          "dark5": ("7.conv", "8.spp", "9.csp")}  # fmt: skip


def _leaf(name, leaves):
    module, leaf = name.rsplit(".", 1)
    return f"{module}.{leaves[leaf] if module.endswith('.bn') else leaf}"


def mm_name(name, system):
    """The name in MMDetection or mmyolo, from its published source."""
    name = _leaf(name, TORCH)
    part, rest = name.split(".", 1)
    stems = "neck.out_convs." if system == "mmdetection" else "neck.out_layers."
    head = "bbox_head." if system == "mmdetection" else "bbox_head.head_module."
    if part == "head":
        kind, rest = rest.split(".", 1)
        kinds = {"cls_convs": "multi_level_cls_convs", "reg_convs": "multi_level_reg_convs"}
        kinds |= {f"{k}_preds": f"multi_level_conv_{k}" for k in ("cls", "reg", "obj")}
        name = f"{stems}{rest}" if kind == "stems" else f"{head}{kinds[kind]}.{rest}"
    else:
        block, rest = rest.split(".", 1)
        if part == "backbone" and block != "stem":
            block = f"stage{int(block[4:]) - 1}"
        block = NECKS[system].get(block, block)
        csp = re.fullmatch(r"((?:\d\.)?)(conv[123])\.((?:conv|bn)\..*)", rest)
        is_spp = block == "stage4" and rest.startswith("1.")
        if csp and not is_spp and (part == "neck" or csp[1]):
            rest = f"{csp[1]}{MM_CSP[csp[2]]}.{csp[3]}"
        name = f"{part}.{block}.{rest}"
    for old, new in MM_BLOCKS:
        name = re.sub(old, new, name)
    return name


def paddle_name(name):
    """The name in PaddleDetection, from its published source."""
    name = _leaf(name, PADDLE)
    part, block, rest = name.split(".", 2)
    if part == "head":
        level, rest = rest.split(".", 1)
        kinds = {"stems": f"stem_conv.{level}", "cls_convs": f"conv_cls.{level}", "reg_convs": f"conv_reg.{level}"}
        kinds |= {"cls_preds": f"conv_cls.{level}.2", "reg_preds": f"conv_reg.{level}.2", "obj_preds": f"conv_reg.{level}.2"}
        name = f"head.{kinds[block]}.{rest}"
    elif part == "backbone" and block != "stem":
        index, rest = rest.split(".", 1)
        number, kind = STAGES[block][int(index)].split(".")
        name = f"backbone.layers{number}.stage{int(block[4:]) - 1}.{kind}_layer.{rest}"
    else:
        name = f"{part}.{NECKS['paddledetection'].get(block, block)}.{rest}"
    return name.replace(".m.", ".bottlenecks.").replace(".dconv.", ".dw_conv.").replace(".pconv.", ".pw_conv.")


@pytest.fixture(scope="module")
def detector():
    return build_detector("nano", 3)


@pytest.fixture(scope="module")
def values(detector):
    rng = np.random.default_rng(0)
    return {p.name: rng.normal(size=p.shape).astype(np.float32) for p in detector.get_parameters()}


def _check(detector, values):
    for parameter in detector.get_parameters():
        np.testing.assert_array_equal(parameter.asnumpy(), values[parameter.name], err_msg=parameter.name)


def _paddle(values):
    state = {}
    for name, value in values.items():
        if ".obj_preds." in name:
            continue
        if ".reg_preds." in name:
            value = np.concatenate([value, values[name.replace("reg_preds", "obj_preds")]])
        state[paddle_name(name)] = value
    return state


@pytest.mark.parametrize("system", ["mmdetection", "mmyolo"])
def test_names_of_openmmlab(tmp_path, detector, values, system):
    state = {mm_name(name, system): value for name, value in values.items()}
    state["backbone.stem.conv.bn.num_batches_tracked"] = np.array(9)
    state["ema_backbone_stem_conv_conv_weight"] = values["backbone.stem.conv.conv.weight"] * 0 + 7
    found = load_weights(detector, write_state(tmp_path / "w.pth", state, key="state_dict"))
    assert (found.source, found.size_assumed) == (system, True)
    assert found.input == detector.spec == InputSpec(input_size=(416, 416))
    _check(detector, values)


@pytest.mark.parametrize("protocol", [2, 4])
def test_pdparams_of_paddledetection(tmp_path, detector, values, protocol):
    state = _paddle(values) | {"StructuredToParameterName@@": {"a": "b"}}
    (tmp_path / "w.pdparams").write_bytes(pickle.dumps(state, protocol=protocol))
    found = load_weights(detector, tmp_path / "w.pdparams")
    assert found.source == "paddledetection" and found.input.channel_order == PADDLE_INPUT.channel_order == "rgb"
    _check(detector, values)


class _Pair:
    """How paddle pickles its own tensors: a call of `tuple`."""

    def __init__(self, array):
        self.array = array

    def __reduce__(self):
        return tuple, (("conv2d_0.w_0", self.array),)


class _Evil:
    def __reduce__(self):
        return eval, ("__import__('os').system('touch it_ran')",)


def test_pdparams_with_pairs_and_with_code(tmp_path, values):
    state = {name: _Pair(value) for name, value in _paddle(values).items()}
    (tmp_path / "w.pdparams").write_bytes(pickle.dumps(state, protocol=4))
    found, _ = read_weights(tmp_path / "w.pdparams")
    np.testing.assert_array_equal(found["head.obj_preds.1.weight"], values["head.obj_preds.1.weight"])
    (tmp_path / "w.pdparams").write_bytes(pickle.dumps({"a": _Evil()}, protocol=4))
    with pytest.raises(WeightsError, match="names 'builtins.eval'.*nothing was run"):
        read_weights(tmp_path / "w.pdparams")


@pytest.mark.parametrize("change", ["shape", "object", "more bytes"])
def test_damaged_pdparams_are_refused(tmp_path, change):
    array = np.zeros(3, object if change == "object" else np.float32)
    data = pickle.dumps({"a": array}, protocol=2 if change == "more bytes" else 4)
    if change == "shape":
        data = data.replace(b"K\x03\x85", b"K\x04\x85")
    if change == "more bytes":  # the text of an array taken again and again from the memo
        data = b"\x80\x02](c_codecs\nencode\nq\x00X\x90\x01\x00\x00" + b"a" * 400 + b"q\x01X\x06\x00\x00\x00latin1q\x02\x86R"
        data += b"h\x00h\x01h\x02\x86R" * 100 + b"e."
    (tmp_path / "w.pdparams").write_bytes(data)
    with pytest.raises(WeightsError, match="w.pdparams: "):
        read_weights(tmp_path / "w.pdparams")


@pytest.mark.parametrize("wrap", ["module.", "module.module.", "_orig_mod.", "model."])
@pytest.mark.parametrize("key", ["model", "ema_state_dict"])
def test_wrapped_megvii_names(tmp_path, detector, values, wrap, key):
    roots = {"backbone": "backbone.backbone.", "neck": "backbone.", "head": "head."}
    state = {}
    for name, value in values.items():
        root, rest = _leaf(name, TORCH).split(".", 1)
        state[f"{wrap}{roots[root]}{rest}"] = value
    state["steps"] = np.array(3)
    found, about = read_weights(write_state(tmp_path / "w.pth", state, key=key))
    assert about.source == "megvii" and found.keys() == values.keys()


class HistoryBuffer:
    """What MMEngine's checkpoints of a training hold beside the weights: arrays of the values that it logged."""

    def __init__(self):
        self._log_history, self.max_length = np.array([0.5, 0.25]), 1000000


HistoryBuffer.__module__ = "mmengine.logging.history_buffer"


def test_a_checkpoint_of_mmengine_is_read_with_its_logged_values(tmp_path, detector, values, monkeypatch):
    for name in ("mmengine", "mmengine.logging", HistoryBuffer.__module__):
        monkeypatch.setitem(sys.modules, name, types.SimpleNamespace(HistoryBuffer=HistoryBuffer))
    state, storages = contiguous({mm_name(name, "mmdetection"): value for name, value in values.items()})
    hub = {"log_scalars": {"train/loss": HistoryBuffer()}, "runtime_info": {"iter": 9, "cfg": "model = dict()"}}
    beside = pickle.dumps(hub, protocol=2)[2:-1]  # without protocol and end
    root = b"\x80\x02}(" + _encode("message_hub") + beside + _encode("state_dict") + _encode(state) + b"u."
    found = load_weights(detector, write(tmp_path / "epoch_3.pth", root, storages))
    assert found.source == "mmdetection"
    _check(detector, values)


NAMED = {
    "mmdetection 2": {"meta": {"epoch": 3, "CLASSES": ("cat", "dog")}},
    "mmdetection 3": {"meta": {"dataset_meta": {"classes": ("cat", "dog"), "palette": [(1, 2, 3)]}}},
    "libreyolo": {"names": {0: "cat", 1: "dog "}, "nc": 2, "model_family": "yolox"},
    "a list": {"class_names": ["cat", "dog"]},
}


def _write_named(path, classes, beside):
    head = {f"head.cls_preds.{i}.weight": np.zeros((classes, 4, 1, 1), np.float32) for i in range(3)}
    state, storages = contiguous(head)
    return write(path, {**beside, "model": state}, storages)


@pytest.mark.parametrize("system", NAMED)
def test_class_names_of_other_systems_are_read(tmp_path, system, caplog):
    _, about = read_weights(_write_named(tmp_path / "w.pth", 2, NAMED[system]))
    assert about.class_names == ("cat", "dog") and not caplog.text


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["cat", "dog"], r"names 2 classes and predicts 3; its class names are not taken \('cat', 'dog'\)"),
        (["a", "b", "a "], "has empty or equal class names"),
        (["a", "b", ""], "has empty or equal class names"),
    ],
)
def test_class_names_that_do_not_fit_are_told_and_not_taken(tmp_path, names, message, caplog):
    _, about = read_weights(_write_named(tmp_path / "w.pth", 3, {"names": names}))
    assert about.class_names is None and re.search(message, caplog.text)


@pytest.mark.parametrize("names", [{0: "cat", 2: "dog"}, {"names": 3}, 7, [], [1, 2], None])
def test_what_is_no_list_of_class_names_is_none(tmp_path, names, caplog):
    _, about = read_weights(_write_named(tmp_path / "w.pth", 2, {"names": names, "meta": "text"}))
    assert about.class_names is None and not caplog.text


def test_legacy_weights_take_normalised_rgb(tmp_path, detector, values):
    state = {mm_name(name, "mmdetection"): value for name, value in values.items()}
    with pytest.raises(WeightsError, match="is a file of mmdetection; `legacy` is for Megvii's"):
        load_weights(detector, write_state(tmp_path / "w.pth", state), legacy=True)
    roots = {"backbone": "backbone.backbone.", "neck": "backbone.", "head": "head."}
    state = {roots[n.split(".", 1)[0]] + _leaf(n, TORCH).split(".", 1)[1]: value for n, value in values.items()}
    found = load_weights(detector, write_state(tmp_path / "w.pth", state), legacy=True)
    assert found.input.mean == MEGVII_LEGACY_INPUT.mean and found.input.channel_order == "rgb"
    assert found.input.input_size == (416, 416)
    np.savez(tmp_path / "converted.npz", **values)
    found = load_weights(detector, tmp_path / "converted.npz", legacy=True)
    assert found.source == "unknown" and found.input.mean == MEGVII_LEGACY_INPUT.mean


def test_names_of_other_networks_are_told(tmp_path, detector):
    state = {f"model.{i}.conv.weight": np.zeros((2, 2), np.float32) for i in range(30)}
    with pytest.raises(WeightsError, match="its names look like those of Ultralytics"):
        load_weights(detector, write_state(tmp_path / "w.pth", state))
    with pytest.raises(WeightsError, match="'neck.else.weight' is no parameter of YOLOX as mmyolo names them"):
        state = {"bbox_head.head_module.multi_level_conv_obj.0.bias": np.zeros(1), "neck.else.weight": np.zeros(1)}
        load_weights(detector, write_state(tmp_path / "w.pth", state))
    assert system_of(["head.stems.0.conv.weight"]) is None


def test_names_without_wrappers_stay():
    assert list(without_wrappers({"model.model.0.conv.weight": 1})) == ["model.model.0.conv.weight"]
    assert foreign_name("ema_a", MMYOLO) is None
