"""The command line that the scripts of all scales share."""

from yolox.cli.experiment import Experiment, Published
from yolox.cli.main import main, run

__all__ = ["Experiment", "Published", "main", "run"]
