"""Detectors as ONNX and MINDIR files: written, described inside the file, run and compared."""

from yolox.errors import ExportError
from yolox.export.metadata import ExportMetadata
from yolox.export.runner import ExportedDetector, open_exported
from yolox.export.write import ExportReport, export_detector

__all__ = ["ExportError", "ExportMetadata", "ExportReport", "ExportedDetector", "export_detector", "open_exported"]
