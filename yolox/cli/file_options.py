"""Options of the verbs that turn a run into files: export and plot."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import tyro
from attrs import frozen

from yolox.cli.common import CommonOptions
from yolox.config import InputSpec, PostprocessConfig


@frozen(kw_only=True)
class ExportOptions(CommonOptions):
    """Write a detector as ONNX or MINDIR, run the file, and keep it only if it agrees with the detector."""

    recipe: Literal["megvii", "mindyolo"] | None = None
    """Published recipe whose post-processing is the default; left out, that of the weights."""
    weights: Path
    """Weights: .pth, .npz, .ckpt or .safetensors."""
    output: Path
    """The file."""
    format: Literal["onnx", "mindir"] = "onnx"
    """onnx for ONNX Runtime, OpenVINO and others; mindir for MindSpore."""
    batch: int | Literal["dynamic"] = 1
    """Images at a time, or any number (ONNX)."""
    nms: bool = False
    """End the file with NMS: boxes, scores, classes, count (ONNX, fixed batch)."""
    image: Path | None = None
    """Image to compare file and detector on; left out, one is drawn."""
    input: InputSpec = InputSpec()
    postprocess: PostprocessConfig = PostprocessConfig()


@frozen(kw_only=True)
class PlotOptions(CommonOptions):
    """Draw a run again from its files: curves of history.csv, charts of an evaluation's JSON."""

    run: tyro.conf.Positional[Path]
    """Folder of the run, or the JSON file of an evaluation."""
    output: Path | None = None
    """Folder for the pictures; left out, that of the run."""
