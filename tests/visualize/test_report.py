"""The report: one file that needs nothing else, shows the numbers it was given, and escapes the text of others."""

from __future__ import annotations

import base64
import json
import re
import shutil
import subprocess
from pathlib import Path

import attrs
import cv2
import numpy as np
import pytest

from yolox.data.check import label_statistics
from yolox.data.coco import read_coco
from yolox.data.dataset import image_labels
from yolox.data.synthetic import SyntheticConfig, write_synthetic
from yolox.eval.postprocess import Detections
from yolox.recipes import megvii_recipe
from yolox.visualize import evaluation_report, recipe_settings, report, report_html, write_report
from yolox.visualize.report import ReportParts, read_report

NAMES = ("<script>alert(1)</script>", "a & b", "$x$_y")
ROWS = [
    {"epoch": e, "lr": 0.1, "total": 3.0 / e, "images_per_second": 1, "AP": 0.1 * e, "AP50": 0.2 * e} for e in (1.0, 2.0, 3.0)
]


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory):
    """A dataset with hostile names, detections of which the first image is right and the last is empty, and their evaluation."""
    folder = tmp_path_factory.mktemp("data")
    config = SyntheticConfig(image_size=(48, 64), sides=(12, 30))
    dataset = read_coco(write_synthetic(folder, images=4, seed=0, config=config), folder / "images")
    dataset = attrs.evolve(dataset, class_names=NAMES)
    found = []
    for index in range(len(dataset)):
        boxes, classes = image_labels(dataset, index)
        one = Detections(boxes, np.linspace(0.9, 0.5, len(boxes), dtype=np.float32), classes)
        wrong = Detections(boxes, one.scores, (classes + 1) % 3)
        found.append([one, wrong, wrong, Detections()][index])
    metrics = {"AP": 0.25, "AP50": None, "per_class": {NAMES[0]: 0.125, NAMES[1]: None, NAMES[2]: 0.5}}
    content = evaluation_report(metrics, dataset, found, input_size=(64, 64))
    return dataset, found, content | {"epoch": 2, "train_labels": label_statistics(dataset, input_size=(64, 64))}


@pytest.fixture(scope="module")
def page(evaluated):
    dataset, found, content = evaluated
    content = json.loads(json.dumps(content))  # as from a file
    settings = {**recipe_settings(megvii_recipe("nano")), "options": {"--data": "<D>"}}
    notes = ["2 images < 8 px"]
    return report_html(
        content, title="<i>", history=ROWS, dataset=dataset, found=found, settings=settings, command="a 'b<c'", notes=notes
    )


def test_it_loads_nothing(page):
    sources = re.findall(r'(?:src|href)="(.*?)"', page)
    assert all(source.startswith(("data:image/svg+xml;base64,", "data:image/jpeg;base64,", "#")) for source in sources)
    assert page.count("<script") == page.count('<script type="application/json">') == 1  # data, which no browser runs
    assert "@import" not in page and "default-src 'none'" in page
    targets = {source[1:] for source in sources if source.startswith("#")}
    assert targets == {"curves", "classes", "precision", "confusion", "errors", "images", "labels", "settings"}
    assert all(f'id="{target}"' in page for target in targets)


def test_text_of_others_is_escaped(page):
    for text in ("<h1>&lt;i&gt;</h1>", "&lt;script&gt;alert(1)&lt;/script&gt;", "a &amp; b", "&lt;D&gt;", "2 images &lt; 8 px"):
        assert text in page
    assert "a &#39;b&lt;c&#39;" in page


