"""`load` finds the scale, the pixels and the names; `Model.predict` takes images in any form and compiles once."""

from __future__ import annotations

import json

import attrs
import cv2
import numpy as np
import pytest
from PIL import Image

import yolox
from tests.export.detectors import small_detector
from yolox import config as config_module
from yolox.config import InputSpec, PostprocessConfig
from yolox.data.classes import COCO_NAMES
from yolox.data.synthetic import write_synthetic
from yolox.errors import DataError, WeightsError
from yolox.eval import predict as predict_module
from yolox.eval.postprocess import Detections
from yolox.export.metadata import ExportMetadata
from yolox.export.runner import ExportedDetector
from yolox.model import open_weights
from yolox.recipes import megvii_recipe
from yolox.training.checkpoint import save_checkpoint
from yolox.weights.load import LoadedWeights

EVERYTHING = PostprocessConfig(score_threshold=0.0, max_detections=20)
SPEC = InputSpec(input_size=(32, 64))
NAMES = ("cat", "dog", "cow")


def write_run(folder, detector, *, name="best.safetensors", spec=SPEC, class_names=NAMES):
    folder.mkdir(exist_ok=True)
    tensors = {f"params.{p.name}": p.asnumpy() for p in detector.get_parameters()}
    save_checkpoint(folder / name, tensors, recipe=attrs.evolve(megvii_recipe("nano"), input=spec), class_names=class_names)
    return folder


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory):
    return write_run(tmp_path_factory.mktemp("runs") / "RUN", yolox.models.yolox_nano(3))


@pytest.fixture(scope="module")
def model(run_folder):
    return yolox.load(run_folder)


def describe_pixels(planes):  # [B,3,32,64] -> one box each: its size is the mean of blue and of red, its score of the left half
    rows = np.array([[32, 16, 0, 0, 0, 0.1, 0.9, 0]] * len(planes), np.float32)
    rows[:, 2], rows[:, 3] = planes[:, 0].mean((1, 2)) / 16, planes[:, 2].mean((1, 2)) / 16
    rows[:, 4] = planes[..., :16].mean((1, 2, 3)) / 255
    return (rows[:, None],)


@pytest.fixture()
def reader():
    """A model that compiles nothing and answers with what it sees."""
    metadata = ExportMetadata(class_names=NAMES, input=SPEC)
    exported = ExportedDetector(metadata=metadata, batch=None, run=describe_pixels)
    return yolox.Model(detector=exported, input=SPEC, class_names=NAMES)


@pytest.fixture()
def images():
    return [np.random.default_rng(i).integers(0, 256, (40 + i, 60, 3), np.uint8) for i in range(3)]


def same(found, want):
    assert len(found) == len(want) > 0
    np.testing.assert_allclose(found.boxes, want.boxes, atol=1e-3)
    np.testing.assert_allclose(found.scores, want.scores, atol=1e-5)
    assert found.names == want.names


def write_weights(path, detector):
    """An `.npz` under this library's names, which states nothing but tensors."""
    np.savez(path, **{p.name: p.asnumpy() for p in detector.get_parameters()})
    return path


def test_a_run_states_its_pixels_and_names(model):
    assert (model.input, model.class_names) == (SPEC, NAMES)
    assert (model.detector.spec, model.detector.class_names) == (SPEC, NAMES)


def test_the_last_checkpoint_where_there_is_no_best_one(tmp_path):
    with pytest.raises(WeightsError, match="is a folder without best.safetensors or last.safetensors"):
        yolox.load(tmp_path)
    write_run(tmp_path, yolox.models.yolox_nano(3), name="last.safetensors")
    assert yolox.load(str(tmp_path)).input == SPEC


@pytest.mark.parametrize(
    "name, message",
    [
        ("megvii:huge", "'megvii:huge': no published checkpoint; known are megvii:nano, megvii:tiny"),
        ("nano", "nano: no such file, and no published checkpoint; those are megvii:nano, "),
        ("nothing.pth", "nothing.pth: no such file$"),
    ],
)
def test_unknown_names(name, message):
    with pytest.raises(WeightsError, match=message):
        yolox.load(name)


@pytest.mark.parametrize("scale, size", [("nano", 416), ("tiny", 416), ("s", 640)])
def test_weights_that_state_nothing_have_the_published_size_of_their_scale(tmp_path, scale, size):
    path = write_weights(tmp_path / "w.npz", yolox.models.build(scale))
    found = yolox.load(path)
    assert found.input == megvii_recipe(scale).input and found.input.input_size == (size, size)
    assert found.class_names == COCO_NAMES == yolox.COCO_NAMES and found.detector.class_names is None


