import json
from pathlib import Path

import cv2
import mindspore as ms
import numpy as np
import pytest
from attrs import evolve

from tests.export.detectors import small_detector
from yolox.config import InputSpec, PostprocessConfig
from yolox.data.coco import read_coco
from yolox.data.dataset import ground_truth
from yolox.decode import decode_predictions, make_points
from yolox.eval.coco import detections_to_coco, evaluate_coco
from yolox.eval.predict import (
    detector_class_names,
    detector_step,
    make_eval_step,
    predict_dataset,
    predict_images,
)
from yolox.export.metadata import ExportMetadata
from yolox.export.runner import ExportedDetector
from yolox.model import predict
from yolox.models import yolox_nano
from yolox.nn.functional import normalize_images
from yolox.weights.load import load_weights

SPEC = InputSpec(input_size=(64, 96))
EVERYTHING = PostprocessConfig(score_threshold=0.0, max_detections=50)


@pytest.fixture(scope="module")
def small():
    detector = small_detector()
    return detector, make_eval_step(detector, spec=SPEC)


def _images(count, *, shape=(64, 96), seed=0):
    return np.random.default_rng(seed).integers(0, 256, (count, *shape, 3), np.uint8)


def _same(a, b):
    np.testing.assert_allclose(a.boxes, b.boxes, atol=1e-3)
    np.testing.assert_allclose(a.scores, b.scores, atol=1e-5)
    assert a.classes.tolist() == b.classes.tolist()


def test_step_is_the_composition_of_its_parts(small):
    detector, step = small
    images = ms.Tensor(_images(2))
    points = [ms.Tensor(x) for x in make_points(SPEC.input_size, (8, 16, 32))]
    detector.set_train(False)
    want = decode_predictions(detector(normalize_images(images, spec=SPEC)), *points)
    got = step(images)
    assert got.shape == (2, 126, 8) and got.dtype == ms.float32
    np.testing.assert_allclose(got.asnumpy(), want.asnumpy(), rtol=1e-4, atol=1e-4)


def test_step_infers_after_training_mode_and_follows_new_weights():
    detector = small_detector()
    step = make_eval_step(detector, spec=SPEC)
    detector.set_train(True)
    first = step(_images(2)).asnumpy()
    detector.set_train(True)
    other = step(np.stack([_images(2)[0], _images(1, seed=9)[0]])).asnumpy()
    np.testing.assert_allclose(first[0], other[0], rtol=1e-5, atol=1e-5)  # not the statistics of the batch
    bias = detector.preds[0].bias
    ms.ops.assign(bias, bias + 1)
    assert np.abs(step(_images(2)).asnumpy()[..., 4] - first[..., 4]).max() > 0.001


def test_images_of_another_size_are_refused(small):
    with pytest.raises(ValueError, match=r"eval step: images are \(1, 32, 32, 3\), want \[B,\(64, 96\),3\]"):
        small[1](_images(1, shape=(32, 32)))


@pytest.mark.parametrize("batch_size", [1, 2])
def test_answers_do_not_depend_on_the_batch(small, batch_size, tmp_path):
    images = [*_images(2), _images(1, shape=(40, 90), seed=1)[0]]
    cv2.imwrite(str(tmp_path / "a.png"), images[0])
    images[0] = tmp_path / "a.png"
    args = {"spec": SPEC, "config": EVERYTHING}
    found = list(predict_images(small[1], iter(images), batch_size=batch_size, **args))
    assert len(found) == 3
    for one, image in zip(found, images, strict=True):
        _same(one, next(predict_images(small[1], [image], **args)))


@pytest.mark.parametrize("letterbox", ["top_left", "center"])
def test_boxes_are_in_pixels_of_the_image(small, letterbox):
    spec = evolve(SPEC, letterbox=letterbox)
    image = _images(1, shape=(96, 96))[0]  # lies on 64x64 pixels of the input, at the left or 16 from it
    (found,) = predict_images(small[1], [image], spec=spec, config=EVERYTHING, clip=False)
    canvas = np.full((64, 96, 3), 114, np.uint8)
    left = 0 if letterbox == "top_left" else 16
    canvas[:, left : left + 64] = cv2.resize(image, (64, 64))
    (raw,) = predict_images(small[1], [canvas], spec=SPEC, config=EVERYTHING, clip=False)
    np.testing.assert_allclose(found.boxes, (raw.boxes - [left, 0, left, 0]) * 1.5, atol=1e-2)
    (cut,) = predict_images(small[1], [image], spec=spec, config=EVERYTHING)
    np.testing.assert_allclose(cut.boxes, np.clip(found.boxes, 0, 96), atol=1e-3)


