"""Options that name a dataset: each format is read, and contradictions are refused before anything is."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from rich.console import Console

from tests.data.folders import coco_dict, noise_dataset, write_as_yolo, write_image, write_json
from yolox.cli import sources
from yolox.cli.inputs import print_sources, read_evaluation_set, read_training_set
from yolox.cli.main import read_command
from yolox.cli.messages import name_options
from yolox.cli.options import read_arguments
from yolox.cli.run_options import remember, remembered
from yolox.cli.sources import FORMATS, Format, data_source, evaluation_source, training_source, training_sources
from yolox.config import Recipe
from yolox.data.coco import read_coco
from yolox.data.dataset import load_image
from yolox.data.image import MAX_PIXELS
from yolox.errors import CommandError, DataError, UsageError
from yolox.training.run_folder import OPTIONS, write_recipe

RECIPES = {"megvii": Recipe()}


def options(part="train", **values):
    keys = ("json", "voc", "yolo", "images", "split")
    reading = {"voc_first_pixel": values.get("first_pixel", 0), "voc_difficult_as_crowd": values.get("difficult", False)}
    reading |= {"class_map": values.get("class_map"), "follow_links": False, "scored_labels": values.get("scored", "refuse")}
    reading |= {"max_pixels": MAX_PIXELS, "data": values.get("data"), "single_class": values.get("single_class", False)}
    return SimpleNamespace(**{f"{part}_{key}": values.get(key) for key in keys}, **reading)


def test_a_line_in_the_table_of_formats_is_two_options_and_a_reader(tmp_path, monkeypatch):
    write_image(tmp_path / "a.png", np.zeros((20, 30, 3), np.uint8))
    write_json(tmp_path / "a.json", coco_dict([(1, "a.png", 20, 30)], [(1, 1, 1, (1, 1, 9, 9))]))
    form = Format(lambda named: read_coco(named.path, named.image_dir), "CSV file of the {images}.", is_single=True)
    monkeypatch.setitem(FORMATS, "csv", form)
    given = read_arguments(sources._with_formats("val", "images"), ["--val-csv", str(tmp_path / "a.json")], prog="yolox")
    assert given == {"val_csv": tmp_path / "a.json"}
    named = options("val")
    named.val_csv = given["val_csv"]
    with pytest.raises(UsageError, match="--val-images: give both"):
        evaluation_source(named)
    named.val_images = tmp_path
    assert len(evaluation_source(named).read().boxes) == 1


def test_the_limit_of_pixels_is_an_option_that_messages_name(tmp_path):
    write_image(tmp_path / "a.png", np.zeros((20, 30, 3), np.uint8))
    write_json(tmp_path / "a.json", coco_dict([(1, "a.png", 20, 30)], [(1, 1, 1, (1, 1, 9, 9))]))
    argv = ["--val-json", str(tmp_path / "a.json"), "--val-images", str(tmp_path)]
    for limit, fits in ((600, True), (599, False)):
        made = read_command(["eval", "--weights", "a.pth", *argv, "--max-pixels", str(limit)], RECIPES).options()
        dataset = evaluation_source(made).read()
        if fits:
            assert load_image(dataset, 0).shape == (20, 30, 3)
            continue
        with pytest.raises(DataError) as error:
            load_image(dataset, 0)
        assert "states 30x20 pixels, more than --max-pixels 599; not decoded" in name_options(str(error.value))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"json": "a", "images": "b", "yolo": "c"}, "--train-json and --train-yolo: give one of them"),
        ({"json": "a"}, "--train-json and --train-images: give both"),
        ({"images": "a"}, "--train-json and --train-images: give both"),
        ({"json": "a", "images": "b", "split": "c"}, "--train-split: is for --train-voc and --train-yolo"),
        ({"split": "c"}, "--train-split: is for"),
        ({"yolo": Path("a.JSON")}, "--train-yolo a.JSON: is no YOLO file; COCO annotations go to --train-json"),
        ({"json": "a", "images": "b", "first_pixel": 1}, "--voc-first-pixel: is for --train-voc and --val-voc"),
        ({"yolo": Path("a.yaml"), "difficult": True}, "--voc-difficult-as-crowd: is for --train-voc and --val-voc"),
    ],
)
def test_contradictions_are_refused(values, message):
    with pytest.raises(UsageError, match=message):
        data_source(options(**values), "train")


def test_no_dataset_is_none_or_refused_where_one_is_needed():
    assert data_source(options("val"), "val") is None
    with pytest.raises(UsageError, match="no training images: give --data, or --train-json and --train-images, or --train-voc"):
        training_source(options())
    with pytest.raises(UsageError, match="no images to evaluate on: give --data, or --val-json"):
        evaluation_source(options("val"))


def parsed(*argv):
    return read_command(["train", "--output", "run", *map(str, argv)], RECIPES).options()


def test_a_dataset_that_is_recognised_fills_in_both_parts(data, capsys):
    for part, read in (("train", training_source), ("val", evaluation_source)):
        source = read(parsed("--data", data))
        assert source.part == part and source.read().image_dir == str(data / part / "images")
    used = {"training": training_source(parsed("--data", data)), "evaluation": None}
    print_sources(Console(width=300), parsed("--data", data), used)
    line = f"data: {data}: COCO, train/instances.json: train and val; training on train, no evaluation\n"
    assert capsys.readouterr().out == line


def test_the_dataset_is_recognised_once_for_both_parts(data, monkeypatch):
    found, find = [], sources.find_layout
    monkeypatch.setattr(sources, "find_layout", lambda path: found.append(path) or find(path))
    for read in (training_sources, training_source, evaluation_source):
        found.clear()
        read(parsed("--data", data))
        assert found == [data]
    both = training_sources(parsed("--data", data))
    assert [both[part].part for part in ("train", "val")] == ["train", "val"] and both["val"].layout is both["train"].layout


def test_the_long_options_and_splits_win_over_what_is_recognised(data):
    longer = parsed("--data", data, "--val-json", data / "train/instances.json", "--val-images", data / "train/images")
    assert evaluation_source(longer).read().image_dir == str(data / "train/images")
    assert training_source(longer).part == "train"
    swapped = parsed("--data", data, "--train-split", "val", "--val-split", "train")
    assert (training_source(swapped).part, evaluation_source(swapped).part) == ("val", "train")
    with pytest.raises(DataError, match="has no part 'test'; it has train, val"):
        evaluation_source(parsed("--data", data, "--val-split", "test"))


def test_a_single_part_is_evaluated_but_no_validation_set_of_a_training(data, tmp_path):
    alone = parsed("--data", data / "train/instances.json")
    assert data_source(alone, "val") is None and evaluation_source(alone).part == "train"
    shutil.copytree(data / "val", tmp_path / "val")
    (tmp_path / "val/instances.json").rename(tmp_path / "val/instances_val.json")
    with pytest.raises(UsageError, match="has the parts val; choose one with --train-split"):
        training_source(parsed("--data", tmp_path / "val/instances_val.json"))


@pytest.fixture
def folder(tmp_path):
    dataset = noise_dataset(tmp_path / "images", count=3)
    (tmp_path / "labels").mkdir()
    write_as_yolo(dataset, tmp_path / "labels")
    (tmp_path / "data.yaml").write_text("names: [cat, dog]\ntrain: images\nval: images\n")
    return tmp_path


def test_every_format_is_read_and_evaluated_in_the_detectors_classes(folder):
    coco = read_training_set(training_source(options(json=folder / "images/a.json", images=folder / "images")))
    source = evaluation_source(options("val", yolo=folder / "data.yaml"))
    yolo = read_evaluation_set(source, num_classes=3, class_names=("dog", "cow", "cat"))
    np.testing.assert_allclose(yolo.boxes, coco.boxes, atol=1e-4)
    assert [yolo.class_names[c] for c in yolo.classes] == [coco.class_names[c] for c in coco.classes]
    with pytest.raises(DataError, match="data.yaml: classes that are none of the 1 wanted: 1 of 2 .cat"):
        read_evaluation_set(source, num_classes=1, class_names=("dog",))


def test_classes_are_renamed_by_a_file(folder):
    (folder / "map.yaml").write_text("cat: kitten\n")
    for values in ({"yolo": folder / "data.yaml"}, {"json": folder / "images/a.json", "images": folder / "images"}):
        dataset = training_source(options(**values, class_map=folder / "map.yaml")).read()
        assert set(dataset.class_names) == {"kitten", "dog"}


def test_a_voc_folder_takes_all_unless_a_list_is_asked_for(folder):
    (folder / "x").mkdir()
    for split, message in (("train", "so no list 'train'"), (None, "x: no .xml files in it")):
        with pytest.raises((ValueError, CommandError), match=message):
            read_training_set(training_source(options(voc=folder / "x", split=split)))


VOC_XML = (
    "<annotation><size><width>30</width><height>20</height></size><object><name>a</name><difficult>{}</difficult>"
    "<bndbox><xmin>1</xmin><ymin>3</ymin><xmax>30</xmax><ymax>9</ymax></bndbox></object></annotation>"
)


@pytest.fixture
def voc(tmp_path):
    """A VOC folder of two images, one of them with a difficult object; coordinates count from 1."""
    for difficult, stem in enumerate("ab"):
        write_image(tmp_path / "JPEGImages" / f"{stem}.png", np.zeros((20, 30, 3), np.uint8))
        (tmp_path / "Annotations").mkdir(exist_ok=True)
        (tmp_path / "Annotations" / f"{stem}.xml").write_text(VOC_XML.format(difficult))
    return tmp_path


def test_the_conventions_of_the_voc_challenge_reach_both_parts(voc):
    """As typed: VOC2007's pixel 1 to 30 are all thirty columns, and its difficult objects are no ground truths of training."""
    plain = ["train", "--train-voc", str(voc), "--val-voc", str(voc), "--output", "run"]
    for more, left, crowd in (
        ([], 1, [False, False]),
        (["--voc-first-pixel", "1"], 0, [False, False]),
        (["--voc-first-pixel", "1", "--voc-difficult-as-crowd"], 0, [False, True]),
    ):
        made = read_command([*plain, *more], RECIPES).options()
        for dataset in (training_source(made).read(), evaluation_source(made).read()):
            assert dataset.boxes[0].tolist() == [left, left + 2, 30, 9] and dataset.crowd.tolist() == crowd


