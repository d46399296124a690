"""What a training run leaves to look at beside its curves: its best evaluation as JSON and as pictures."""

from __future__ import annotations

from yolox.cli.job import Job
from yolox.cli.pictures import TRAIN_LABELS, evaluation_facts, write_beside, write_charts
from yolox.data.label_statistics import label_statistics
from yolox.errors import PlotError
from yolox.eval.postprocess import Detections
from yolox.training.run_folder import EVALUATION, PICTURES, make_folder, write_json


class BestEvaluation:
    """Callback that keeps the detections of the best evaluation since the run began or went on.

    `epoch` counts from 1 and is None before the first; `metrics` and `found` are those of the evaluation.
    """

    def __init__(self) -> None:
        self.epoch: int | None = None
        self.metrics: dict = {}
        self.found: list[Detections] = []
        self._latest: list[Detections] = []

    @property
    def ap(self) -> float:
        """AP; 0 where there is none."""
        return self.metrics.get("AP") or 0.0

    def take(self, found: list[Detections]) -> None:
        """Take what an evaluation found; its epoch is reported afterwards."""
        self._latest = found

    def on_step(self, _report) -> None:
        """Do nothing."""

    def on_epoch(self, report) -> None:
        """Keep the evaluation of this epoch if it is the best; of equal ones the first, as with the checkpoint."""
        if report.metrics is not None and (self.epoch is None or (report.metrics["AP"] or 0.0) > self.ap):
            self.epoch, self.metrics, self.found = report.epoch + 1, report.metrics, self._latest


def write_run_pictures(job: Job, best: BestEvaluation, *, best_ap: float | None) -> None:
    """Write evaluation.json and the pictures; without matplotlib, say how the charts are drawn later.

    Args:
        job: the run.
        best: what was kept of it; nothing where there was no evaluation.
        best_ap: AP of the best checkpoint; it may be from before the run was resumed.

    Raises:
        DataError: an image cannot be read.
    """
    size, folder = job.recipe.input.input_size, make_folder(job.folder / PICTURES)
    content = {TRAIN_LABELS: label_statistics(job.train_set, input_size=size)}
    what = "the labels"
    if best.epoch is not None:
        facts = evaluation_facts(best.metrics, job.val_set, best.found, input_size=size)
        content = {"epoch": best.epoch, **facts, **content}
        write_beside(folder, job.val_set, best.found, facts["analysis"]["score_threshold"])
        since = " (the best since the run went on)" if best_ap is not None and best.ap < best_ap else ""
        what = f"the evaluation after epoch {best.epoch}{since}"
    write_json(job.folder / EVALUATION, content)
    job.console.print(f"wrote {job.folder / EVALUATION} and {folder}: {what}")
    try:
        write_charts(folder, content)
    except PlotError as error:
        job.console.print(f"{error}; then: plot {job.folder}", markup=False)
