"""Measures a detector in MindSpore and its exports in other runtimes: file size, time, difference, AP."""

from __future__ import annotations

import os
import platform
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

import mindspore
import numpy as np
from attrs import frozen
from mindspore import nn

from yolox.config import InputSpec
from yolox.environment import library_version
from yolox.errors import ExportError
from yolox.eval.predict import as_array, detector_step
from yolox.export.compare import comparison_images, largest_difference
from yolox.export.quantize import MAX_AP_DROP, Int8Config
from yolox.export.runner import open_exported
from yolox.export.write import ENDINGS, Precision, export_detector

Runtime = Literal["mindspore", "onnx", "openvino"]
RUNTIMES: tuple[Runtime, ...] = ("mindspore", "onnx", "openvino")
PRECISIONS: tuple[Precision, ...] = ("float32", "float16", "int8")
TITLES = {"mindspore": "MindSpore", "onnx": "ONNX Runtime", "openvino": "OpenVINO"}
PAUSE = 0.01  # s between two runtimes: threads of the one before spin for some time


@frozen(kw_only=True)
class BenchmarkRow:
    """One runtime with one precision."""

    runtime: str
    precision: str
    megabytes: float
    """Size of the file; of MindSpore's row, of the parameters."""
    milliseconds: float
    """Median time of the network for one image, from uint8 pixels to decoded predictions."""
    images_per_second: float
    """Of that median."""
    difference: float
    """`largest_difference` from MindSpore's predictions."""
    ap: float | None
    """None where none was evaluated."""


@frozen(kw_only=True)
class BenchmarkReport:
    """Rows of a benchmark, and the conditions of the measurement."""

    rows: tuple[BenchmarkRow, ...]
    notes: tuple[str, ...]
    """A line for each runtime or precision that is left out, with the reason."""
    conditions: dict
    """Processor, cores, load, versions, input size and number of rounds."""


def benchmark_detector(
    detector: nn.Cell,
    *,
    spec: InputSpec,
    class_names: Sequence[str],
    runtimes: Sequence[Runtime] = RUNTIMES,
    precisions: Sequence[Precision] = PRECISIONS,
    calibration: Sequence[np.ndarray] = (),
    max_ap_drop: float = MAX_AP_DROP,
    evaluate: Callable[[nn.Cell | Callable], float | None] | None = None,
    image: np.ndarray | None = None,
    rounds: int = 30,
    on_stage: Callable[[str], None] | None = None,
) -> BenchmarkReport:
    """Exports a detector to each runtime and precision, and measures all of them in one process, in turns.

    Use it to choose a runtime. The load of other programs moves all rows alike, because each round runs every file once.

    Args:
        detector: as in the scripts of the scales.
        spec: pixels that it takes, and their size.
        class_names: names of its classes.
        runtimes: of `RUNTIMES`; MindSpore is always measured, as the others are compared with it.
        precisions: of `PRECISIONS`; MindSpore computes in float32 alone.
        calibration: images [H,W,3] uint8 BGR for int8, which is left out without any.
        max_ap_drop: an int8 file whose AP is lower by more is left out, as `export_detector` refuses it.
        evaluate: from a detector, or an exported one, to its AP; None evaluates none.
        image: uint8 BGR [H,W,3] to run on; None draws one.
        rounds: timed runs of each, after one that is not timed.
        on_stage: called with a line before each part.

    Returns:
        BenchmarkReport; MindSpore's row is the first.

    Raises:
        ExportError: `rounds` is less than 1.
    """
    if rounds < 1:
        raise ExportError(f"`rounds`: got {rounds}, want 1 or more")
    stage = on_stage or (lambda line: None)
    images, notes = comparison_images(spec, 1, image), []
    steps: dict[tuple[str, str], Callable] = {("mindspore", "float32"): detector_step(detector, spec)[1]}
    megabytes = {("mindspore", "float32"): sum(p.size * p.itemsize for p in detector.get_parameters()) / 1e6}
    aps: dict[tuple[str, str], float | None] = {}
    with tempfile.TemporaryDirectory() as folder:
        for key in [(r, p) for r in runtimes if r != "mindspore" for p in precisions]:
            stage(f"writes {TITLES[key[0]]}, {key[1]}")
            if key[1] == "int8" and len(calibration) == 0:
                notes.append(f"{TITLES[key[0]]}, int8: left out, as there are no calibration images")
                continue
            path = Path(folder, f"{key[0]}-{key[1]}{ENDINGS[key[0]]}")
            form = {"format": key[0], "precision": key[1]}
            form["int8"] = Int8Config(images=calibration, evaluate=evaluate, max_ap_drop=max_ap_drop)
            try:
                report = export_detector(detector, path, spec=spec, class_names=class_names, **form)
            except ExportError as error:
                notes.append(f"{TITLES[key[0]]}, {key[1]}: left out ({str(error).removeprefix(f'{path}: ')})")
                continue
            steps[key], megabytes[key] = open_exported(path, trusted=True), report.megabytes
            if report.int8 is not None:
                aps[key] = report.int8.ap
        stage(f"times {len(steps)} networks in {rounds} rounds")
        times = _times(steps, images, rounds)
        rows = {key: as_array(step(images)) for key, step in steps.items()}
        for key, step in steps.items() if evaluate is not None else ():
            if aps.get(key) is None:
                stage(f"evaluates {TITLES[key[0]]}, {key[1]}")
                aps[key] = evaluate(detector if key[0] == "mindspore" else step)
    wanted = rows["mindspore", "float32"]
    made = [
        BenchmarkRow(
            runtime=TITLES[key[0]],
            precision=key[1],
            megabytes=megabytes[key],
            milliseconds=1e3 * times[key],
            images_per_second=1 / times[key],
            difference=largest_difference(rows[key], wanted),
            ap=aps.get(key),
        )
        for key in steps
    ]
    return BenchmarkReport(rows=tuple(made), notes=tuple(notes), conditions=_conditions(spec, rounds))


def _times(steps: dict, images: np.ndarray, rounds: int) -> dict:
    """Returns the median seconds of each step; one round runs each once."""
    taken = {key: [] for key in steps}
    for number in range(rounds + 1):
        for key, step in steps.items():
            time.sleep(PAUSE)
            start = time.perf_counter()
            as_array(step(images))
            if number:
                taken[key].append(time.perf_counter() - start)
    return {key: float(np.median(each)) for key, each in taken.items()}


def _conditions(spec: InputSpec, rounds: int) -> dict:
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "load": round(os.getloadavg()[0], 1),
        "date": time.strftime("%Y-%m-%d"),
        "input_size": list(spec.input_size),
        "rounds": rounds,
        "yolox-mindspore": library_version(),
        "mindspore": mindspore.__version__,
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()