def test_the_numbers_are_those_of_the_evaluation(page, evaluated):
    _, _, content = evaluated
    flat = re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", re.sub(r'src="[^"]*"', "", page)))
    assert "epoch 2 AP 0.250 AP50 – " in flat
    analysis, index = content["analysis"], 0
    table = np.array(analysis["confusion"])
    right, true, predicted = table[index, index], table[index].sum(), table[:, index].sum()
    numbers = [np.mean(analysis["precision"][index]), max(analysis["f1"][index]), right / predicted, right / true]
    text = " ".join(f"{number:.3f}" for number in numbers)
    assert f"alert(1)&lt;/script&gt; {analysis['truths'][index]} 0.125 {text} " in flat
    for kind, added in content["errors"]["dAP"].items():
        if kind in report.KINDS:
            assert f"{kind} {added:.3f} {sum(content['errors']['counts'][kind])} {report.MEANINGS[kind]}" in flat
    assert "input_size 416 x 416" in flat and "MindSpore" in flat and "Python" in flat


def test_worst_and_best_images_are_shown_with_their_ground_truth(page, evaluated):
    dataset, _, _ = evaluated
    captions = re.findall(r"<figcaption>(.*?)</figcaption>", page)
    first, last = (dataset.file_names[index] for index in (0, 3))
    assert captions[-1] == f"{first}: F1 1.00" and f"{last}: F1 0.00" in captions[:3] and len(captions) == 4
    data = re.findall(r'<img src="data:image/jpeg;base64,(.*?)"', page)
    assert all(cv2.imdecode(np.frombuffer(base64.b64decode(each), np.uint8), 1).shape[1] == 1284 for each in data)


def test_what_is_missing_is_said(evaluated, tmp_path):
    _, _, content = evaluated
    empty = report_html(title="x")
    assert "There is no evaluation" in empty and "made from Python" in empty and "<img" not in empty
    nothing = {name: content[name] for name in ("AP", "per_class")}
    nothing["analysis"] = {**content["analysis"], "precision": [None] * 3, "f1": [None] * 3, "confusion": [[0] * 4] * 4}
    page = report_html(nothing, title="caf\udce9")
    assert page.count("Nothing to draw: no image has an object.") == 2 and "Nothing to draw: no objects, and no det" in page
    assert "The images are not at hand" in page and "<img" not in page
    write_report(tmp_path / "a.html", page)
    assert b"<h1>caf\\udce9</h1>" in (tmp_path / "a.html").read_bytes()


CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed: the width of the page is not measured")
@pytest.mark.parametrize("width", [390, 1280])
def test_nothing_is_wider_than_the_window(page, tmp_path, width):
    write_report(tmp_path / "report.html", page)
    measure = """<iframe src="report.html" style="width: {}px; height: 900px; border: 0"></iframe><p id="out"></p>
        <script>onload = () => {{ const inner = frames[0].document, root = inner.documentElement;
        const broken = [...inner.images].filter(image => !image.naturalWidth).length;
        out.textContent = `width ${{root.scrollWidth}} images ${{inner.images.length}} broken ${{broken}}`; }}</script>"""
    (tmp_path / "measure.html").write_text(measure.format(width))
    command = [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--hide-scrollbars"]
    command += ["--allow-file-access-from-files", "--disable-background-networking", "--disable-component-update"]
    command += ["--disable-sync", "--virtual-time-budget=20000"]
    command += [f"--user-data-dir={tmp_path}/profile", "--dump-dom", Path(tmp_path / "measure.html").as_uri()]
    dump = subprocess.run(command, capture_output=True, text=True, timeout=120).stdout
    assert re.search(r'id="out">(.*?)<', dump)[1] == f"width {width} images {len(re.findall('<img ', page))} broken 0"


def test_a_page_is_drawn_again_with_the_parts_that_only_it_holds(page, evaluated):
    """Names of files and options, which are escaped in the page, are whole again; versions are those of the new page."""
    kept = read_report(page)
    assert (kept.command, list(kept.notes), kept.settings["options"]) == ("a 'b<c'", ["2 images < 8 px"], {"--data": "<D>"})
    assert "versions" not in kept.settings and kept.settings["recipe"]["epochs"] == "300"
    assert [name for name, _ in kept.images] == ["The worst", "The best"]
    again = report_html(json.loads(json.dumps(evaluated[2])), title="<i>", history=ROWS, kept=kept)
    assert re.sub(r"Made on .*UTC", "", again) == re.sub(r"Made on .*UTC", "", page)
    assert read_report("<p>another page</p><h3>a</h3><img src='data:image/jpeg;base64,AA'><tr><td>a</td></tr>") == ReportParts()