def test_every_command_with_data_takes_the_conventions(voc):
    given = ["--val-voc", str(voc), "--voc-first-pixel", "1"]
    for command, more in (("check", ["--train-voc", str(voc)]), ("eval", ["--weights", "a.pth"])):
        made = read_command([command, *given, *more], RECIPES).options()
        assert evaluation_source(made).read().boxes[0].tolist() == [0, 2, 30, 9]
    with pytest.raises(UsageError, match="voc-first-pixel"):
        read_command(["eval", *given[:-1], "2", "--weights", "a.pth"], RECIPES)


def test_a_run_remembers_the_conventions_and_older_runs_have_the_defaults(tmp_path):
    argv = "train --train-voc VOC --output run --voc-first-pixel 1 --voc-difficult-as-crowd --scored-labels drop".split()
    argv += "--follow-links --class-map map.yaml".split()
    made = read_command(argv, RECIPES).options()
    write_recipe(tmp_path, made.settings)
    remember(tmp_path, made)
    recipe, values = remembered(tmp_path)
    again = read_command(["train", "--resume", str(tmp_path)], RECIPES).options()
    assert (again.voc_first_pixel, again.voc_difficult_as_crowd) == (1, True)
    assert (again.scored_labels, again.follow_links, again.class_map) == ("drop", True, Path("map.yaml").absolute())
    stored = json.loads((tmp_path / OPTIONS).read_text())
    newer = {"voc_first_pixel", "voc_difficult_as_crowd", "class_map", "follow_links", "scored_labels"}
    (tmp_path / OPTIONS).write_text(json.dumps({k: v for k, v in stored.items() if k not in newer}))
    older = read_command(["train", "--resume", str(tmp_path)], RECIPES).options()
    assert (older.voc_first_pixel, older.voc_difficult_as_crowd) == (0, False)
    assert (older.scored_labels, older.follow_links, older.class_map) == ("refuse", False, None)