def test_options_win_over_the_weights(tmp_path):
    path = write_weights(tmp_path / "w.npz", yolox.models.yolox_nano(2))
    assert yolox.load(path).class_names == ("class 0", "class 1")
    found = yolox.load(path, num_classes=5, input_size=(96, 64))
    assert found.detector.num_classes == len(found.class_names) == 5 and found.input.input_size == (96, 64)
    legacy = yolox.load(path, legacy=True)
    assert legacy.input.mean != (0, 0, 0) and legacy.input.input_size == (416, 416)
    with pytest.raises(WeightsError, match="it looks like scale nano; the detector is s"):
        yolox.load(path, scale="s")
    with pytest.raises(ValueError, match="scale is 'n', want one of nano, tiny"):
        yolox.load(path, scale="n")


def test_layers_of_no_scale_are_refused_with_the_way_on(tmp_path):
    tiny = yolox.Detector(yolox.CSPDarknet(0.33, 0.125), yolox.PAFPN(0.33, 0.125), yolox.DecoupledHead(3, 0.125))
    path = write_weights(tmp_path / "w.npz", tiny)
    with pytest.raises(WeightsError, match="of no published scale .*load_weights"):
        yolox.load(path)
    assert open_weights(path, build=lambda num_classes, scale: tiny).num_classes == 3


def test_names_that_do_not_fit_the_class_predictions_are_an_error(tmp_path):
    folder = write_run(tmp_path / "RUN", yolox.models.yolox_nano(3), class_names=("a", "b"))
    with pytest.raises(WeightsError, match="names 2 classes, but its head.cls_preds.*has 3 rows"):
        yolox.load(folder)
    assert yolox.load(folder, num_classes=4).detector.class_names is None  # fresh class predictions have no names


def test_one_image_a_list_and_a_generator(images):
    model = yolox.Model(detector=small_detector(), input=SPEC, class_names=NAMES)
    one = model.predict(images[0], config=EVERYTHING)
    found = model.predict(images, config=EVERYTHING)
    assert isinstance(found, list) and len(found) == 3 and set(one.names) <= set(NAMES)
    same(one, found[0])
    taken = []

    def stream():
        for image in images:
            taken.append(len(taken))
            yield image

    lazy = model.predict(stream(), config=EVERYTHING)
    assert taken == []
    same(next(lazy), found[0])
    assert taken == [0]
    for each, want in zip(lazy, found[1:], strict=True):
        same(each, want)
    stack = np.stack([image[:40] for image in images])
    assert len(model.predict(stack)) == 3 and model.predict([]) == []


def test_every_form_of_an_image_gives_the_same(reader, images, tmp_path):
    image, model = images[0] // np.array([1, 2, 4], np.uint8), reader
    cv2.imwrite(str(tmp_path / "a.png"), image)
    rgb = np.ascontiguousarray(image[..., ::-1])
    want = model.predict(image, config=EVERYTHING)
    for each in (tmp_path / "a.png", str(tmp_path / "a.png"), Image.fromarray(rgb), Image.open(tmp_path / "a.png")):
        same(model.predict(each, config=EVERYTHING), want)
        same(model.predict([each], config=EVERYTHING, channels="rgb")[0], want)  # only arrays need to be told
    same(model.predict(rgb, config=EVERYTHING, channels="rgb"), want)
    wrong = model.predict(rgb, config=EVERYTHING)
    assert len(wrong) == 1 and np.abs(wrong.boxes - want.boxes).max() > 1


def test_a_pil_image_is_turned_upright(reader, images, tmp_path):
    model, images[0][:20] = reader, 250
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned a quarter clockwise
    Image.fromarray(images[0]).save(tmp_path / "turned.png", exif=exif)
    found = model.predict(Image.open(tmp_path / "turned.png"), config=EVERYTHING)
    same(found, model.predict(np.rot90(images[0], -1)[..., ::-1], config=EVERYTHING))
    assert np.abs(found.scores - model.predict(images[0], config=EVERYTHING).scores).max() > 0.05
    same(found, model.predict(tmp_path / "turned.png", config=EVERYTHING))


def test_compiled_once_for_each_shape_and_kept(run_folder, images, monkeypatch):
    made, compiled = [], []

    def counting(function):
        made.append(function)

        def call(batch):
            compiled.append(tuple(batch.shape))
            return function(batch)

        return call

    monkeypatch.setattr(predict_module, "compile_function", counting)
    fresh = yolox.load(run_folder)
    for _ in range(2):
        fresh.predict(images[0])
        fresh.predict(images[1:])
    assert len(made) == 1 and set(compiled) == {(1, 32, 64, 3)}
    fresh.predict(images, batch_size=2)
    assert len(made) == 1 and compiled[-2:] == [(2, 32, 64, 3)] * 2  # the last batch is filled up
    larger = attrs.evolve(fresh, input=InputSpec(input_size=(64, 64)))
    larger.predict(images[0])
    assert len(made) == 2 and compiled[-1] == (1, 64, 64, 3)


