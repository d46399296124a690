"""Tiles: a grid that covers, a merge that gives back the objects, and small objects of a large image that only tiles find."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import yolox
from tests.oracles.nms import slow_nms
from yolox.config import InputSpec, PostprocessConfig
from yolox.data.coco import read_coco
from yolox.data.dataset import ground_truth
from yolox.data.letterbox import letterbox
from yolox.eval.coco import detections_to_coco, evaluate_coco
from yolox.eval.postprocess import Detections
from yolox.eval.predict import Speed, make_eval_step, predict_images
from yolox.eval.tiles import Tiles, image_views, merge_tiles, tile_grid
from yolox.export.metadata import ExportMetadata
from yolox.export.runner import ExportedDetector

SPEC = InputSpec(input_size=(160, 160))
CONFIG = PostprocessConfig(score_threshold=0.3, iou_threshold=0.5)


@settings(max_examples=150, deadline=None)
@given(st.integers(1, 90), st.integers(1, 90), st.integers(1, 40), st.floats(0, 0.9))
def test_the_grid_covers_the_image_and_keeps_the_overlap(height, width, size, overlap):
    grid = tile_grid((height, width), Tiles(size, overlap))
    covered = np.zeros((height, width), int)
    for left, top, right, bottom in grid.tolist():
        assert 0 <= left < right <= width and 0 <= top < bottom <= height
        assert (right - left, bottom - top) == (min(size, width), min(size, height))
        covered[top:bottom, left:right] += 1
    assert covered.min() >= 1
    for starts, length in ((sorted({*grid[:, 0].tolist()}), width), (sorted({*grid[:, 1].tolist()}), height)):
        gaps = np.diff(starts)
        most = max(size - np.ceil(size * overlap - 1e-9), 1)
        assert (gaps <= most).all() and (gaps.max() - gaps.min() <= 1 if len(gaps) else True)
        assert (len(starts) - 2) * most < max(length - size, 0) or len(starts) == 1  # one tile less would not do
    assert len({*map(tuple, grid.tolist())}) == len(grid)


def test_an_image_that_fits_is_one_view():
    assert image_views((480, 640), Tiles(640)).tolist() == image_views((480, 640), None).tolist() == [[0, 0, 640, 480]]
    assert len(image_views((480, 641), Tiles(640))) == 3


@pytest.mark.parametrize("size, overlap", [(0, 0.2), (640, -0.1), (640, 0.95)])
def test_tiles_that_cannot_be(size, overlap):
    with pytest.raises(ValueError, match="side|overlap"):
        Tiles(size, overlap)


def found(boxes, scores, classes=None):
    classes = np.zeros(len(boxes), np.int32) if classes is None else np.array(classes, np.int32)
    return Detections(np.array(boxes, np.float32).reshape(-1, 4), np.array(scores, np.float32), classes)


def test_without_boxes_at_borders_it_is_nms_of_all_boxes():
    rng, tiles, dropped = np.random.default_rng(0), np.array([[0, 0, 100, 100], [0, 0, 100, 100]]), 0
    for _ in range(20):
        several = []
        for _ in tiles:
            corner, side = rng.uniform(3, 60, (12, 2)), rng.uniform(5, 36, (12, 2))
            several.append(found(np.hstack([corner, corner + side]), rng.permutation(12) / 12, rng.integers(0, 2, 12)))
        merged = merge_tiles(several, tiles, image_size=(100, 100), iou_threshold=0.4)
        boxes, scores, classes = (np.concatenate([getattr(each, k) for each in several]) for k in ("boxes", "scores", "classes"))
        want = slow_nms(boxes, scores, classes, 0.4)
        assert sorted(map(tuple, merged.boxes.tolist())) == sorted(map(tuple, boxes[want].tolist()))
        assert (np.diff(merged.scores) <= 0).all()
        dropped += len(boxes) - len(want)
    assert dropped > 20


def test_a_part_never_replaces_the_whole():
    """An object across a border: one tile has all of it, two have parts, one of these with the best score."""
    tiles = np.array([[0, 0, 50, 50], [30, 0, 80, 50], [0, 20, 50, 70]])
    several = [
        found([[34, 10, 50, 30], [5, 5, 15, 15]], [0.95, 0.6]),  # the first is cut at the right
        found([[4, 10, 44, 30]], [0.5]),
        found([[34, 0, 50, 10]], [0.4]),  # cut at the top
    ]
    merged = merge_tiles(several, tiles, image_size=(80, 80), iou_threshold=0.65)
    assert merged.boxes.tolist() == [[5, 5, 15, 15], [34, 10, 74, 30]]
    other = [several[0], found([[4, 10, 44, 30]], [0.5], [1]), several[2]]  # of another class it covers nothing
    assert len(merge_tiles(other, tiles, image_size=(80, 80), iou_threshold=0.65)) == 4
    alone = [several[0], found([], []), found([], [])]  # nor is a part lost that no whole object covers
    (part,) = merge_tiles(alone, tiles, image_size=(80, 80), iou_threshold=0.65, max_detections=1).boxes.tolist()
    assert part == [34, 10, 50, 30]
    border = merge_tiles([several[0]], tiles[:1], image_size=(50, 50), iou_threshold=0.65)
    assert len(border) == 2  # the border of the image cuts no box from another tile
    with pytest.raises(ValueError, match="detections of 1 tiles for 3"):
        merge_tiles(alone[:1], tiles, image_size=(80, 80), iou_threshold=0.5)


def test_an_object_in_front_of_a_larger_one_is_no_part_of_it():
    """It ends within 2 % of its tile's border, in a larger box of its class that crosses the border; no other tile has it."""
    tiles = np.array([[0, 0, 180, 100], [0, 0, 100, 100], [80, 0, 180, 100]])
    large, small, half = [10, 5, 140, 95], [87, 40, 99, 60], [12, 6, 100, 94]
    several = [found([large], [0.9]), found([small, half], [0.8, 0.95]), found([], [])]
    merged = merge_tiles(several, tiles, image_size=(100, 180), iou_threshold=0.65)
    assert merged.boxes.tolist() == [large, small]  # the part of the larger one goes


