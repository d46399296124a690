"""Charts show the numbers of the analysis: read back from the figures, with 3 classes and with 80."""

from __future__ import annotations

import subprocess
import sys

import cv2
import numpy as np
import pytest

from yolox.data.check import label_statistics
from yolox.data.classes import COCO_NAMES
from yolox.data.coco import read_coco
from yolox.data.synthetic import write_synthetic
from yolox.eval.analysis import GroundTruth, analyse
from yolox.eval.postprocess import Detections
from yolox.visualize.charts import (
    benchmark_chart,
    chart_names,
    confusion_chart,
    f1_chart,
    history_chart,
    label_chart,
    precision_recall_chart,
)


def analysis_of(names, *, images=20):
    rng, count = np.random.default_rng(0), len(names)
    gt, detections = [], []
    for _ in range(images):
        corners = rng.uniform(0, 300, (6, 2))
        boxes, classes = np.hstack([corners, corners + rng.uniform(20, 90, (6, 2))]), rng.integers(0, count, 6)
        gt.append(GroundTruth(boxes=boxes, classes=classes, crowd=np.zeros(6, bool)))
        guess = np.where(rng.random(6) < 0.8, classes, (classes + 1) % count)
        detections.append(Detections(boxes + rng.normal(0, 5, boxes.shape), rng.random(6), guess))
    return analyse(gt, detections, class_names=names)


FEW = analysis_of(["red blood cell with a very long name", "platelets", "white"])
MANY = analysis_of(COCO_NAMES)


def legend(figure) -> list[str]:
    return [text.get_text() for text in figure.axes[0].get_legend().get_texts()]


def test_precision_names_every_one_of_a_few_classes():
    figure = precision_recall_chart(FEW)
    areas = [np.mean(curve) for curve in FEW["precision"]]
    texts = legend(figure)
    assert len(texts) == 4 and texts[-1] == f"mean of 3 classes, AP {np.mean(areas):.3f}"
    assert f"red blood c… long name, AP {areas[0]:.3f}" in texts
    mean = figure.axes[0].get_lines()[-1]
    np.testing.assert_allclose(mean.get_ydata(), np.mean(FEW["precision"], axis=0))


def test_of_many_classes_both_ends_are_named_and_absent_ones_left_out():
    present = sum(curve is not None for curve in MANY["precision"])
    assert 40 < present < 80
    for figure in (precision_recall_chart(MANY), f1_chart(MANY)):
        assert len(legend(figure)) == 7 and f"mean of {present} classes" in legend(figure)[-1]
        looks = {(line.get_color(), line.get_linestyle()) for line in figure.axes[0].get_lines() if line.get_color() != "0.85"}
        assert len(looks) >= 7
        assert sum(line.get_color() == "0.85" for line in figure.axes[0].get_lines()) == present - 6


def test_f1_marks_the_best_threshold():
    mean = np.mean(FEW["f1"], axis=0)
    title = f1_chart(FEW).axes[0].get_title()
    assert title == f"the mean is best at a score of {FEW['score'][mean.argmax()]:.2f}: F1 {mean.max():.3f}"
    assert legend(f1_chart(FEW))[-1] == f"mean of 3 classes, best F1 {mean.max():.3f}"


@pytest.mark.parametrize("normalised", [False, True])
def test_confusion_shows_its_numbers(normalised):
    table = np.array(FEW["confusion"], float)
    table = table / np.maximum(table.sum(1, keepdims=True), 1) if normalised else table
    form = "{:.2f}" if normalised else "{:.0f}"
    axes = confusion_chart(FEW, normalised=normalised).axes[0]
    shown = {text.get_position(): text.get_text() for text in axes.texts}
    want = {(column, row): form.format(value) for (row, column), value in np.ndenumerate(table) if value > 0}
    assert shown == want
    assert [label.get_text() for label in axes.get_yticklabels()][-2:] == ["white", "nothing there"]


