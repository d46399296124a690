"""Options of the verbs that turn weights or a run into files: export, assign and plot."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import tyro
from attrs import frozen

from yolox.cli.common import CommonOptions
from yolox.cli.sources import TrainingSet
from yolox.config import AssignConfig, InputSpec, PostprocessConfig


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
class AssignOptions(CommonOptions, TrainingSet):
    """Draw which points SimOTA gives to which object of a dataset's images, and at what cost."""

    recipe: Literal["megvii", "mindyolo"] | None = None
    """Published recipe whose assignment is the default; left out, that of the weights."""
    weights: Path
    """Weights whose predictions decide: .pth, .npz, .ckpt or .safetensors, a published name, or an export."""
    output: Path = Path("assign")
    """Folder for the pictures."""
    count: int = 8
    """Images that are drawn, evenly spread over the dataset."""
    input: InputSpec = InputSpec()
    assign: AssignConfig = AssignConfig()


@frozen(kw_only=True)
class PlotOptions(CommonOptions):
    """Draw a run again from its files: curves of history.csv, charts of an evaluation's JSON.

    Predictions beside truths need weights and images: eval --pictures draws them.
    """

    run: tyro.conf.Positional[Path]
    """Folder of the run, or the JSON file of an evaluation."""
    output: Path | None = None
    """Folder for the pictures; left out, that of the run."""
