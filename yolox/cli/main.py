"""The entry of every scale's script: read the options, run the verb, turn errors into messages."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import NoReturn

from yolox.cli import assign, check, evaluate, export, info, plot, predict, train
from yolox.cli.defaults import base_recipe, given_option
from yolox.cli.experiment import Experiment
from yolox.cli.messages import report
from yolox.cli.options import (
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
from yolox.cli.run_options import remembered
from yolox.device import use_device

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


def run(experiment: Experiment, argv: Sequence[str]) -> int:
    """Run one verb for a scale.

    Args:
        experiment: the scale.
        argv: words after the script's name, the verb first.

    Returns:
        The exit status: 0, 1 for a failure, 2 for arguments that cannot be used. Messages go to stderr.
    """
    prog = Path(sys.argv[0]).name or experiment.name
    try:
        recipe, values = base_recipe(argv, experiment.recipes), {}
        if list(argv[:1]) == ["train"] and (folder := given_option(argv, "resume")):
            recipe, values = remembered(Path(folder))
        parse = partial(parse_options, argv, prog=prog, remembered=values)
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
