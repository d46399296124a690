"""Static int8 quantisation of an exported ONNX file; the layers that are most sensitive stay in float, found by measuring."""

from __future__ import annotations

import copy
import logging
import os
from collections.abc import Callable, Sequence
from contextlib import contextmanager
from functools import cache, partial
from pathlib import Path

import numpy as np
from attrs import field, frozen

from yolox.config import InputSpec
from yolox.data.content import name_some
from yolox.data.dataset import DetectionDataset
from yolox.data.duplicates import find_leaks, hash_images, image_hash
from yolox.data.header import IMAGE_SUFFIXES
from yolox.data.image import MAX_PIXELS, read_image
from yolox.data.layout import find_layout, read_data
from yolox.environment import import_extra
from yolox.errors import ExportError
from yolox.export.onnx_file import INPUT
from yolox.export.runner import full_groups, onnx_detector, to_planes

OPSET = 13
"""First version of the ONNX operator set with a scale for each channel."""
MEASURED = 6
"""Calibration images on which layers are measured: each layer is run on all of them."""
SMALLEST_SHARE = 0.005
"""Share of all multiplications from which on a layer is measured."""
LARGEST_PART = 0.25
"""A layer that alone makes a larger part of the tolerance stays in float."""
MAX_AP_DROP = 0.005
TOLERANCES = (0.2, 0.14, 0.1, 0.07, 0.05)
"""Output errors that are tried one after the other, until the AP is accepted."""


@frozen(kw_only=True)
class Int8Config:
    """How a file is quantised, and when it is accepted."""

    images: Sequence[np.ndarray] = field(repr=False)
    """Calibration images, uint8 BGR [H,W,3], or as the input takes them, of any size; others than those that are evaluated. A few
    dozen are enough."""
    evaluate: Callable[[Callable], float] | None = field(default=None, repr=False)
    """From a detector of `open_exported` to its AP; None accepts the first file without an evaluation."""
    max_ap_drop: float = MAX_AP_DROP
    """The file is refused when its AP is lower than that of the float file by more than this."""