def test_nothing_to_predict(small):
    assert list(predict_images(small[1], [], spec=SPEC, config=EVERYTHING)) == []


@pytest.mark.parametrize("image", [np.zeros((9, 9), np.uint8), np.zeros((9, 9, 3), np.float32), 3])
def test_what_is_not_an_image(small, image):
    with pytest.raises(ValueError, match="an image is .*, want a uint8 array"):
        list(predict_images(small[1], [image], spec=SPEC, config=EVERYTHING))


def test_dataset_of_one_partial_batch(small, tmp_path):
    names = [f"{i} ä.png" for i in range(3)]
    for name, image in zip(names, _images(3, shape=(50, 40)), strict=True):
        cv2.imwrite(str(tmp_path / name), image)
    images = [{"id": 10 - i, "file_name": n, "height": 50, "width": 40} for i, n in enumerate(names)]
    (tmp_path / "a.json").write_text(
        json.dumps({"images": images, "annotations": [], "categories": [{"id": 4, "name": "x"}]})
    )
    dataset, done = read_coco(tmp_path / "a.json", tmp_path), []
    args = {"spec": SPEC, "config": EVERYTHING}
    found = predict_dataset(small[1], dataset, batch_size=2, on_batch=done.append, **args)
    assert done == [2, 3]
    paths = [tmp_path / dataset.file_names[i] for i in range(3)]
    for one, want in zip(found, predict_images(small[1], paths, clip=False, **args), strict=True):
        _same(one, want)


@pytest.fixture(scope="module")
def official(data_dir):
    detector = yolox_nano(80)
    load_weights(detector, data_dir / "weights" / "yolox_nano_fused_megvii_keys.npz")
    spec = InputSpec(input_size=(416, 416))
    return make_eval_step(detector, spec=spec), spec


def test_official_nano_reaches_its_ap_on_coco_images(official, data_dir):
    step, spec = official
    folder = data_dir / "coco_ccby_val"
    dataset = read_coco(folder / "instances.json", folder / "images")
    found = predict_dataset(step, dataset, spec=spec, config=PostprocessConfig(), batch_size=1)
    ids = {"image_ids": dataset.image_ids, "category_ids": dataset.category_ids}
    metrics = evaluate_coco(ground_truth(dataset), detections_to_coco(found, **ids))
    assert [metrics[k] for k in ("AP", "AP50", "AP75")] == pytest.approx([0.3088, 0.4636, 0.3224], abs=1e-3)


def test_official_nano_finds_the_four_objects_of_the_dog_picture(official, data_dir):
    step, spec = official
    text = (data_dir / "weights" / "detections_s0.3_nms0.45.json").read_text()
    want = json.loads(text)["images"]["dog.jpg"]["detections"]
    config = PostprocessConfig(score_threshold=0.3, iou_threshold=0.45)
    (found,) = predict_images(step, [data_dir / "photos" / "dog.jpg"], spec=spec, config=config)
    assert found.classes.tolist() == [d["class_id"] for d in want]
    np.testing.assert_allclose(found.scores, [d["score"] for d in want], atol=0.005)
    np.testing.assert_allclose(found.boxes, [d["box_xyxy"] for d in want], atol=1.0)


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


def test_a_detector_may_have_its_pixels_and_names():
    detector = small_detector()
    assert detector_step(detector)[0] == InputSpec() and detector_class_names(detector) is None
    detector.spec, detector.class_names = SPEC, ("a", "b", "c")
    spec, step = detector_step(detector)
    assert spec == SPEC and step(_images(1)).shape == (1, 126, 8) and detector_class_names(detector) == ("a", "b", "c")
    (found,) = predict(detector, _images(1), config=EVERYTHING)
    assert len(found) == len(found.names) > 0 and set(found.names) <= {"a", "b", "c"}


def test_an_exported_file_takes_its_own_pixels_only():
    exported = ExportedDetector(metadata=METADATA, batch=None, run=constant)
    with pytest.raises(ValueError, match="spec is .*, but the exported file takes"):
        predict(exported, [], spec=InputSpec(input_size=(64, 64)))


@pytest.mark.parametrize(
    "images, came",
    [("src", "the path 'src'"), (Path("src"), "the path 'src'"), (np.zeros((32, 64, 3), np.uint8), r"shape \(32, 64, 3\)")],
)
def test_one_path_or_image_is_refused_and_a_stack_is_not(images, came):
    exported = ExportedDetector(metadata=METADATA, batch=None, run=constant)
    with pytest.raises(ValueError, match=f"images is .*{came}, want a list"):
        predict(exported, images)
    assert len(predict(exported, np.zeros((2, 32, 64, 3), np.uint8))) == 2
