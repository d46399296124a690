"""Parameter names of MMDetection, mmyolo and PaddleDetection, and whose names those of other files are."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

import numpy as np
from attrs import frozen

from yolox.config import InputSpec
from yolox.errors import WeightsError
from yolox.weights.megvii import MEGVII_INPUT

PADDLE_INPUT = InputSpec(channel_order="rgb", pixel_scale=1.0, letterbox="top_left")
"""What PaddleDetection's YOLOX is trained on; the size is the scale's."""

_TORCH_BN = {"weight": "gamma", "bias": "beta", "running_mean": "moving_mean", "running_var": "moving_variance"}
_PADDLE_BN = {"weight": "gamma", "bias": "beta", "_mean": "moving_mean", "_variance": "moving_variance"}
_MM_CSP = {".main_conv.": ".conv1.", ".short_conv.": ".conv2.", ".final_conv.": ".conv3.", ".blocks.": ".m."}
_MM_LAYERS = {**_MM_CSP, ".depthwise_conv.": ".dconv.", ".pointwise_conv.": ".pconv."}
_MM_BACKBONE = {r"backbone\.stem": "backbone.stem"} | {
    rf"backbone\.stage{stage}": f"backbone.dark{stage + 1}" for stage in (1, 2, 3, 4)
}
_MM_PARTS = {"cls_convs": "cls_convs", "reg_convs": "reg_convs", "conv_cls": "cls_preds", "conv_reg": "reg_preds",
             "conv_obj": "obj_preds"}  # fmt: skip
_MM_HEAD = {
    rf"bbox_head\.(?:head_module\.)?multi_level_{theirs}\.(\d+)": rf"head.{ours}.\1" for theirs, ours in _MM_PARTS.items()
}
_NECK = ("lateral_conv0", "reduce_conv1", "C3_p4", "C3_p3", "bu_conv2", "bu_conv1", "C3_n3", "C3_n4")


def _neck(*names: str) -> dict[str, str]:
    """Returns the parts of a neck, named by another system in the order of `_NECK`."""
    return {rf"neck\.{re.escape(theirs)}": f"neck.{ours}" for theirs, ours in zip(names, _NECK, strict=True)}


@frozen(kw_only=True)
class NameMap:
    """How one system names the parameters of YOLOX."""

    system: str
    """Name for messages."""
    marks: re.Pattern
    """Found in a name of every such file, and in none of other systems."""
    parts: Mapping[str, str]
    """Pattern of the beginning of a name to the beginning here; the first that fits counts."""
    layers: Mapping[str, str]
    """Part of a name to the part here."""
    bn: Mapping[str, str]
    """Last part of the names of batch normalisation to the last part here."""
    input: InputSpec
    """Pixels that the weights take; the size is the scale's."""


def _openmmlab(system: str, head: str, stems: str, neck: dict[str, str]) -> NameMap:
    """Returns the map of MMDetection or mmyolo, which differ in their necks and in the beginning of the head's names."""
    return NameMap(
        system=system,
        marks=re.compile(rf"^{re.escape(head)}\.multi_level_conv_obj\."),
        parts=_MM_BACKBONE | _MM_HEAD | neck | {rf"neck\.{stems}\.(\d)": r"head.stems.\1"},
        layers=_MM_LAYERS, bn=_TORCH_BN, input=MEGVII_INPUT,
    )  # fmt: skip


MMDETECTION = _openmmlab("mmdetection", "bbox_head", "out_convs", _neck(
    "reduce_layers.0", "reduce_layers.1", "top_down_blocks.0", "top_down_blocks.1",
    "downsamples.0", "downsamples.1", "bottom_up_blocks.0", "bottom_up_blocks.1",
))  # fmt: skip
MMYOLO = _openmmlab("mmyolo", "bbox_head.head_module", "out_layers", _neck(
    "reduce_layers.2", "top_down_layers.0.1", "top_down_layers.0.0", "top_down_layers.1",
    "downsample_layers.0", "downsample_layers.1", "bottom_up_layers.0", "bottom_up_layers.1",
))  # fmt: skip
PADDLEDETECTION = NameMap(
    system="paddledetection",
    marks=re.compile(r"head\.stem_conv\.\d+\.conv\.weight$"),
    parts={
        r"backbone\.stem": "backbone.stem",
        r"backbone\.layers\d+\.stage4\.csp_layer": "backbone.dark5.2",
        r"backbone\.layers\d+\.stage4\.spp_layer": "backbone.dark5.1",
        **{rf"backbone\.layers\d+\.stage{n}\.csp_layer": f"backbone.dark{n + 1}.1" for n in (1, 2, 3)},
        **{rf"backbone\.layers\d+\.stage{n}\.conv_layer": f"backbone.dark{n + 1}.0" for n in (1, 2, 3, 4)},
        **_neck("lateral_convs.0", "lateral_convs.1", "fpn_blocks.0", "fpn_blocks.1",
                "downsample_convs.0", "downsample_convs.1", "pan_blocks.0", "pan_blocks.1"),
        r"(?:yolo_)?head\.stem_conv\.(\d+)": r"head.stems.\1",
        r"(?:yolo_)?head\.conv_cls\.(\d+)\.2": r"head.cls_preds.\1",
        r"(?:yolo_)?head\.conv_reg\.(\d+)\.2": r"head.reg_obj_preds.\1",
        r"(?:yolo_)?head\.conv_cls\.(\d+)": r"head.cls_convs.\1",
        r"(?:yolo_)?head\.conv_reg\.(\d+)": r"head.reg_convs.\1",
    },
    layers={".bottlenecks.": ".m.", ".dw_conv.": ".dconv.", ".pw_conv.": ".pconv."},
    bn=_PADDLE_BN, input=PADDLE_INPUT,
)  # fmt: skip
NAME_MAPS = (MMDETECTION, MMYOLO, PADDLEDETECTION)

