"""Detectors as ONNX, OpenVINO and MINDIR files: written, described inside the file, run and compared."""

from yolox.errors import ExportError
from yolox.export.metadata import ExportMetadata
from yolox.export.quantize import Int8Config
from yolox.export.runner import ExportedDetector, open_exported
from yolox.export.write import ExportReport, Int8Report, export_detector

__all__ = [
    "ExportError",
    "ExportMetadata",
    "ExportReport",
    "ExportedDetector",
    "Int8Config",
    "Int8Report",
    "export_detector",
    "open_exported",
]
