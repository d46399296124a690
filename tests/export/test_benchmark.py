"""The benchmark of runtimes: every file once in a round, the numbers of each, and what is left out."""

from __future__ import annotations

import numpy as np
import pytest

from tests.cli.tiny import TinyDetector
from tests.export.detectors import NAMES, SPEC, pictures, small_detector
from yolox.config import InputSpec
from yolox.errors import ExportError
from yolox.export import benchmark, benchmark_detector


def test_each_round_runs_every_step_once_and_the_first_is_not_timed(monkeypatch):
    order, clock = [], iter(np.cumsum([9, 1, 1, 2, 1, 3, 1, 5, 1, 4, 1, 6, 1, 8]))
    monkeypatch.setattr(benchmark.time, "perf_counter", lambda: next(clock))
    steps = {name: lambda images, name=name: order.append(name) for name in "ab"}
    times = benchmark._times(steps, np.zeros(1), 3)
    assert order == list("abab" "abab")
    assert times == {"a": 5.0, "b": 4.0}  # medians of 2, 5, 6 and of 3, 4, 8


def test_mindspore_alone(monkeypatch):
    detector, lines = TinyDetector(3), []
    report = benchmark_detector(
        detector, spec=InputSpec(input_size=(32, 32)), class_names=NAMES, runtimes=(), rounds=2,
        evaluate=lambda each: 0.5 if each is detector else None, on_stage=lines.append,
    )  # fmt: skip
    (row,) = report.rows
    assert (row.runtime, row.precision, row.difference, row.ap) == ("MindSpore", "float32", 0.0, 0.5)
    assert row.images_per_second == pytest.approx(1e3 / row.milliseconds) and row.milliseconds > 0
    assert row.megabytes == pytest.approx(4e-6 * sum(p.size for p in detector.get_parameters()))
    assert report.conditions["rounds"] == 2 and report.conditions["input_size"] == [32, 32] and len(lines) == 2
    with pytest.raises(ExportError, match="`rounds`: got 0"):
        benchmark_detector(detector, spec=SPEC, class_names=NAMES, rounds=0)


@pytest.mark.slow
def test_files_are_measured_and_what_cannot_be_written_is_named():
    pytest.importorskip("openvino", reason="OpenVINO is not installed")
    report = benchmark_detector(small_detector(), spec=SPEC, class_names=NAMES, rounds=2, image=pictures(1)[0])
    rows = {(row.runtime, row.precision): row for row in report.rows}
    files = [(runtime, precision) for runtime in ("ONNX Runtime", "OpenVINO") for precision in ("float32", "float16")]
    assert list(rows) == [("MindSpore", "float32"), *files]
    for runtime in ("ONNX Runtime", "OpenVINO"):
        full, half = rows[runtime, "float32"], rows[runtime, "float16"]
        assert full.difference < 1e-3 < 0.2 and half.megabytes < full.megabytes and full.difference < half.difference < 0.2
    assert report.notes == (
        "ONNX Runtime, int8: left out, as there are no calibration images",
        "OpenVINO, int8: left out, as there are no calibration images",
    )