def test_a_large_confusion_matrix_fits_a_screen_and_drops_unseen_classes(tmp_path):
    table = np.array(MANY["confusion"])
    seen = int(((table.sum(0) + table.sum(1)) > 0)[:-1].sum())
    figure = confusion_chart(MANY)
    assert len(figure.axes[0].get_yticks()) == seen + 1 < 81
    assert all(text.get_fontsize() == (7 if len(text.get_text()) < 3 else 7 * 2.3 / 3) for text in figure.axes[0].texts)
    assert sum(int(text.get_text()) for text in figure.axes[0].texts) == table.sum()
    diagonal = [text for text in confusion_chart(MANY, normalised=True).axes[0].texts if text.get_position() == (0, 0)]
    assert diagonal[0].get_text() == f"{100 * table[0, 0] / table[0].sum():.0f}"
    width, height = figure.get_size_inches() * figure.dpi
    assert max(width, height) < 1400
    figure.savefig(tmp_path / "a.png")
    assert (tmp_path / "a.png").stat().st_size > 10_000


def test_an_evaluation_without_anything_is_drawn(tmp_path):
    nothing = analyse([], [], class_names=["cat"])
    for figure in (precision_recall_chart(nothing), f1_chart(nothing), confusion_chart(nothing)):
        figure.savefig(tmp_path / "a.png")


def test_labels_are_counted(tmp_path):
    dataset = read_coco(write_synthetic(tmp_path, images=5, seed=0), tmp_path / "images")
    figure = label_chart(label_statistics(dataset, input_size=(64, 64)), title="some")
    assert figure.get_suptitle() == f"some: 5 images, {len(dataset.boxes)} objects, 3 classes"
    bars, sizes, crowded, _ = (axes for part in figure.subfigs for axes in _axes_of(part))
    numbers = np.bincount(dataset.classes, minlength=3)
    assert [bar.get_width() for bar in bars.patches] == numbers.tolist()
    assert [text.get_text().strip() for text in bars.texts] == [str(number) for number in numbers]
    sides = np.sqrt(np.prod(dataset.boxes[:, 2:] - dataset.boxes[:, :2], axis=1)) / 2  # 128 px to 64
    assert sizes.get_title() == f"{np.mean(sides < 8):.1%} below 8 px"
    assert crowded.get_title() == f"0 without objects, at most {np.diff(dataset.offsets).max()}"
    figure.savefig(tmp_path / "a.png")


def _axes_of(part):
    return list(part.axes) if not part.subfigs else [axes for inner in part.subfigs for axes in _axes_of(inner)]


def test_long_names_with_a_common_beginning_stay_apart():
    names = [f"vehicle of the municipal fleet, category {number:04d}" for number in range(80)]
    assert {len(name) for name in names} == {45}
    axes = confusion_chart(analysis_of(names)).axes[0]
    shown = [label.get_text() for label in axes.get_yticklabels()]
    assert len(set(shown)) == len(shown) > 40 and max(map(len, shown)) <= 22
    assert len(set(legend(precision_recall_chart(analysis_of(names))))) == 7


def test_charts_keep_letters_that_their_font_has():
    names = chart_names(["caf\u00e9", "\u043b\u0438\u0441\u0430", "\u732b"])  # Latin, Cyrillic, Chinese
    assert names == ["caf\u00e9", "\u043b\u0438\u0441\u0430", "class 2"]


ROW = {name: 0.0 for name in ("epoch", "lr", "total", "iou", "images_per_second", "AP", "AP50")}


def rows_of(**columns):
    return [{**ROW, "epoch": epoch + 1.0, **dict(zip(columns, values, strict=True))}
            for epoch, values in enumerate(zip(*columns.values(), strict=True))]  # fmt: skip