def read_calibration_images(
    source: str | os.PathLike,
    *,
    most: int = 32,
    evaluated: DetectionDataset | None = None,
    spec: InputSpec = InputSpec(),  # noqa: B008  frozen
    **conventions,
) -> tuple[list[np.ndarray], list[str]]:
    """Reads images to calibrate on, without those on which the AP is evaluated.

    Args:
        source: a folder of images; or a dataset in any format, of which the part train, else the first, is taken.
        most: images at most, at equal distances.
        evaluated: images that are equal to one of this dataset, or look like one (`find_leaks`), are left out.
        spec: channels and bits of the images.
        conventions: of the dataset, as for `read_data`; `max_pixels` is for a folder, too.

    Returns:
        Images [H,W,3] uint8 BGR, or as `spec` says, and a line for each that was left out.

    Raises:
        DataError: the dataset or an image cannot be read.
        ExportError: there are no images, or none is left.
    """
    if most < 1:
        raise ExportError(f"`calibrate_images`: got {most}, want 1 or more")
    paths = sorted(str(path) for path in Path(source).glob("*") if path.suffix.lower() in IMAGE_SUFFIXES)
    if not paths:
        layout = find_layout(source)
        dataset = read_data(layout, "train" if "train" in layout.parts else next(iter(layout.parts)), **conventions)
        paths = [os.path.join(dataset.image_dir, name) for name in dataset.file_names]
    if not paths:
        raise ExportError(f"{source}: has no images to calibrate on")
    paths = [paths[index * len(paths) // most] for index in range(most)] if len(paths) > most else paths
    kind = {"channels": spec.channels, "max_value": spec.max_value, "max_pixels": conventions.get("max_pixels", MAX_PIXELS)}
    images = [read_image(path, **kind) for path in paths]
    leaks = {} if evaluated is None else _leaks(paths, images, evaluated)
    if len(leaks) == len(paths):
        pairs = name_some(list(leaks.values()))
        raise ExportError(f"{source}: each calibration image is one that is evaluated, or looks like it ({pairs}); want others")
    return [image for index, image in enumerate(images) if index not in leaks], list(leaks.values())


def _leaks(paths: Sequence[str], images: Sequence[np.ndarray], evaluated: DetectionDataset) -> dict[int, str]:
    """Returns for the index of each image that is, equal or nearly equal, in a dataset, both names."""
    count, none = len(paths), np.zeros(0, np.int32)
    chosen = DetectionDataset(
        image_dir="",
        file_names=tuple(map(os.path.abspath, paths)),
        image_ids=np.arange(count),
        sizes=np.array([image.shape[:2] for image in images], np.int32),
        offsets=np.zeros(count + 1, np.int64),
        boxes=np.zeros((0, 4), np.float32),
        classes=none,
        crowd=none.astype(bool),
        areas=none.astype(np.float64),
        annotation_ids=none.astype(np.int64),
        class_names=(),
        category_ids=(),
    )
    hashes = {"evaluated": hash_images(evaluated), "calibration": np.stack([image_hash(image) for image in images])}
    found = find_leaks({"evaluated": evaluated, "calibration": chosen}, hashes)
    return {leak.index: f"{Path(paths[leak.index]).name} ~ {evaluated.file_names[leak.other_index]}" for leak in found}


@frozen(kw_only=True)
class Quantized:
    """A quantised graph."""

    model: object = field(repr=False)
    """The onnx.ModelProto, with pairs of QuantizeLinear and DequantizeLinear at the int8 convolutions."""
    int8_layers: tuple[str, ...]
    """Weights of the convolutions in int8."""
    float_layers: tuple[str, ...]
    """Weights of the convolutions that stay in float, the most sensitive first."""
    share: float
    """Share of the multiplications that are done in int8."""
    error: float
    """`output_error` on the calibration images that were measured."""


def make_quantizer(path: Path, images: np.ndarray, *, rounded_outputs: bool) -> Callable[[float], Quantized]:
    """Calibrates an exported file, measures its convolutions, and returns a function that quantises it.

    Args:
        path: a float32 file of `write_onnx` with opset 13 or later.
        images: [N,H,W,C] of the type of the input, calibration images that fill the network's input.
        rounded_outputs: whether the outputs of int8 convolutions are rounded to 8 bits, too. ONNX Runtime has integer kernels for
            no others; OpenVINO does better without: the error is about half as large.

    Returns:
        quantize(tolerance) -> Quantized: as many multiplications in int8 as an output error of at most the tolerance
        permits. In float stay layers of less than half a percent of the multiplications, which bring nothing (depthwise ones
        and predictions), those that alone make a quarter of the error, and of the others those of the largest error for each
        multiplication. The same arguments give the same file.

    Raises:
        ExportError: (from quantize) no convolution can be in int8 within the tolerance.
    """
    onnx = import_extra("onnx", "onnx")
    base = onnx.shape_inference.infer_shapes(onnx.load(path))
    with _quiet():
        ranges = _calibrate(path, images)
    build = partial(_build, base, ranges, rounded_outputs=rounded_outputs)
    some = images[:: -(-len(images) // MEASURED)]
    wanted = _run(base, some)
    work = convolution_work(base)

    @cache
    def error_of(layers: tuple[str, ...]) -> float:
        return output_error(_run(build(layers), some), wanted)

    errors = {name: error_of((name,)) for name in work if work[name] >= SMALLEST_SHARE * sum(work.values())}
    ranked = sorted(errors, key=lambda name: errors[name] / work[name])
    weights = {node.name: node.input[1].removesuffix(".weight") for node in base.graph.node if node.op_type == "Conv"}

    def quantize(tolerance: float) -> Quantized:
        order = [name for name in ranked if errors[name] <= tolerance * LARGEST_PART]
        count = largest_count(lambda size: error_of(tuple(order[:size])) if size else 0.0, len(order), tolerance)
        if count == 0:
            raise ExportError(f"int8: every convolution alone changes the output by more than {tolerance:g}")
        left = sorted((name for name in work if name not in order[:count]), key=lambda name: -errors.get(name, 0))
        return Quantized(
            model=build(order[:count]),
            int8_layers=tuple(weights[name] for name in order[:count]),
            float_layers=tuple(weights[name] for name in left),
            share=sum(work[name] for name in order[:count]) / sum(work.values()),
            error=error_of(tuple(order[:count])),
        )

    return quantize


def output_error(rows: np.ndarray, wanted: np.ndarray) -> float:  # [N,P,5+C],[N,P,5+C]
    """Computes how far decoded predictions are from those of the float network, weighted by their score.

    Args:
        rows: [N,P,5+C] of the quantised network.
        wanted: [N,P,5+C] of the float network.

    Returns:
        Mean over predictions, weighted by the best score of `wanted`, of 1 - IoU of the boxes, plus the sum of the largest
        change of a score as a share of the sum of the best scores. Infinite where a number is not finite.

    Example:
        >>> one = np.array([[[10.0, 10, 4, 4, 1.0, 0.5]]])
        >>> other = np.array([[[12.0, 10, 4, 4, 1.0, 0.4]]])
        >>> round(output_error(other, one), 4)  # 1 - 8 / 24, and 0.1 of 0.5
        0.8667
    """
    if not np.isfinite(rows).all():
        return float("inf")
    scores, best = (part[..., 4:5] * part[..., 5:] for part in (rows, wanted))
    weight = best.max(axis=-1)
    low, high = (
        pick(rows[..., :2] + sign * rows[..., 2:4] / 2, wanted[..., :2] + sign * wanted[..., 2:4] / 2)
        for pick, sign in ((np.maximum, -1), (np.minimum, 1))
    )
    shared = np.clip(high - low, 0, None).prod(axis=-1)
    union = rows[..., 2:4].prod(axis=-1) + wanted[..., 2:4].prod(axis=-1) - shared
    apart = 1 - shared / np.maximum(union, 1e-9)
    return float((apart * weight).sum() / weight.sum() + np.abs(scores - best).max(axis=-1).sum() / weight.sum())


def largest_count(error_of: Callable[[int], float], most: int, tolerance: float) -> int:
    """Finds the largest count with an error within the tolerance, by bisection: errors are taken to grow with the count.

    Args:
        error_of: error of a count.
        most: largest count.
        tolerance: largest error.

    Returns:
        0 to `most`.

    Example:
        >>> largest_count(lambda count: count * 0.1, 9, 0.55)
        5
    """
    if error_of(most) <= tolerance:
        return most
    low, high = 0, most
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if error_of(middle) <= tolerance else (low, middle)
    return low


def convolution_work(model) -> dict[str, int]:
    """Returns the multiplications of each convolution for an image, by the name of its node.

    Args:
        model: an onnx.ModelProto with the shapes of its values.

    Returns:
        Name to number.
    """
    sizes = {value.name: [dim.dim_value for dim in value.type.tensor_type.shape.dim] for value in model.graph.value_info}
    weights = {tensor.name: list(tensor.dims) for tensor in model.graph.initializer}
    nodes = [node for node in model.graph.node if node.op_type == "Conv"]
    return {node.name: int(np.prod(sizes[node.output[0]][1:]) * np.prod(weights[node.input[1]][1:])) for node in nodes}


def _run(model, images: np.ndarray) -> np.ndarray:
    return onnx_detector(model.SerializeToString(), path="the file")(images)


def _calibrate(path: Path, images: np.ndarray):
    """Returns the ranges of the values at convolutions on the calibration images."""
    from onnxruntime.quantization import CalibrationDataReader, create_calibrator

    exported = onnx_detector(str(path), path=path)
    groups = full_groups(to_planes(images, spec=exported.metadata.input), exported.batch or 1)

    class Reader(CalibrationDataReader):
        left = iter(groups)

        def get_next(self):
            group = next(self.left, None)
            return None if group is None else {INPUT: group}

    calibrator = create_calibrator(path, ["Conv"], augmented_model_path=str(path.with_suffix(".augmented")))
    calibrator.collect_data(Reader())
    return calibrator.compute_data()


def _build(base, ranges, layers: Sequence[str], *, rounded_outputs: bool):
    """Returns the graph with some convolutions in int8: weights per channel and symmetric, activations per tensor.

    Activations are unsigned with a zero point in files of ONNX Runtime, and signed and symmetric in OpenVINO's, which is
    faster there by a twentieth: nothing has to be subtracted for a zero point."""
    onnx = import_extra("onnx", "onnx")
    from onnxruntime.quantization import QuantType
    from onnxruntime.quantization.qdq_quantizer import QDQQuantizer

    model = copy.deepcopy(base)
    names = [node.name for node in model.graph.node if node.op_type == "Conv"]
    openvino = {"OpTypesToExcludeOutputQuantization": ["Conv"], "ActivationSymmetric": True}
    with _quiet():
        quantizer = QDQQuantizer(
            model,
            per_channel=True,
            reduce_range=False,
            weight_qType=QuantType.QInt8,
            activation_qType=QuantType.QUInt8 if rounded_outputs else QuantType.QInt8,
            tensors_range=ranges,
            nodes_to_quantize=[],
            nodes_to_exclude=[name for name in names if name not in layers],
            op_types_to_quantize=["Conv"],
            extra_options={} if rounded_outputs else openvino,
        )
        quantizer.quantize_model()
    model = quantizer.model.model
    for tensor in model.graph.initializer:  # as bytes, like all constants of exported files
        tensor.CopyFrom(onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(tensor), tensor.name))
    del model.graph.value_info[:]
    extra = [entry for entry in model.opset_import if entry.domain]
    for entry in extra:
        model.opset_import.remove(entry)
    del model.metadata_props[:]
    model.metadata_props.extend(base.metadata_props)
    model.producer_name = base.producer_name
    return model


@contextmanager
def _quiet():
    """Drops the advice of the quantisation tool to prepare the model first: the export has done so."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)