def find_dots(planes):  # [B,3,160,160] -> [B,N,6]
    """A detector that is a function of the pixels: red areas of at least 60 pixels, scored by their size."""
    several = []
    for image in planes:
        red = ((image[2] > 150) & (image[0] < 90)).astype(np.uint8)
        stats = cv2.connectedComponentsWithStats(red, connectivity=8)[2][1:]
        rows = [[x + w / 2, y + h / 2, w, h, min(0.4 + n / 2000, 0.99), 1] for x, y, w, h, n in stats if n >= 60]
        several.append(np.array([*rows, *[[0] * 6] * (60 - len(rows))], np.float32))
    return (np.stack(several),)


@pytest.fixture(scope="module")
def model():
    metadata = ExportMetadata(class_names=("dot",), input=SPEC)
    return yolox.Model(detector=ExportedDetector(metadata=metadata, batch=None, run=find_dots), input=SPEC, class_names=("dot",))


@pytest.fixture(scope="module")
def large():
    """An image of 480 x 800 with 40 dots of 14 px, some across the borders of tiles, and one of 260 px."""
    image, rng, boxes = np.full((480, 800, 3), 60, np.uint8), np.random.default_rng(3), []
    cv2.circle(image, (640, 240), 130, (0, 0, 255), -1)
    boxes.append([510, 110, 771, 371])
    places = [(x, y) for x in range(15, 500, 24) for y in range(15, 470, 24)]
    for index in rng.permutation(len(places))[:40]:
        x, y = places[index]
        cv2.circle(image, (x, y), 7, (0, 0, 255), -1)
        boxes.append([x - 7, y - 7, x + 8, y + 8])
    return image, np.array(boxes, np.float32)


def average_precision(detections: list[Detections], boxes: list[np.ndarray], size) -> float:
    images = [{"id": i, "height": size[0], "width": size[1]} for i in range(len(boxes))]
    rows = [(i, box) for i, several in enumerate(boxes) for box in several.tolist()]
    annotations = []
    for number, (image_id, (x1, y1, x2, y2)) in enumerate(rows, start=1):
        box = {"bbox": [x1, y1, x2 - x1, y2 - y1], "area": (x2 - x1) * (y2 - y1), "iscrowd": 0}
        annotations.append({"id": number, "image_id": image_id, "category_id": 1, **box})
    truth = {"images": images, "annotations": annotations, "categories": [{"id": 1, "name": "object"}]}
    results = detections_to_coco(detections, image_ids=range(len(boxes)), category_ids=[1])
    return evaluate_coco(truth, results)["AP"]


