"""Metrics of a detector on a dataset, and detections as a table."""

import contextlib
import io
import json
from types import SimpleNamespace

import attrs
import cv2
import numpy as np
import pytest
from mindspore import Tensor, ops
from pycocotools.coco import COCO

from tests.cli.tiny import TinyDetector
from tests.data.folders import noise_dataset
from tests.evaluations import Exported, write_set
from yolox.config import InputSpec, PostprocessConfig
from yolox.data.coco import read_coco
from yolox.data.dataset import crowded_images, ground_truth
from yolox.data.letterbox import rectangular_size
from yolox.errors import DataError
from yolox.eval import evaluate as module
from yolox.eval.coco import detections_to_coco, evaluate_coco
from yolox.eval.evaluate import detections_to_table, make_evaluator, predict_in_sizes, table_to_detections
from yolox.eval.postprocess import Detections
from yolox.eval.predict import predict_dataset
from yolox.model import evaluate
from yolox.nn import initialise


def some(count, seed):
    rng = np.random.default_rng(seed)
    boxes = rng.uniform(0, 1e4, (count, 4)).astype(np.float32)
    return Detections(boxes, rng.random(count).astype(np.float32), rng.integers(0, 80, count).astype(np.int32))


def test_a_table_comes_back_with_every_bit_and_in_the_order_of_images():
    found = [some(3, 0), some(0, 1), some(2, 2), some(0, 3)]
    table = detections_to_table([found[2], found[0], found[1], found[3]], [2, 0, 1, 3])
    for got, want in zip(table_to_detections(table, 4), found, strict=True):
        for name in ("boxes", "scores", "classes"):
            np.testing.assert_array_equal(getattr(got, name), getattr(want, name))
            assert getattr(got, name).dtype == getattr(want, name).dtype


def test_nothing_found_is_a_table_without_rows():
    assert detections_to_table([], []).shape == detections_to_table([some(0, 0)], [0]).shape == (0, 7)
    assert [len(each) for each in table_to_detections(np.zeros((0, 7)), 2)] == [0, 0]


def test_counts_that_differ_and_unknown_images_are_refused():
    with pytest.raises(ValueError, match="got 1 detections for 2 images"):
        detections_to_table([some(1, 0)], [0, 1])
    with pytest.raises(ValueError, match="has image 5 or below 0, want 0 to 3"):
        table_to_detections(detections_to_table([some(1, 0)], [5]), 4)


def test_evaluate_is_the_composition_of_its_parts(tmp_path):
    dataset, exported, kept, done = write_set(tmp_path / "a", 5), Exported(), [], []
    metrics = evaluate(exported, dataset, batch_size=2, workers=0, keep=kept.extend, on_batch=done.append)
    args = {"spec": exported.metadata.input, "config": PostprocessConfig()}
    found = predict_dataset(exported, dataset, batch_size=5, **args)
    ids = {"image_ids": dataset.image_ids, "category_ids": dataset.category_ids}
    assert metrics == evaluate_coco(ground_truth(dataset), detections_to_coco(found, **ids)) and metrics["AP"] > 0.01
    assert done == [2, 4, 5] and [len(each) for each in kept] == [len(each) for each in found]


