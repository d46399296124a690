"""The entry of the command line: reads the options, runs the command, and turns errors into messages."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from attrs import frozen

from yolox.cli.commands import COMMANDS, read_command
from yolox.cli.experiment import Experiment, scale_experiment
from yolox.cli.messages import report
from yolox.cli.parsing import split_arguments
from yolox.cli.plot import PlotOptions
from yolox.device import use_device
from yolox.errors import UsageError
from yolox.export.runner import SUFFIXES
from yolox.models import SCALES

NO_MODEL = "SCALE"  # in the usage line


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
        arguments = read_command(argv, experiment.recipes, prog=prog, model=model)
        options = arguments.options()
        if model == NO_MODEL and not _is_complete(options):
            raise UsageError(f"--model: missing, want one of {', '.join(SCALES)}\nsee {prog} {argv[0]} --help")
        use_device(options.device)
        COMMANDS[argv[0]].run(experiment, options, arguments.options)
    except SystemExit as stop:  # --help
        return int(stop.code or 0)
    except (Exception, KeyboardInterrupt) as error:
        return report(error, debug="--debug" in argv)
    return 0


def main(experiment: Experiment, argv: Sequence[str] | None = None) -> NoReturn:
    """Runs the command line of a scale and exits with its status.

    Args:
        experiment: the scale.
        argv: arguments after the script's name; None takes those of the process.
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


def run_model(argv: Sequence[str]) -> int:
    """Runs one command for the scale that ``--model`` names and returns the exit status, as `run`.

    ``--help``, the command plot and exported files need no model.
    """
    try:
        given, rest = split_arguments(_Model, argv, prog="yolox")
        scale = given.get("model")
        if scale is not None and scale not in SCALES:
            command = f"{rest[0]} " if rest and rest[0] in COMMANDS else ""
            raise UsageError(f"--model: got {scale!r}, want one of {', '.join(SCALES)}\nsee yolox {command}--help")
    except UsageError as error:
        return report(error, debug="--debug" in argv)
    return run(scale_experiment(scale or SCALES[0]), rest, prog="yolox", model=scale or NO_MODEL)


def _is_complete(options: object) -> bool:
    """Returns whether a command needs no scale: it draws, or detects with an exported file."""
    weights = getattr(options, "weights", None)
    return isinstance(options, PlotOptions) or (weights is not None and weights.suffix.lower() in SUFFIXES)