def test_small_objects_of_a_large_image_are_found_in_tiles_only(model, large):
    image, boxes = large
    alone = model.predict(image, config=CONFIG)
    assert len(alone) == 1 and np.abs(alone.boxes - boxes[0]).max() < 10  # a fifth of the size: dots have less than 3 px
    tiled = model.predict(image, config=CONFIG, tiles=160)
    assert len(tiled) == len(boxes) and set(tiled.names) == {"dot"}
    distance = np.abs(tiled.boxes[:, None] - boxes[None]).max(2)
    assert sorted(distance.argmin(0).tolist()) == list(range(len(boxes)))  # each once
    assert np.sort(distance.min(0))[:-1].max() < 1.5 and distance.min(0)[0] < 10  # px; the large one from the whole image
    assert average_precision([alone], [boxes], image.shape) < 0.05 < 0.9 < average_precision([tiled], [boxes], image.shape)


def test_front_doors_batches_and_streams_agree(model, large):
    image, _ = large
    want = model.predict(image, config=CONFIG, tiles=yolox.Tiles(160, overlap=0.3))
    small = np.ascontiguousarray(image[:150, :150])
    for batch_size in (1, 4, 7):
        options = {"config": CONFIG, "tiles": yolox.Tiles(160, overlap=0.3), "batch_size": batch_size}
        several = list(model.predict(iter([small, image, small]), **options))
        assert [len(each) for each in several] == [len(model.predict(small, config=CONFIG)), len(want), len(several[0])]
        np.testing.assert_array_equal(several[1].boxes, want.boxes)
        np.testing.assert_array_equal(yolox.predict(model.detector, [image], **options)[0].boxes, want.boxes)
    limited = model.predict(image, tiles=160, config=PostprocessConfig(score_threshold=0.3, max_detections=5))
    assert len(limited) == 5


def test_speed_counts_images_and_tiles(model, large):
    image, _ = large
    speed = Speed()
    assert str(speed) == "no images"
    list(predict_images(model.detector, [image, image], spec=SPEC, config=CONFIG, tiles=160, batch_size=4, speed=speed))
    views = len(image_views(image.shape[:2], Tiles(160)))
    assert (speed.images, speed.first_inputs, speed.inputs) == (2, 4, 2 * views - 4)
    speed = Speed(images=2, read=0.1, prepare=0.02, nms=0.002, steps=0.3, first=9.0, inputs=3, first_inputs=1)
    text = "read 50.0, prepare 10.0, network 200.0, NMS 1.0 ms an image; the first step, 9.0 s, is not counted"
    assert str(speed) == text


def on_one_canvas(dataset, folder, *, cell: int, columns: int):
    """Returns the images of a dataset side by side, each fitted into a cell, and COCO's ground truth of the large image."""
    truth = ground_truth(dataset)
    rows = -(-len(dataset) // columns)
    canvas = np.full((rows * cell, columns * cell, 3), 114, np.uint8)
    moved = {}
    for index, name in enumerate(dataset.file_names):
        picture, fit = letterbox(cv2.imread(str(folder / name)), (cell, cell), spec=InputSpec())
        top, left = index // columns * cell, index % columns * cell
        canvas[top : top + cell, left : left + cell] = picture
        moved[dataset.image_ids[index]] = fit.ratio, left, top
    annotations = []
    for old in truth["annotations"]:
        (ratio, left, top), (x, y, width, height) = moved[old["image_id"]], old["bbox"]
        box = [x * ratio + left, y * ratio + top, width * ratio, height * ratio]
        annotations.append({**old, "image_id": 1, "bbox": box, "area": old["area"] * ratio**2})
    images = [{"id": 1, "height": canvas.shape[0], "width": canvas.shape[1]}]
    return canvas, {**truth, "images": images, "annotations": annotations}


@pytest.mark.slow
def test_official_nano_on_a_large_image_of_photos(data_dir):
    """31 photos on a canvas of 2496 x 2496, nano at 416: most objects are too small without tiles."""
    detector = yolox.models.yolox_nano(80)
    yolox.load_weights(detector, data_dir / "weights" / "yolox_nano_fused_megvii_keys.npz")
    spec, folder = InputSpec(input_size=(416, 416)), data_dir / "coco_ccby_val"
    dataset = read_coco(folder / "instances.json", folder / "images")
    canvas, truth = on_one_canvas(dataset, folder / "images", cell=416, columns=6)
    step, config = make_eval_step(detector, spec=spec), PostprocessConfig(max_detections=3000)
    ap = {}
    for tiles in (None, Tiles(416, 0.2)):
        found = list(predict_images(step, [canvas], spec=spec, config=config, tiles=tiles))
        results = detections_to_coco(found, image_ids=[1], category_ids=dataset.category_ids)
        ap[tiles] = evaluate_coco(truth, results)["AP"]
    assert list(ap.values()) == pytest.approx([0.047, 0.281], abs=0.003)  # 0.309 of the photos by themselves; plain NMS has 0.269
