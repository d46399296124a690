"""Options of the commands as frozen types, and the parser that tyro makes of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args

import attrs
import tyro
from attrs import frozen

from yolox.cli.parsing import follow_input_size, parse
from yolox.cli.sources import TrainingSet, ValidationSet
from yolox.config import AssignConfig, InputSpec, PostprocessConfig, Recipe
from yolox.errors import UsageError
from yolox.eval.predict import VIEWER


@frozen(kw_only=True)
class CommonOptions:
    """Options of every command."""

    recipe: Literal["megvii", "mindyolo"] = "megvii"
    """Published recipe whose values are the defaults of the options below."""
    device: Literal["CPU", "Ascend"] = "CPU"
    """Where MindSpore runs."""
    debug: bool = False
    """Show the traceback of an error."""


PREDICT_THRESHOLDS = {name: getattr(VIEWER, name) for name in ("score_threshold", "iou_threshold")}
"""What Megvii's README uses to draw pictures; an evaluation needs the low scores, a viewer does not."""
EXPORT_SETTINGS = {**PREDICT_THRESHOLDS, "max_detections": 300}
"""A file with NMS has as many rows as this, found or not; the recipes of evaluation keep thousands."""
SaveForm = Literal["json", "txt", "csv", "coco"]


@frozen(kw_only=True)
class InfoOptions(CommonOptions):
    """Show parameters, FLOPs, published AP and the recipe."""

    json: bool = False
    """Print one JSON object instead of tables."""
    num_classes: int = 80
    """Classes of the detector that is counted."""
    settings: Recipe = Recipe()


@frozen(kw_only=True)
class TrainOptions(CommonOptions, ValidationSet, TrainingSet):
    """Train on a COCO, VOC or YOLO dataset, from random weights or from any weights."""

    weights: Path | None = None
    """Start from these: .pth, .npz, .ckpt, .safetensors, megvii:SCALE or mindyolo:SCALE; random if left out."""
    finetune: bool = False
    """Take the preset for fine-tuning as the defaults of the options below: 40 epochs, half the rate, a short average."""
    output: Path
    """Folder of the run: best and last checkpoint, history.csv, recipe.json."""
    overwrite: bool = False
    """Replace the run that is already in the folder."""
    resume: Path | None = None
    """Go on with the run in this folder, which knows its recipe and its data; give nothing else."""
    save_steps: int | None = None
    """Save within an epoch too, after every so many steps; an epoch's end always saves."""
    parallel: bool = False
    """Train together with the other processes that msrun started."""
    hang_seconds: float = 90.0
    """With --parallel: end all when a process gets no further for so long, 20 times that where it may compile; 0 never."""
    patience: int | None = None
    """Stop when AP has not risen for this many epochs; the plain last epochs are then left out."""
    freeze: tuple[str, ...] = ()
    """Parts that keep the values of --weights: beginnings of parameter names, such as backbone."""
    eager: bool = False
    """Run the training step without compiling it: much slower, for debugging."""
    tensorboard: bool = False
    """Also write events for TensorBoard to OUTPUT/events (pip install -c constraints.txt -e '.[tensorboard]')."""
    settings: Recipe = Recipe()


@frozen(kw_only=True)
class CheckOptions(CommonOptions, ValidationSet, TrainingSet):
    """Look at a dataset before training: counts, what is wrong, a picture of the labels; the first thing to do."""

    output: Path = Path("check")
    """Folder for labels.png and report.json."""
    overfit: bool = False
    """Also train on one batch until its loss collapses, and fail if it does not."""
    overfit_steps: int = 300
    """Steps after which that fails."""
    settings: Recipe = Recipe()


@frozen(kw_only=True)
class EvalOptions(CommonOptions, ValidationSet):
    """Evaluate weights on a COCO, VOC or YOLO dataset: twelve numbers, and AP per class."""

    recipe: Literal["megvii", "mindyolo"] | None = None
    """Published recipe whose post-processing is the default; left out, that of the weights."""
    weights: Path
    """Weights: .pth, .npz, .ckpt or .safetensors; megvii:SCALE or mindyolo:SCALE, which is downloaded; or an export."""
    json: Path | None = None
    """File for the numbers, and the curves and the confusion matrix that the command plot draws."""
    pictures: Path | None = None
    """Folder for predictions beside truths, and for charts (pip install -c constraints.txt -e '.[plot]')."""
    batch_size: int = 8
    """Images at a time."""
    workers: int = 2
    """Worker processes that load images; 0 loads in the main process."""
    parallel: bool = False
    """Share the images with the other processes that msrun started."""
    hang_seconds: float = 90.0
    """With --parallel: end all when a process gets no further for so long, 20 times that where it may compile; 0 never."""
    input: InputSpec = InputSpec()
    postprocess: PostprocessConfig = PostprocessConfig()