def test_the_threshold_of_a_call(reader, images):
    score = float(reader.predict(images[0], score_threshold=0.01).scores[0])
    assert [len(reader.predict(images[0], score_threshold=score + move)) for move in (-0.01, 0.01)] == [1, 0]


@pytest.mark.parametrize("image", ["missing.jpg", 3, np.zeros((4, 4), np.uint8), [np.zeros((4, 4, 3))]])
def test_what_is_no_image(reader, image):
    with pytest.raises((DataError, ValueError, TypeError)):
        reader.predict(image)
    with pytest.raises(ValueError, match="channels is 'gray', want 'bgr' or 'rgb'"):
        reader.predict(np.zeros((4, 4, 3), np.uint8), channels="gray")


def test_an_exported_file_is_a_model_too(reader, monkeypatch, tmp_path):
    exported = reader.detector
    monkeypatch.setattr("yolox.model.open_exported", lambda path, trusted: exported)
    model = yolox.load(tmp_path / "a.onnx")
    assert (model.input, model.class_names) == (SPEC, NAMES)
    assert model.predict(np.full((32, 64, 3), 200, np.uint8)).names == ("dog",)
    assert yolox.load("a.onnx", num_classes=3, input_size=(32, 64)).detector is exported
    for options in ({"num_classes": 2}, {"input_size": (64, 64)}, {"legacy": True}):
        with pytest.raises(ValueError, match="a.onnx"):
            yolox.load("a.onnx", **options)


def test_official_nano_in_three_lines(data_dir):
    model = yolox.load(data_dir / "weights" / "yolox_nano_fused_megvii_keys.npz")
    assert model.input.input_size == (416, 416) and model.class_names == COCO_NAMES
    text = (data_dir / "weights" / "detections_s0.3_nms0.45.json").read_text()
    want = json.loads(text)["images"]["dog.jpg"]["detections"]
    found = model.predict(Image.open(data_dir / "photos" / "dog.jpg"), score_threshold=0.3)
    expected = [d["class_id"] for d in want]
    assert sorted(found.classes.tolist()) == sorted(expected)


def test_representations_fit_on_a_screen(model, tmp_path):
    names, long = tuple(f"class of number {i}" for i in range(500)), "a name of many words " * 90
    detections = Detections(
        boxes=np.full((300, 4), 1234.5, np.float32),
        scores=np.zeros(300, np.float32),
        classes=np.zeros(300, np.int32),
        names=(long, "a\nb", *names[:298]),
    )
    dataset = yolox.read_coco(write_synthetic(tmp_path, images=4, seed=0), tmp_path / "images")
    dataset = attrs.evolve(dataset, notes=(long,) * 9, source=long)
    recipe = yolox.mindyolo_recipe("s")
    values = [
        model, model.detector, detections, dataset, recipe, recipe.input, Detections(),
        attrs.evolve(model, class_names=names),
        attrs.evolve(model, class_names=(long,) * 9, name=long),
        yolox.TrainingRun(detector=model.detector, folder=tmp_path, recipe=recipe, class_names=names, best_ap=0.5),
        LoadedWeights(source="megvii", loaded=names, recipe=recipe, class_names=names),
        ExportMetadata(class_names=names, input=SPEC),
    ]  # fmt: skip
    for value in values:
        lines = repr(value).splitlines()
        assert len(lines) <= 24 and max(map(len, lines)) <= 100 and lines[0].startswith(type(value).__name__)
    assert eval(repr(recipe), vars(config_module)) == recipe  # the text of a recipe is Python
    assert "class_names=('cat', 'dog', 'cow')" in repr(model) and "parameters)" in repr(model.detector)
    assert "300" in repr(detections) and "... 280 more" in repr(detections) and "4 images" in repr(dataset)


def test_classes_are_chosen_by_name(reader, images):
    everything = reader.predict(images, score_threshold=0.0)
    assert {name for each in everything for name in each.names} == {"dog"}
    assert [len(each) for each in reader.predict(images, score_threshold=0.0, classes=["dog"])] == [1, 1, 1]
    assert [len(each) for each in reader.predict(images, score_threshold=0.0, classes=[0, "cow"])] == [0, 0, 0]
    with pytest.raises(ValueError, match="no class 'dgo' among 3; perhaps you meant dog"):
        reader.predict(images, classes=["dgo"])


@pytest.mark.parametrize("nothing", [None, 3])
def test_nothing_that_can_be_an_image_is_a_value_error(reader, nothing):
    with pytest.raises(ValueError, match=f"images is {nothing}, want a list of images"):
        reader.predict(nothing)
