"""predict() is its three parts, and Detections turn into other forms."""

from __future__ import annotations

import sys
import types
from pathlib import Path

import numpy as np
import pytest
from attrs import evolve

from yolox.config import InputSpec, PostprocessConfig
from yolox.eval.postprocess import Detections, with_names
from yolox.export.metadata import ExportMetadata
from yolox.export.runner import ExportedDetector
from yolox.predict import predict

METADATA = ExportMetadata(class_names=("cat", "dog"), input=InputSpec(input_size=(32, 64)))


def constant(planes):  # [B,3,32,64] -> one box in the middle of each image
    row = np.array([[32, 16, 20, 10, 0.8, 0.1, 0.9]], np.float32)
    return (np.repeat(row[None], len(planes), axis=0),)


@pytest.mark.parametrize("batch", [None, 2])
def test_an_exported_file_needs_nothing_else(batch):
    exported = ExportedDetector(metadata=METADATA, batch=batch, run=constant)
    images = [np.zeros((64, 128, 3), np.uint8), np.zeros((32, 64, 3), np.uint8), np.zeros((32, 32, 3), np.uint8)]
    big, same, narrow = predict(exported, images, batch_size=3)
    assert big.boxes.tolist() == [[44, 22, 84, 42]] and same.boxes.tolist() == [[22, 11, 42, 21]]
    assert narrow.boxes.tolist() == [[22, 11, 32, 21]]  # clipped to the image
    assert same.names == ("dog",) and same.scores[0] == pytest.approx(0.72)
    assert predict(exported, images[:1], config=PostprocessConfig(score_threshold=0.75))[0].names == ()
    assert predict(exported, images[:1], class_names=["a", "b"])[0].names == ("b",)


def test_a_detector_needs_its_pixels():
    with pytest.raises(ValueError, match="predict: no spec"):
        predict(None, [])


@pytest.mark.parametrize(
    "images, came",
    [("src", "the path 'src'"), (Path("src"), "the path 'src'"), (np.zeros((32, 64, 3), np.uint8), r"shape \(32, 64, 3\)")],
)
def test_one_path_or_image_is_refused_and_a_stack_is_not(images, came):
    exported = ExportedDetector(metadata=METADATA, batch=None, run=constant)
    with pytest.raises(ValueError, match=f"images is .*{came}, want a list"):
        predict(exported, images)
    assert len(predict(exported, np.zeros((2, 32, 64, 3), np.uint8))) == 2


FOUND = Detections(np.array([[1, 2, 4, 6.0]], np.float32), np.array([0.5], np.float32), np.array([1], np.int32))


def test_coco_records():
    record = {"image_id": 9, "category_id": 7, "bbox": [1.0, 2.0, 3.0, 4.0], "score": 0.5}
    assert FOUND.to_coco(image_id=9, category_ids=[3, 7]) == [record]


def test_supervision(monkeypatch):
    monkeypatch.setitem(sys.modules, "supervision", types.SimpleNamespace(Detections=dict))
    made = with_names(FOUND, ["cat", "dog"]).to_supervision()
    assert made["xyxy"] is FOUND.boxes and made["data"]["class_name"].tolist() == ["dog"]
    assert (made["confidence"].tolist(), made["class_id"].tolist()) == ([0.5], [1])
    monkeypatch.setitem(sys.modules, "supervision", None)
    with pytest.raises(ImportError, match="pip install supervision"):
        FOUND.to_supervision()


@pytest.mark.parametrize("line", ["import nothing_of_this_name", "from math import nothing_of_this_name"])
def test_a_supervision_that_cannot_be_loaded_is_told_with_its_reason(monkeypatch, tmp_path, line):
    (tmp_path / "supervision.py").write_text(line)
    monkeypatch.delitem(sys.modules, "supervision", raising=False)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ImportError, match="cannot be loaded .*nothing_of_this_name") as error:
        FOUND.to_supervision()
    assert "pip install" not in str(error.value)


def test_names_fit_the_boxes():
    with pytest.raises(ValueError, match="2 names for 1 boxes"):
        evolve(FOUND, names=("a", "b"))
    with pytest.raises(ValueError, match="class 1, but there are 1 names"):
        with_names(FOUND, ["cat"])
