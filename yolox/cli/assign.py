"""The command ``assign``: the points that SimOTA matches to each object, drawn for images of a dataset."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from attrs import frozen

from yolox.cli.experiment import Experiment
from yolox.cli.inputs import open_weights, output_folder, print_sources, read_evaluation_set, recipe_of_weights
from yolox.cli.options import CommonOptions, RecipeName
from yolox.cli.sources import TrainingSet, training_source
from yolox.config import AssignConfig, InputSpec, Recipe
from yolox.console import PlainConsole
from yolox.data.dataset import load_sample, with_pixels
from yolox.data.letterbox import letterbox_sample
from yolox.errors import UsageError
from yolox.eval.predict import as_array
from yolox.visualize.assignment import visualize_assign
from yolox.visualize.run_pictures import spread, write_picture


@frozen(kw_only=True)
class AssignOptions(CommonOptions, TrainingSet):
    """Draw which points SimOTA assigns to which object of a dataset's images, with their costs."""

    recipe: RecipeName | None = None
    """Recipe, or file of one, whose assignment is the default; left out, that of the weights."""
    weights: Path
    """A run's folder, a file, or megvii:SCALE: its predictions decide; files are .pth, .npz, .ckpt, .pdparams, .safetensors or
    exports."""
    legacy: bool = False
    """The weights are Megvii's from before version 0.1.1: RGB, normalised; nothing in such a file shows it."""
    output: Path | None = None
    """Folder for the pictures; left out, the next of runs/assign, runs/assign-2 and so on."""
    count: int = 8
    """Images that are drawn, evenly spread over the dataset."""
    input: InputSpec = InputSpec()
    assign: AssignConfig = AssignConfig()


def run(experiment: Experiment, options: AssignOptions, with_defaults: Callable[[Recipe], AssignOptions]) -> None:
    """Draws the assignment of images for the predictions of the weights.

    Raises:
        UsageError: fewer than one image, or no dataset.
        WeightsError, ExportError, DataError, CommandError: files that cannot be used, or do not fit each other.
    """
    source = training_source(options)
    if options.count < 1:
        raise UsageError(f"--count {options.count}: want 1 or more images")
    opened = open_weights(experiment, options.weights, legacy=options.legacy)
    options = with_defaults(recipe_of_weights(experiment, options.recipe, opened.metadata))
    dataset = read_evaluation_set(source, num_classes=opened.num_classes, class_names=opened.metadata.class_names)
    dataset = with_pixels(dataset, options.input)
    console, step = PlainConsole(), opened.make_step(options.input)
    print_sources(console, options, {"drawing": source})
    folder = output_folder(options.output, "assign")
    for index in spread(len(dataset), options.count):
        sample = letterbox_sample(load_sample(dataset, index), options.input.input_size, spec=options.input)
        image, boxes, classes = sample.image, sample.boxes, sample.classes
        rule = {"strides": opened.strides, "config": options.assign}
        picture = visualize_assign(image, as_array(step(image[None]))[0], boxes, classes, dataset.class_names, **rule)
        path = folder / f"{index:05d}_{Path(dataset.file_names[index]).stem}.png"
        write_picture(path, picture)
        console.print(f"{dataset.file_names[index]}: {len(boxes)} objects, {path}", markup=False)
