"""Lines of a training run."""

from __future__ import annotations

import io

import attrs
import pytest
from rich.console import Console

from yolox.training import terminal
from yolox.training.callbacks import EpochEvent, StepEvent
from yolox.training.progress import TrainingProgress
from yolox.training.terminal import TerminalProgress, format_epoch

LOSSES = {"total": 4.2, "iou": 2.0, "obj": 1.2, "cls": 1.0, "l1": 0.0}
SPEED = {"lr": 1e-3, "images_per_second": 51.26, "data_wait_share": 0.03, "progress": TrainingProgress()}
STEP = StepEvent(
    epoch=2, step=25, losses=LOSSES, num_pos=40, finite=True, bad=None, seconds_left=3725.0, **SPEED
)
EPOCH = EpochEvent(epoch=2, losses=LOSSES, skipped=0, seconds=75.0, metrics=None, **SPEED)


def console(**kwargs) -> Console:
    return Console(file=io.StringIO(), width=120, **kwargs)


def progress_of(target: Console) -> TerminalProgress:
    shown = TerminalProgress(target)
    shown.start(40, 10)
    return shown


def test_plain_progress_prints_each_epoch_on_one_line():
    target = console()
    shown = progress_of(target)
    shown.on_step(STEP)
    shown.on_epoch(EPOCH)
    shown.on_end()
    assert target.file.getvalue() == (
        "epoch 3/40  loss 4.20 (iou 2.00, obj 1.20, cls 1.00, l1 0.00)  "
        "lr 1.00e-03, 51.3 images/s, 3% waiting for data  1:15\n"
    )


def test_plain_progress_prints_steps_of_long_epochs(monkeypatch):
    monkeypatch.setattr(terminal, "LINE_SECONDS", 0.0)
    target = console()
    progress_of(target).on_step(STEP)
    line = target.file.getvalue()
    assert (
        line.startswith("epoch 3/40  step 25  loss 4.20") and "1:02:05 left" in line and "3% waiting" in line
    )


def test_live_progress_shows_everything_in_a_terminal():
    target = console(force_terminal=True)
    shown = progress_of(target)
    shown.on_step(STEP)
    shown.on_epoch(EPOCH)
    shown.on_end()
    text = target.file.getvalue()
    for part in (
        "epoch 3/40",
        "5/10",
        "loss 4.20",
        "51.3 images/s",
        "1:02:05 left",
        "3% waiting",
        "1.00e-03",
    ):
        assert part in text


@pytest.mark.parametrize("ap, shown", [(0.25, "AP 0.2500"), (None, "AP none")])
def test_an_epoch_names_metrics_and_skipped_steps(ap, shown):
    line = format_epoch(attrs.evolve(EPOCH, skipped=2, metrics={"AP": ap, "AP50": 0.5}), 40)
    assert shown in line and "AP50 0.5000" in line and "2 steps skipped" in line


def test_an_epoch_names_the_ap_of_a_few_classes_and_the_worst_of_many():
    few = {"cat": 0.5, "dog": 0.25, "cow": None}
    line = format_epoch(attrs.evolve(EPOCH, metrics={"AP": 0.3, "AP50": 0.5, "per_class": few}), 40)
    assert line.endswith("AP50 0.5000  (cat 0.500, dog 0.250)")
    many = {f"c{i}": i / 10 for i in range(9, -1, -1)}
    line = format_epoch(attrs.evolve(EPOCH, metrics={"AP": 0.3, "AP50": 0.5, "per_class": many}), 40)
    assert line.endswith("(worst 5: c0 0.000, c1 0.100, c2 0.200, c3 0.300, c4 0.400)")


@pytest.mark.parametrize("terminal", [True, False])
def test_the_first_bad_step_of_a_row_is_named(terminal):
    target = console(force_terminal=terminal)
    shown = progress_of(target)
    for in_a_row in (1, 2, 3):
        place = TrainingProgress(step=5, bad_in_a_row=in_a_row)
        bad = attrs.evolve(STEP, finite=False, bad="the gradient of stem", step=24 + in_a_row, progress=place)
        shown.on_step(bad)
    shown.on_end()
    text = target.file.getvalue()
    assert "step 25 skipped: the gradient of stem was not finite" in text and "step 26 skipped" not in text
