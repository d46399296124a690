"""Tracking, slices and annotators of supervision with detections of this library, where it is installed."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

import yolox
from yolox.config import InputSpec
from yolox.eval.postprocess import Detections
from yolox.export.metadata import ExportMetadata
from yolox.export.runner import ExportedDetector

sv = pytest.importorskip("supervision", reason="the extra supervision is not installed")
SPEC = InputSpec(input_size=(64, 96))
NAMES = ("car", "dog")


def find_bright(planes):  # [B,3,64,96] -> [B,5,7]: white areas are cars, red ones dogs
    rows = np.zeros((len(planes), 5, 7), np.float32)
    for row, image in zip(rows, planes, strict=True):
        bright = (image[2] > 150).astype(np.uint8)
        for index, (x, y, w, h, _) in enumerate(cv2.connectedComponentsWithStats(bright)[2][1:6]):
            white = image[0, y : y + h, x : x + w].mean() > 100
            row[index] = [x + w / 2, y + h / 2, w, h, 0.9, white, not white]
    return (rows,)


@pytest.fixture(scope="module")
def model():
    metadata = ExportMetadata(class_names=NAMES, input=SPEC)
    return yolox.Model(detector=ExportedDetector(metadata=metadata, batch=None, run=find_bright), input=SPEC, class_names=NAMES)


def video(frames=12):
    """A white car to the right, and a red dog to the left below it."""
    images = np.zeros((frames, 64, 96, 3), np.uint8)
    for number, image in enumerate(images):
        image[8:20, 4 + 5 * number : 20 + 5 * number] = 255
        image[40:52, 76 - 5 * number : 90 - 5 * number, 2] = 255
    return images


@pytest.mark.filterwarnings("ignore:.*ByteTrack:FutureWarning", "ignore:.*ByteTrack:DeprecationWarning")
def test_each_object_keeps_its_number(model):
    if not hasattr(sv, "ByteTrack"):
        pytest.skip("supervision 0.31 has no ByteTrack")
    tracker, numbers = sv.ByteTrack(frame_rate=25), {}
    for found in model.predict(iter(video())):
        tracked = tracker.update_with_detections(found.to_supervision())
        for name, number in zip(tracked.data["class_name"], tracked.tracker_id, strict=True):
            numbers.setdefault(str(name), []).append(int(number))
    assert set(numbers) == set(NAMES) and all(len(each) >= 10 for each in numbers.values())
    assert len(set(numbers["car"])) == len(set(numbers["dog"])) == 1 and numbers["car"][0] != numbers["dog"][0]


def test_zones_count_and_annotators_draw(model):
    image = video(1)[0]
    found = model.predict(image).to_supervision()
    zone = sv.PolygonZone(np.array([[0, 0], [48, 0], [48, 63], [0, 63]]))
    assert zone.trigger(found).tolist() == [name == "car" for name in found.data["class_name"]]
    picture = sv.BoxAnnotator(thickness=1).annotate(image.copy(), found)
    changed = np.argwhere((picture != image).any(2))
    assert len(changed) > 50 and changed.min() >= 3 and changed[:, 0].max() <= 53


def test_slices_agree_with_tiles(model):
    image = np.zeros((128, 192, 3), np.uint8)
    places = [(10, 12), (100, 30), (150, 100)]
    for x, y in places:
        image[y : y + 12, x : x + 16] = 255
    sliced = sv.InferenceSlicer(lambda part: model.predict(part).to_supervision(), slice_wh=(96, 96), overlap_wh=(24, 24))(image)
    tiled = model.predict(image, tiles=96)
    want = sorted([x, y, x + 16, y + 12] for x, y in places)
    assert sorted(map(tuple, np.round(tiled.boxes).tolist())) == [tuple(map(float, box)) for box in want]
    # a slice begins at row 32: plain NMS keeps the part of the second object that lies in it
    assert all(any(np.abs(box - np.array(other)).max() < 3 for box in sliced.xyxy) for other in want) and len(sliced) == 3


def test_nothing_is_converted_to_nothing():
    assert len(Detections().to_supervision()) == 0