@frozen(kw_only=True)
class PredictOptions(CommonOptions):
    """Detect objects in images and videos: pictures with boxes, and the boxes in files."""

    recipe: Literal["megvii", "mindyolo"] | None = None
    """Published recipe whose post-processing is the default; left out, that of the weights."""
    weights: Path
    """Weights: .pth, .npz, .ckpt or .safetensors; megvii:SCALE or mindyolo:SCALE, which is downloaded; or an export."""
    source: tuple[Path, ...]
    """Images, videos, folders of them, and patterns such as 'photos/*.jpg'."""
    output: Path
    """Folder for the pictures, the videos and the files of --save."""
    save: tuple[SaveForm, ...] = ("json",)
    """Forms of the boxes: predictions.json, labels/*.txt (YOLO), predictions.csv, predictions_coco.json."""
    strict: bool = False
    """End with status 1 if a source could not be read; the others are done either way."""
    batch_size: int = 1
    """Images at a time."""
    input: InputSpec = InputSpec()
    postprocess: PostprocessConfig = PostprocessConfig()


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


Options = InfoOptions | CheckOptions | TrainOptions | EvalOptions | PredictOptions | ExportOptions | AssignOptions | PlotOptions
COMMANDS_BY_NAME = {
    "info": InfoOptions,
    "check": CheckOptions,
    "train": TrainOptions,
    "eval": EvalOptions,
    "predict": PredictOptions,
    "export": ExportOptions,
    "assign": AssignOptions,
    "plot": PlotOptions,
}


def _defaults(command: str, recipe: Recipe, remembered: Mapping[str, Any]):
    kind = COMMANDS_BY_NAME[command]
    values = {} if command == "plot" else {**remembered, "settings": recipe}
    if command in ("eval", "predict", "export"):
        changes = {"eval": {}, "predict": PREDICT_THRESHOLDS, "export": EXPORT_SETTINGS}[command]
        values = {"input": recipe.input, "postprocess": attrs.evolve(recipe.postprocess, **changes)}
    if command == "assign":
        values = {"input": recipe.input, "assign": recipe.assign}
    missing = {f.name: tyro.MISSING for f in attrs.fields(kind) if f.default is attrs.NOTHING}
    return kind(**{**missing, **values})


def _with_followers(options: Options, argv: Sequence[str], recipe: Recipe) -> Options:
    settings = getattr(options, "settings", None)
    return options if settings is None else attrs.evolve(options, settings=follow_input_size(settings, argv, recipe))


def parse_options(
    argv: Sequence[str],
    recipe: Recipe,
    *,
    prog: str = "yolox",
    model: str | None = None,
    remembered: Mapping[str, Any] | None = None,
) -> Options:
    """Reads the arguments of one command; what they leave out comes from `recipe`.

    Args:
        argv: arguments after the script's name, the command first.
        recipe: defaults; `yolox.cli.defaults.base_recipe` or the recipe of a checkpoint.
        prog: name of the script in messages.
        model: value of ``--model`` in the usage line, for the console script.
        remembered: defaults for other options, of a run that is resumed.

    Returns:
        The frozen options of the command.

    Raises:
        UsageError: for what cannot be read, in one line, and a line that names the help.
        SystemExit: after ``--help`` was printed.

    Example:
        >>> parse_options(["info", "--input-size", "416"], Recipe()).settings.input.input_size
        (416, 416)
    """
    check_spelling(argv)
    chosen = "" if model is None else f" --model {model}"
    if not argv or argv[0] not in COMMANDS_BY_NAME:
        commands = [Annotated[kind, tyro.conf.subcommand(name)] for name, kind in COMMANDS_BY_NAME.items()]
        return parse(Union[tuple(commands)], argv, prog=prog + chosen)  # noqa: UP007
    default = _defaults(argv[0], recipe, remembered or {})  # one command's options alone: faster, messages are shorter
    options = parse(COMMANDS_BY_NAME[argv[0]], argv[1:], prog=f"{prog} {argv[0]}{chosen}", default=default)
    return _with_followers(options, argv, recipe)


def check_spelling(argv: Sequence[str]) -> None:
    """Tell who types ``--save-txt`` what it is called here.

    Args:
        argv: words after the script's name, the command first.

    Raises:
        UsageError: with the option to write.
    """
    words = {word.replace("_", "-") for word in argv}
    for form in get_args(SaveForm) if "predict" in argv[:1] else ():
        if f"--save-{form}" in words:
            raise UsageError(f"--save-{form}: write --save {form}; it takes one or more of {', '.join(get_args(SaveForm))}")
