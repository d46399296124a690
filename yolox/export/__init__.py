"""Detectors as ONNX, OpenVINO and MINDIR files and as web pages: written, described inside the file, run and compared."""

from yolox.errors import ExportError
from yolox.export.benchmark import BenchmarkReport, BenchmarkRow, benchmark_detector
from yolox.export.metadata import ExportMetadata
from yolox.export.quantize import Int8Config, read_calibration_images
from yolox.export.runner import ExportedDetector, open_exported
from yolox.export.web import fetch_web_runtime
from yolox.export.write import ExportReport, Int8Report, export_detector

__all__ = [
    "BenchmarkReport",
    "BenchmarkRow",
    "ExportError",
    "ExportMetadata",
    "ExportReport",
    "ExportedDetector",
    "Int8Config",
    "Int8Report",
    "benchmark_detector",
    "export_detector",
    "fetch_web_runtime",
    "open_exported",
    "read_calibration_images",
]