CROWD, FLAT, GOOD = ((1, 1, 9, 9), {"iscrowd": 1}), ((1, 1, 0, 9),), ((1, 1, 9, 9),)


@pytest.mark.parametrize(
    ("boxes", "message"),
    [
        ([], "a.json: 1 image and no box; nothing can be learned from it"),
        ([CROWD, CROWD], "no box to train on, only 2 crowd regions; nothing"),
        ([FLAT], "no box to train on, only 1 box without area inside its image; nothing"),
        ([CROWD, FLAT], "only 1 crowd region and 1 box without area inside its image; nothing"),
        ([CROWD, FLAT, GOOD], None),
    ],
)
def test_a_set_without_a_box_to_train_on_is_refused(tmp_path, boxes, message):
    write_image(tmp_path / "a.png", np.zeros((20, 30, 3), np.uint8))
    rows = [(i, 1, 1, *box) for i, box in enumerate(boxes)]
    write_json(tmp_path / "a.json", coco_dict([(1, "a.png", 20, 30)], rows))
    source = training_source(options(json=tmp_path / "a.json", images=tmp_path))
    if message is None:
        assert len(read_training_set(source).boxes) == 3
        return
    with pytest.raises(CommandError, match=message):
        read_training_set(source)


def test_labels_of_no_area_alone_are_refused(folder):
    for path in (folder / "labels").glob("*.txt"):
        path.write_text("0 .5 .5 0 .2\n")
    with pytest.raises(CommandError, match="no box to train on, only 3 boxes without area inside their image"):
        read_training_set(training_source(options(yolo=folder / "data.yaml")))


def test_a_run_remembers_where_its_data_lie_in_every_format(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    argv = "train --train-voc VOC --train-split mine.txt --val-yolo data.yaml --val-split test --output run --cache ram".split()
    made = read_command(argv, RECIPES).options()
    (tmp_path / "run").mkdir()
    write_recipe(tmp_path / "run", made.settings)
    remember(tmp_path / "run", made)
    recipe, values = remembered(tmp_path / "run")
    assert recipe == made.settings and recipe.loader.cache == "ram"
    assert (values["train_voc"], values["train_split"]) == (tmp_path / "VOC", str(tmp_path / "mine.txt"))
    assert (values["val_yolo"], values["val_split"]) == (tmp_path / "data.yaml", "test")
    assert values["train_json"] is values["train_images"] is values["val_voc"] is None
    again = read_command(["train", "--resume", "run"], RECIPES).options()
    assert (again.train_voc, again.val_split, again.settings) == (tmp_path / "VOC", "test", recipe)


def test_all_classes_are_read_as_one(tmp_path):
    noise_dataset(tmp_path, count=3)
    paths = {"json": tmp_path / "a.json", "images": tmp_path}
    one = read_training_set(data_source(options(**paths, single_class=True), "train"))
    many = read_training_set(data_source(options(**paths), "train"))
    assert one.class_names == ("object",) and len(many.class_names) > 1
    np.testing.assert_array_equal(one.boxes, many.boxes)