def test_a_line_for_every_loss_and_metric_of_a_history():
    rows = rows_of(total=[3.0, 2.0, 1.0], iou=[1.0, None, 0.5], AP=[None, 0.2, 0.3])
    rows = [{"epoch": row["epoch"], "lr": 0.1, "giou": 0.5, **row} for row in rows]  # another loss
    losses, metrics = history_chart(rows).axes
    lines = {line.get_label(): line.get_ydata() for axes in (losses, metrics) for line in axes.get_lines()}
    assert list(lines) == ["giou", "total", "iou", "AP", "AP50"] and lines["total"].tolist() == [3.0, 2.0, 1.0]
    assert lines["iou"].tolist() == [1.0, 0.5] and losses.get_lines()[2].get_xdata().tolist() == [1.0, 3.0]  # no gap
    assert losses.get_ylim()[1] > 3 and [axes.get_title() for axes in (losses, metrics)] == [
        "training loss", "validation",
    ]  # fmt: skip


def test_metrics_that_are_the_same_are_both_seen():
    ap, ap50 = history_chart(rows_of(AP=[0.1, 0.2], AP50=[0.1, 0.2])).axes[1].get_lines()
    assert ap.get_linewidth() < ap50.get_linewidth() and ap.get_zorder() > ap50.get_zorder()


def test_the_axis_of_metrics_at_zero_reaches_a_least_value():
    assert history_chart(rows_of(AP=[0.0, 0.0])).axes[1].get_ylim()[1] == pytest.approx(0.105)


@pytest.mark.parametrize("values", [[None, None], [float("nan"), 1.0], [0.0, 0.0], [1.0]])
def test_missing_and_constant_values_and_one_epoch_are_drawn(values, tmp_path):
    history_chart(rows_of(AP=values)).savefig(tmp_path / "a.png")
    assert cv2.imread(str(tmp_path / "a.png")).shape == (320, 960, 3)


def test_drawing_leaves_the_backend_of_the_user_alone():
    code = "import sys, yolox.visualize as v; v.f1_chart; assert 'matplotlib.pyplot' not in sys.modules"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_benchmark_chart_has_a_bar_for_each_number():
    kinds = (("MindSpore", "float32", 80, 3.8, 0.3088), ("OpenVINO", "float32", 26.04, 4, 0.3), ("OpenVINO", "int8", 21, 2, None))
    keys = ("runtime", "precision", "milliseconds", "megabytes", "ap")
    report = {"rows": [dict(zip(keys, row, strict=True)) for row in kinds]}
    report["conditions"] = {"input_size": [416, 416], "rounds": 9, "processor": "P", "cores": 2}
    figure = benchmark_chart(report)
    widths = [[bar.get_width() for bar in axes.patches] for axes in figure.axes]
    assert widths == [[80, 26.04, 21], [3.8, 4, 2], [0.3088, 0.3, 0]]
    assert [text.get_text().strip() for text in figure.axes[2].texts] == ["0.3088", "0.3000", "not evaluated"]
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()][1:] == ["OpenVINO float32", "OpenVINO int8"]
    colors = [bar.get_facecolor() for bar in figure.axes[0].patches]
    assert colors[0] != colors[1] == colors[2]
    for row in report["rows"]:
        row["ap"] = None
    assert len(benchmark_chart(report).axes) == 2


@pytest.mark.parametrize("draw", [precision_recall_chart, f1_chart])
def test_curves_that_are_zero_everywhere_are_a_sentence(draw):
    """As after the first epochs of a run, which finds nothing yet."""
    one = GroundTruth(boxes=np.array([[0.0, 0, 9, 9]]), classes=np.array([0]), crowd=np.array([False]))
    wrong = Detections(np.array([[50.0, 50, 60, 60]]), np.array([0.9]), np.array([0]))
    figure = draw(analyse([one], [wrong], class_names=["a"]))
    assert not figure.axes and figure.texts[0].get_text() == "Nothing to draw: no detection fits an object at IoU 0.5."
