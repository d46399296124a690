"""The verb ``train``: datasets, weights, state and step put together, and the epochs run."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial
from pathlib import Path

import attrs
from mindspore import Tensor, nn, ops
from rich.console import Console

from yolox.checkpoint import save_checkpoint
from yolox.cli.evaluate import measure
from yolox.cli.experiment import Experiment
from yolox.cli.inputs import read_evaluation_set, read_training_set
from yolox.cli.messages import UsageError
from yolox.cli.options import TrainOptions
from yolox.cli.progress import make_progress
from yolox.cli.rundir import RunRecorder, prepare_run
from yolox.config import Recipe
from yolox.data.batches import steps_per_epoch
from yolox.data.dataset import DetectionDataset
from yolox.data.loader import train_batches
from yolox.fit import check_epochs, fit
from yolox.nn import initialise, set_precision
from yolox.recipe_io import recipe_to_json
from yolox.train import TrainState, create_train_state
from yolox.weights.load import LoadedWeights, load_weights, read_weights, with_convention


def run(experiment: Experiment, options: TrainOptions, parse: Callable[[Recipe], TrainOptions]) -> None:
    """Train as the options say, and leave the run in the folder ``--output``.

    Raises:
        UsageError: options that contradict each other, or an output folder that is not empty.
        DataError, WeightsError, CommandError: files that cannot be used.
        TrainingDiverged: too many steps in a row were not finite.
    """
    console = Console(soft_wrap=True, highlight=False)
    _check(options)
    train_set = read_training_set(options.train_json, options.train_images)
    val_set = _validation_set(options, train_set)
    steps = steps_per_epoch(train_set, batch_size=options.settings.loader.batch_size)
    options = parse(_with_weights_input(options))
    recipe = options.settings
    folder = prepare_run(options.output, overwrite=options.overwrite)
    (folder / "recipe.json").write_text(recipe_to_json(recipe))
    detector = experiment.build_detector(len(train_set.class_names))
    initialise(detector, seed=recipe.loader.seed)
    if options.weights is not None:
        console.print(_describe_start(load_weights(detector, options.weights), train_set.class_names))
    set_precision(detector, recipe.optim.precision)
    _describe_run(console, experiment, recipe, train_set, val_set, steps)
    state = create_train_state(detector)
    save = partial(save_state, state=state, recipe=recipe, class_names=train_set.class_names)
    listener = _Listeners(RunRecorder(folder, save), make_progress(console, recipe, steps))
    try:
        fit(
            experiment.make_step(detector, state, recipe),
            recipe=recipe,
            steps_per_epoch=steps,
            train_batches=partial(_batches, train_set, recipe),
            evaluate=None if val_set is None else _evaluator(experiment, state, recipe, val_set),
            listener=listener,
            parameter_names=tuple(p.name for p in state.params),
        )
    finally:
        listener.close()
    console.print(f"wrote {folder}/best.safetensors and {folder}/last.safetensors")


def state_tensors(state: TrainState) -> dict:
    """Copy a training state to numpy: ``params.*`` with BN statistics, ``ema.*`` and ``momentum.*``."""
    tensors = {f"params.{p.name}": p.asnumpy() for p in state.averaged}
    tensors |= {
        f"ema.{p.name}": average.asnumpy() for p, average in zip(state.averaged, state.ema, strict=True)
    }
    return tensors | {
        f"momentum.{p.name}": momentum.asnumpy()
        for p, momentum in zip(state.params, state.momenta, strict=True)
    }


def save_state(path: Path, extra: dict, *, state: TrainState, recipe: Recipe, class_names) -> None:
    """Write a training state as a checkpoint."""
    save_checkpoint(path, state_tensors(state), recipe=recipe, class_names=class_names, extra=extra)


def copy_averages(state: TrainState, detector: nn.Cell) -> None:
    """Set a second detector of the same layers to the moving averages of a training state."""
    averages = {p.name: average for p, average in zip(state.averaged, state.ema, strict=True)}
    for parameter in detector.get_parameters():
        # in place: memory that set_data would replace is not seen by the compiled evaluation step
        ops.assign(parameter, Tensor(averages[parameter.name].asnumpy()))


def _evaluator(experiment: Experiment, state: TrainState, recipe: Recipe, dataset: DetectionDataset):
    averaged = experiment.build_detector(len(dataset.class_names))
    loader = {"batch_size": recipe.loader.batch_size, "workers": recipe.loader.workers}
    score = measure(averaged, spec=recipe.input, postprocess=recipe.postprocess, **loader)

    def evaluate() -> dict:
        copy_averages(state, averaged)
        return score(dataset)

    return evaluate


def _check(options: TrainOptions) -> None:
    if (options.val_json is None) != (options.val_images is None):
        raise UsageError("--val-json and --val-images: give both, or neither to train without evaluation")
    try:
        check_epochs(options.settings)
    except ValueError as error:
        raise UsageError(_as_options(str(error))) from None


def _as_options(text: str) -> str:
    """Turn the names of fields into those of options: ``flat_epochs`` into ``--flat-epochs``."""
    return re.sub(r"\b(?:\w+_)?epochs\b(?! of)", lambda match: "--" + match[0].replace("_", "-"), text)


def _validation_set(options: TrainOptions, train_set: DetectionDataset) -> DetectionDataset | None:
    if options.val_json is None:
        return None
    names = train_set.class_names
    return read_evaluation_set(
        options.val_json, options.val_images, num_classes=len(names), class_names=names
    )


def _with_weights_input(options: TrainOptions) -> Recipe:
    if options.weights is None:
        return options.settings
    _, facts = read_weights(options.weights)
    return attrs.evolve(options.settings, input=with_convention(options.settings.input, facts.input))


def _describe_start(facts: LoadedWeights, class_names: tuple[str, ...]) -> str:
    if not facts.skipped:
        return f"weights: {len(facts.loaded)} tensors ({facts.source})"
    return (
        f"weights: {len(facts.loaded)} tensors ({facts.source}); the file is for another number of classes, "
        f"so the class predictions ({len(facts.skipped)} tensors) are new, for {len(class_names)} classes"
    )


def _describe_run(console, experiment, recipe, train_set, val_set, steps) -> None:
    height, width = recipe.input.input_size
    val = "no evaluation" if val_set is None else f"{len(val_set)} for validation"
    console.print(
        f"{experiment.name}, {height} x {width} px: {len(train_set)} images, {len(train_set.boxes)} boxes, "
        f"{len(train_set.class_names)} classes; {val}; {recipe.epochs} epochs of {steps} steps"
    )


def _batches(dataset: DetectionDataset, recipe: Recipe, epoch: int, augment: bool):
    return train_batches(dataset, recipe=recipe, epoch=epoch, augment=augment)


class _Listeners:
    """Passes reports on; files come before the screen, so that what is shown is saved."""

    def __init__(self, recorder: RunRecorder, progress) -> None:
        self._all, self._progress = (recorder, progress), progress

    def on_step(self, report) -> None:
        for listener in self._all:
            listener.on_step(report)

    def on_epoch(self, report) -> None:
        for listener in self._all:
            listener.on_epoch(report)

    def close(self) -> None:
        self._progress.close()