class Reader:
    """Steps for all sizes of input: where the white square of an image is, with the colour of its background as class."""

    strides = (8, 16, 32)

    def step(self, size):
        def found(images):
            assert images.shape[1:3] == size
            self.sizes.append(size)
            rows = np.zeros((len(images), 1, 15), np.float32)
            for row, image in zip(rows, images, strict=True):
                y, x = (np.flatnonzero((image == 255).all(axis=2).any(axis=axis)) for axis in (1, 0))
                row[0, :5] = (x[0] + x[-1] + 1) / 2, (y[0] + y[-1] + 1) / 2, len(x), len(y), 1
                row[0, 5 + int(image[2, 2, 0]) // 20] = 1
            return rows

        return found

    def __init__(self):
        self.sizes = []


def test_images_of_any_shape_come_back_in_their_order(tmp_path):
    shapes = [(60, 100), (100, 60), (100, 100), (100, 60), (60, 100), (100, 30)]
    dataset = attrs.evolve(noise_dataset(tmp_path, count=6), sizes=np.array(shapes, np.int32))
    for number, (name, shape) in enumerate(zip(dataset.file_names, shapes, strict=True)):
        image = np.full((*shape, 3), 20 * number, np.uint8)
        image[10:20, 5:25] = 255
        cv2.imwrite(str(tmp_path / name), image)
    spec, reader = InputSpec(input_size=(512, 512)), Reader()
    images = [5, 0, 1, 2, 3, 4]
    sizes = [rectangular_size(shapes[index], spec.input_size) for index in images]
    assert sizes == [(512, 256), (384, 512), (512, 384), (512, 512), (512, 384), (384, 512)]
    done, steps = [], {size: reader.step(size) for size in set(sizes)}
    found = predict_in_sizes(None, steps, dataset, images, sizes, spec=spec, config=PostprocessConfig(), batch_size=4, workers=0,
                             on_batch=done.append)  # fmt: skip
    assert [each.classes.tolist() for each in found] == [[index] for index in images]
    for each in found:
        np.testing.assert_allclose(each.boxes, [[5, 10, 25, 20]], atol=1.6)
    assert done == [1, 3, 5, 6] and len(reader.sizes) == 4


@pytest.mark.parametrize(
    ("letterbox", "rectangular", "sizes"),
    [
        ("top_left", True, [(512, 256), (384, 512), (512, 512)]),
        ("center", True, [(512, 256), (448, 512), (512, 512)]),
        ("center", False, [(512, 512)] * 3),
    ],
)
def test_the_sizes_follow_the_images_and_their_place(tmp_path, monkeypatch, letterbox, rectangular, sizes):
    dataset = attrs.evolve(noise_dataset(tmp_path, count=3), sizes=np.array([(100, 30), (330, 512), (90, 90)], np.int32))
    nothing = Detections(np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros(0, np.int32))

    def predict(detector, steps, dataset, images, wanted, **options):
        assert (list(images), list(wanted)) == ([0, 1, 2], sizes)
        return [nothing] * 3

    monkeypatch.setattr(module, "predict_in_sizes", predict)
    spec = InputSpec(input_size=(512, 512), letterbox=letterbox)
    metrics = make_evaluator(TinyDetector(), spec=spec, workers=0, rectangular=rectangular)(dataset)
    assert metrics["AP"] in (0, None)


def test_an_exported_file_takes_one_size():
    with pytest.raises(ValueError, match="`rectangular`: an exported file takes images of one size"):
        make_evaluator(Exported(), rectangular=True)


def test_results_have_the_same_ap_and_crowded_images_a_second_one(tmp_path):
    dataset, exported = write_set(tmp_path / "a", 3), Exported()
    metrics = evaluate(exported, dataset, workers=0, results=tmp_path / "results.json")
    records = json.loads((tmp_path / "results.json").read_text())
    assert evaluate_coco(ground_truth(dataset), records)["AP"] == metrics["AP"] and "AP@300" not in metrics
    (tmp_path / "truth.json").write_text(json.dumps(ground_truth(dataset)))
    with contextlib.redirect_stdout(io.StringIO()):
        COCO(str(tmp_path / "truth.json")).loadRes(str(tmp_path / "results.json"))
    many = {name: np.repeat(getattr(dataset, name), 101, 0) for name in ("boxes", "classes", "crowd", "areas", "annotation_ids")}
    crowded = attrs.evolve(dataset, offsets=dataset.offsets * 101, **many)
    assert crowded_images(crowded) == [0, 1, 2] and crowded_images(dataset) == []
    assert "AP@300" in evaluate(exported, crowded, workers=0)


def test_classes_are_matched_by_name(tmp_path):
    exported = Exported()
    dataset = write_set(tmp_path / "a", 3)
    want = evaluate(exported, dataset, workers=0)
    names = dataset.class_names[::-1]
    turned = attrs.evolve(dataset, class_names=names, category_ids=dataset.category_ids[::-1], classes=2 - dataset.classes)
    assert evaluate(exported, turned, workers=0) == want
    exported.metadata = SimpleNamespace(input=exported.metadata.input, class_names=("class 0", "class 1"))
    with pytest.raises(DataError, match="classes that are none of the 2 wanted: 1 of 3 .class 2"):
        evaluate(exported, dataset, workers=0)


def test_an_evaluator_compiles_once_and_follows_the_parameters(tmp_path, monkeypatch):
    steps, make_eval_step, stages = [], module.detector_step, []
    monkeypatch.setattr(module, "detector_step", lambda *args: steps.append(1) or make_eval_step(*args))
    detector, dataset, kept = TinyDetector(2), noise_dataset(tmp_path, count=3), []
    initialise(detector, seed=0)
    detector.spec = InputSpec(input_size=(32, 32))
    config = PostprocessConfig(score_threshold=0.0)
    settings = {"postprocess": config, "batch_size": 8, "workers": 0, "keep": kept.append, "on_stage": stages.append}
    evaluator = make_evaluator(detector, **settings)
    first = evaluator(dataset)
    for conv in detector.preds:
        ops.assign(conv.bias, Tensor(conv.bias.asnumpy() + 1))
    evaluator(dataset)
    assert len(steps) == 1 and stages == ["images", "gather", "metrics"] * 2 and set(first["per_class"]) == {"cat", "dog"}
    assert [len(each) for each in kept[0]] != [0, 0, 0] and kept[0][0].scores[0] != kept[1][0].scores[0]


def test_datasets_that_do_not_fit_are_refused(tmp_path):
    dataset = noise_dataset(tmp_path, count=1)
    with pytest.raises(ValueError, match="has 2 classes, the detector predicts 5 without names"):
        evaluate(TinyDetector(5), dataset, spec=InputSpec(input_size=(32, 32)))
    (tmp_path / "empty.json").write_text('{"images": [], "annotations": [], "categories": [{"id": 1, "name": "cat"}]}')
    empty = read_coco(tmp_path / "empty.json", tmp_path)
    with pytest.raises(ValueError, match="has no images, want at least one"):
        evaluate(TinyDetector(2), empty)


def test_a_callback_stops_an_evaluation(tmp_path):
    def stop(done):
        raise KeyboardInterrupt(done)

    with pytest.raises(KeyboardInterrupt, match="1"):
        evaluate(Exported(), write_set(tmp_path / "a", 3), batch_size=1, workers=0, on_batch=stop)
