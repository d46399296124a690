"""The Python of the README and of the quick start in Chinese runs as it stands, and the README's links lead somewhere."""

from __future__ import annotations

import re
import shutil
from functools import partialmethod
from pathlib import Path

import pytest

import yolox
from tests.test_front_door import small
from yolox.data.synthetic import SyntheticConfig, write_synthetic

ROOT = Path(__file__).resolve().parents[1]
TEXT = (ROOT / "README.md").read_text(encoding="utf-8")
THREE_LINES, FRONT_DOOR = re.findall(r"```python\n(.*?)```", TEXT, flags=re.DOTALL)
(SIMOTA,) = re.findall(r"```python\n(.*?)```", (ROOT / "docs/simota_elsewhere.md").read_text(encoding="utf-8"), flags=re.DOTALL)
(CHINESE,) = re.findall(r"```python\n(.*?)```", (ROOT / "docs/zh/quickstart.md").read_text(encoding="utf-8"), flags=re.DOTALL)


def run_block(text: str, folder: Path) -> dict:
    """Runs a block and returns its names."""
    path = folder / "block.py"  # MindSpore compiles functions only from files
    path.write_text(text, encoding="utf-8")
    names = {"__name__": "block", "__file__": str(path)}
    exec(compile(text, str(path), "exec"), names)
    return names


def write_files(folder: Path) -> None:
    """Writes what the first block reads: a dataset whose parts share their images, a photo, and weights named megvii:nano."""
    drawn = write_synthetic(folder / "D", images=4, seed=0, config=SyntheticConfig(image_size=(64, 64), sides=(16, 40)))
    for name in ("train.json", "val.json"):
        shutil.copy(drawn, folder / "D" / name)
    Path(drawn).unlink()
    shutil.copy(min((folder / "D/images").iterdir()), folder / "photo.jpg")
    weights = {f"params.{p.name}": p.asnumpy() for p in yolox.models.yolox_nano(80).get_parameters()}
    names = [str(index) for index in range(80)]
    yolox.save_checkpoint(str(folder / "megvii:nano"), weights, recipe=yolox.megvii_recipe("nano"), class_names=names)


@pytest.mark.slow
@pytest.mark.parametrize("block", [FRONT_DOOR, CHINESE], ids=["readme", "chinese"])
def test_the_front_door(block, tmp_path, monkeypatch):
    write_files(tmp_path)
    monkeypatch.chdir(tmp_path)
    finetune = yolox.finetune_recipe
    monkeypatch.setattr(yolox, "finetune_recipe", lambda recipe: small(finetune(recipe)))
    names = run_block(block, tmp_path)
    (found,) = names["found"]
    assert names["run"].best_ap == names["metrics"]["AP"]
    assert len(found.boxes) == len(found.scores) == len(found.classes) == len(found.names)


@pytest.mark.slow
def test_the_three_lines(tmp_path, monkeypatch):
    write_files(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(yolox.Model, "predict", partialmethod(yolox.Model.predict, score_threshold=0.0))
    names = run_block(THREE_LINES, tmp_path)
    assert len(names["model"].class_names) == 80 and len(names["found"]) > 0


def test_simota(tmp_path):
    names = run_block(SIMOTA, tmp_path)
    matched_gt, matched_iou = names["matched_gt"].asnumpy(), names["overlap"].asnumpy()
    assert matched_gt.shape == (2, 64) and matched_gt.max(axis=1).tolist() == [1, 0] and (matched_iou[matched_gt < 0] == 0).all()


def test_it_begins_with_a_picture_and_is_short():
    assert TEXT.split("\n")[2].startswith("![") and len(TEXT.split()) < 900


def test_the_promised_commands():
    assert "    make demo\n    make test\n" in TEXT


@pytest.mark.parametrize("target", re.findall(r"\]\((?!http|#)([^)]+)\)", re.sub(r"```.*?```", "", TEXT, flags=re.DOTALL)))
def test_relative_links_lead_to_files(target):
    assert (ROOT / target).exists(), target
