"""The entry of every scale's script: read the options, run the command, turn errors into messages."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import NoReturn

from attrs import frozen

from yolox.cli import assign, check, evaluate, export, info, plot, predict, train
from yolox.cli.experiment import Experiment, scale_experiment
from yolox.cli.messages import report
from yolox.cli.options import (
    COMMANDS_BY_NAME,
    AssignOptions,
    CheckOptions,
    EvalOptions,
    ExportOptions,
    InfoOptions,
    PlotOptions,
    PredictOptions,
    TrainOptions,
    parse_options,
)
from yolox.cli.parsing import base_recipe, first_options, parse_some
from yolox.cli.run_options import remembered
from yolox.device import use_device
from yolox.errors import UsageError
from yolox.export.runner import SUFFIXES
from yolox.models import SCALES

COMMANDS = {
    InfoOptions: info.run,
    CheckOptions: check.run,
    TrainOptions: train.run,
    EvalOptions: evaluate.run,
    PredictOptions: predict.run,
    ExportOptions: export.run,
    AssignOptions: assign.run,
    PlotOptions: plot.run,
}


def run(experiment: Experiment, argv: Sequence[str], *, prog: str | None = None, model: str | None = None) -> int:
    """Runs one command for a detector.

    Args:
        experiment: the detector and its recipes.
        argv: arguments after the script's name, the command first.
        prog: name of the program in messages; None takes that of the running script.
        model: value of ``--model`` in the usage line of the console script.

    Returns:
        The exit status: 0, 1 for a failure, 2 for arguments that cannot be used. Messages go to stderr.
    """
    prog = prog or Path(sys.argv[0]).name or experiment.name
    try:
        recipe, values = base_recipe(argv, experiment.recipes), {}
        if list(argv[:1]) == ["train"] and (folder := first_options(argv).resume):
            recipe, values = remembered(folder)
        parse = partial(parse_options, argv, prog=prog, model=model, remembered=values)
        options = parse(recipe)
        use_device(options.device)
        COMMANDS[type(options)](experiment, options, parse)
    except SystemExit as stop:  # --help
        return int(stop.code or 0)
    except (Exception, KeyboardInterrupt) as error:
        return report(error, debug="--debug" in argv)
    return 0


def main(experiment: Experiment, argv: Sequence[str] | None = None) -> NoReturn:
    """Run the command line of a scale and exit with its status.

    Args:
        experiment: the scale.
        argv: words after the script's name; None takes those of the process.
    """
    sys.exit(run(experiment, sys.argv[1:] if argv is None else argv))


def yolox_command(argv: Sequence[str] | None = None) -> NoReturn:
    """Runs the console script ``yolox`` and exits with its status: every command, for the scale that ``--model`` names.

    Args:
        argv: arguments, such as ``["train", "--model", "nano", ...]``; None takes those of the process.
    """
    sys.exit(run_model(sys.argv[1:] if argv is None else argv))


@frozen(kw_only=True)
class _Model:
    model: str | None = None


@frozen(kw_only=True)
class _Weights:
    weights: Path | None = None


def run_model(argv: Sequence[str]) -> int:
    """Runs one command for the scale that ``--model`` names and returns the exit status, as `run`.

    ``--help``, the command plot and exported files need no model.
    """
    try:
        model, rest = parse_some(_Model, argv, prog="yolox")
        weights = parse_some(_Weights, rest, prog="yolox")[0].weights
        exported = weights is not None and weights.suffix.lower() in SUFFIXES
        independent = not rest or rest[0] not in COMMANDS_BY_NAME or rest[0] == "plot" or {"-h", "--help"} & set(rest)
        if model.model not in SCALES and not (model.model is None and (exported or independent)):
            got = "missing" if model.model is None else f"got {model.model!r}"
            command = f"{rest[0]} " if rest and rest[0] in COMMANDS_BY_NAME else ""
            raise UsageError(f"--model: {got}, want one of {', '.join(SCALES)}\nsee yolox {command}--help")
    except UsageError as error:
        return report(error, debug="--debug" in argv)
    return run(scale_experiment(model.model or SCALES[0]), rest, prog="yolox", model=model.model or "SCALE")
