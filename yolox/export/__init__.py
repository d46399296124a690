"""Detectors as ONNX and MINDIR files: written, described inside the file, run and compared."""

from yolox.export.facts import ExportError, ExportFacts
from yolox.export.runner import ExportedDetector, open_exported
from yolox.export.write import ExportReport, export_detector

__all__ = ["ExportError", "ExportFacts", "ExportReport", "ExportedDetector", "export_detector", "open_exported"]