_OTHERS = {
    r"^model\.\d+\.": "Ultralytics or YOLOv5, whose networks are others than YOLOX",
    r"^backbone\.body\.|^backbone\.fpn\.|^roi_heads\.": "torchvision's detectors",
    r"^backbone\.bottom_up\.|^proposal_generator\.": "Detectron2",
    r"^transformer\.|^class_embed|^model\.encoder\.layers\.": "DETR",
    r"^bbox_head\.": "MMDetection, of another detector than YOLOX",
    r"\._mean$": "PaddleDetection, of another detector than YOLOX",
    r"^module_list\.": "a Darknet port",
}
_WRAPPERS = ("module.", "_orig_mod.", "ema_model.", "ema.", "model.")
_COUNTERS = ("steps", "n_averaged", "updates", "ema_updates")


def name_map_of(names: Iterable[str]) -> NameMap | None:
    """Returns the map of the system whose names these are, None for none of the three.

    Args:
        names: of a file's tensors.

    Returns:
        One of `NAME_MAPS`, or None.

    Example:
        >>> name_map_of(["bbox_head.multi_level_conv_obj.0.weight"]).system, name_map_of(["a"])
        ('mmdetection', None)
    """
    names = list(names)
    return next((each for each in NAME_MAPS if any(each.marks.search(name) for name in names)), None)


def foreign_name(name: str, names: NameMap) -> str | None:
    """Returns this library's name for a parameter of another system.

    Args:
        name: of the file.
        names: the system's map.

    Returns:
        The name here; None for what nothing needs: counters, and MMDetection's second copy of averaged weights.

    Raises:
        WeightsError: the name belongs to no part of YOLOX.

    Example:
        >>> foreign_name("neck.bottom_up_blocks.0.main_conv.bn.running_var", MMDETECTION)
        'neck.C3_n3.conv1.bn.moving_variance'
        >>> foreign_name("backbone.layers4.stage2.csp_layer.bottlenecks.0.conv1.bn._mean", PADDLEDETECTION)
        'backbone.dark3.1.m.0.conv1.bn.moving_mean'
    """
    if name.endswith(".num_batches_tracked") or name.startswith("ema_"):
        return None
    for pattern, part in names.parts.items():
        if match := re.match(rf"{pattern}(?=\.)", name):
            module, _, leaf = (match.expand(part) + name[match.end() :]).rpartition(".")
            for old, new in names.layers.items():
                module = f"{module}.".replace(old, new).removesuffix(".")
            return f"{module}.{names.bn.get(leaf, leaf) if module.endswith('.bn') else leaf}"
    raise WeightsError(f"{name[:100]!r} is no parameter of YOLOX as {names.system} names them")


def foreign_to_yolox(state: Mapping[str, np.ndarray], names: NameMap) -> dict[str, np.ndarray]:
    """Renames a state dict of another system.

    Args:
        state: its names to arrays.
        names: the system's map.

    Returns:
        This library's names to arrays. PaddleDetection's one convolution of boxes and objectness becomes two.

    Raises:
        WeightsError: a name belongs to no part of YOLOX.
    """
    result = {}
    for name, value in state.items():
        renamed = foreign_name(name, names)
        if renamed is None:
            continue
        if "reg_obj_preds" in renamed:
            result[renamed.replace("reg_obj_preds", "reg_preds")] = value[:4]
            result[renamed.replace("reg_obj_preds", "obj_preds")] = value[4:]
        else:
            result[renamed] = value
    return result


def without_wrappers(state: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Removes the beginnings that wrappers of a network put before every name, and their counters.

    Args:
        state: names to arrays.

    Returns:
        The same arrays. `module.` is that of torch's DataParallel and of averaged models, `_orig_mod.` of its compiler.

    Example:
        >>> list(without_wrappers({"module.head.a": 1, "module.head.b": 2, "steps": 3}))
        ['head.a', 'head.b']
    """
    kept = {name: value for name, value in state.items() if name not in _COUNTERS} or dict(state)
    while True:
        # MindYOLO's and Ultralytics' names begin with `model.` themselves
        wrappers = [w for w in _WRAPPERS if all(name.startswith(w) for name in kept)]
        if not wrappers or not kept or any(re.match(r"model\.(model\.)?\d", name) for name in kept):
            return kept
        kept = {name.removeprefix(wrappers[0]): value for name, value in kept.items()}


def system_of(names: Iterable[str]) -> str | None:
    """Returns whose names these look like, for the message about a file that does not fit.

    Args:
        names: of a file's tensors.

    Returns:
        A system, or None.

    Example:
        >>> system_of(["model.0.conv.weight"])
        'Ultralytics or YOLOv5, whose networks are others than YOLOX'
    """
    names = list(names)
    return next((who for pattern, who in _OTHERS.items() if any(re.search(pattern, name) for name in names)), None)
