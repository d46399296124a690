"""Parts of a dataset: every class by the same fractions, groups and copies on one side, the same parts for the same seed."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.data.folders import coco_dict, write_image, write_json
from tests.data.test_duplicates import scene
from tests.data.test_write import SIZE, by_image, dataset_of
from yolox.data.coco import read_coco
from yolox.data.convert import convert_data
from yolox.data.dataset import DetectionDataset, select_images
from yolox.data.layout import find_layout, read_data
from yolox.data.parts import part_of
from yolox.data.split import (
    group_by_name,
    join_groups,
    merge_parts,
    original_files,
    similar_groups,
    split_data,
    stratify,
    write_json_split,
    write_list_split,
)
from yolox.data.voc import read_voc_data
from yolox.data.write import OriginalFile
from yolox.errors import DataError

EIGHTY = (0.8, 0.1, 0.1)


def random_dataset(images, *, seed, names=None, classes=("common", "some", "rare")) -> DetectionDataset:
    """A dataset without files, whose classes have very different numbers of boxes."""
    rng = np.random.default_rng(seed)
    table = rng.poisson(np.geomspace(3, 0.15, len(classes)), (images, len(classes)))
    found = [[c] * int(n) for row in table for c, n in enumerate(row)]
    kinds = np.array([c for cells in found for c in cells], np.int32)
    boxes = np.tile(np.float32([1, 2, 30, 40]), (len(kinds), 1)) + np.arange(len(kinds), dtype=np.float32)[:, None] / 1000
    return DetectionDataset(
        image_dir="nowhere", file_names=tuple(names or [f"{i}.png" for i in range(images)]), image_ids=np.arange(images) + 5,
        sizes=np.full((images, 2), 48, np.int32), offsets=np.concatenate([[0], np.cumsum(table.sum(axis=1))]), boxes=boxes,
        classes=kinds, areas=np.arange(len(kinds), dtype=float), crowd=np.zeros(len(kinds), bool),
        annotation_ids=np.arange(len(kinds)) * 2, class_names=tuple(classes), category_ids=(3, 1, 8),
    )  # fmt: skip


@pytest.mark.parametrize("fractions", [EIGHTY, (0.7, 0.3), (0.5, 0.0, 0.5)])
@pytest.mark.parametrize("seed", range(3))
def test_every_class_and_the_images_are_divided_by_the_fractions(seed, fractions):
    data = random_dataset(200, seed=seed)
    parts = split_data(data, fractions, seed=seed)
    assert list(parts) == [name for name, f in zip(("train", "val", "test"), fractions, strict=False) if f]
    totals = np.bincount(data.classes)
    for part, fraction in zip(parts.values(), [f for f in fractions if f], strict=True):
        assert (np.abs(np.bincount(part.classes, minlength=3) - fraction * totals) <= 1 + totals / 100).all()
        assert abs(len(part) - fraction * 200) <= 2
    names = sorted(name for part in parts.values() for name in part.file_names)
    assert names == sorted(data.file_names)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_a_class_deviates_by_its_largest_group_at_most(draw):
    rng = np.random.default_rng(draw.draw(st.integers(0, 2**32)))
    groups, classes = draw.draw(st.integers(60, 200)), draw.draw(st.integers(1, 6))
    table = np.concatenate([rng.poisson(rng.uniform(0.05, 3, classes), (groups, classes)), np.ones((groups, 1))], axis=1)
    shares = np.array(draw.draw(st.sampled_from([EIGHTY, (0.7, 0.3), (0.5, 0.5), (0.6, 0.2, 0.2)])))
    place = stratify(table, shares, rng=rng)
    for part, share in enumerate(shares):
        deviation = np.abs(table[place == part].sum(axis=0) - share * table.sum(axis=0))
        assert (deviation[:-1] <= np.maximum(table.max(axis=0), 1)[:-1] * 1.2).all() and deviation[-1] <= 0.06 * groups


@pytest.mark.parametrize("groups", [2, 3, 7])
def test_every_part_gets_something(groups):
    table = np.ones((groups, 2))
    for shares in ((0.98, 0.02), (0.96, 0.02, 0.02)):
        if len(shares) <= groups:
            place = stratify(table, np.array(shares), rng=np.random.default_rng(0))
            assert set(place.tolist()) == set(range(len(shares)))


def test_the_same_seed_gives_the_same_parts():
    data = random_dataset(60, seed=0)
    names = [[part.file_names for part in split_data(data, seed=seed).values()] for seed in (4, 4, 5)]
    assert names[0] == names[1] != names[2]


def test_groups_stay_on_one_side():
    names = [f"clip{i % 12:02d}_frame{i:03d}.png" for i in range(96)]
    data = random_dataset(96, seed=1, names=names)
    groups = group_by_name(data, r"(clip\d+)_")
    assert len(np.unique(groups)) == 12
    parts = split_data(data, (0.5, 0.25, 0.25), groups=groups)
    clips = [{name[:6] for name in part.file_names} for part in parts.values()]
    assert sum(map(len, clips)) == len(set().union(*clips)) == 12 and [len(part) for part in parts.values()] == [48, 24, 24]


def test_names_are_grouped_by_folder_match_or_alone():
    data = random_dataset(5, seed=0, names=["a/1_x.png", "a/2_x.png", "b/1_y.png", "3.png", "4.png"])
    assert group_by_name(data, "folder").tolist() == [0, 0, 2, 3, 3]
    assert group_by_name(data, r"_([xy])").tolist() == [0, 0, 2, 3, 4]
    assert group_by_name(data, r"\d").tolist() == [0, 1, 0, 3, 4]
    with pytest.raises(DataError, match="is no regular expression"):
        group_by_name(data, "(")
    with pytest.raises(DataError, match="matches no file name, such as a/1_x.png"):
        group_by_name(data, "clip")


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6), st.integers(0, 6)), min_size=1, max_size=12))
def test_joined_groups_are_the_connected_ones(rows):
    columns = np.array(rows).T
    reach = np.eye(len(rows), dtype=bool)
    for column in columns:
        reach |= column[:, None] == column[None]
    for _ in rows:
        reach = reach @ reach
    assert join_groups(*columns).tolist() == reach.argmax(axis=1).tolist()


def test_copies_stay_with_their_originals(tmp_path):
    rows = []
    for i in range(12):
        image = scene(i // 2, (96, 128))
        rows.append((i, f"{i}.png", 96, 128) if i % 2 == 0 else (i, f"{i}.png", 48, 64))
        write_image(tmp_path / f"{i}.png", image if i % 2 == 0 else cv2.resize(image, (64, 48), interpolation=cv2.INTER_AREA))
    data = read_coco(write_json(tmp_path / "a.json", coco_dict(rows, [])), str(tmp_path))
    groups = similar_groups(data)
    assert groups.tolist() == [i // 2 * 2 for i in range(12)]
    for part in split_data(data, (0.5, 0.5), groups=groups).values():
        assert {int(name[:-4]) // 2 for name in part.file_names} == {int(i) // 2 for i in part.image_ids}
        assert len(part) == 2 * len({int(name[:-4]) // 2 for name in part.file_names})


@pytest.mark.parametrize(
    ("fractions", "message"),
    [((0.5, 0.2), "want two or three"), ((1.2, -0.2), "want two or three"), ((1.0,), "want two or three"),
     ((0.25,) * 4, "want two or three"), (EIGHTY, "2 groups of images cannot be divided into train, val, test")],
)  # fmt: skip
def test_fractions_that_cannot_be_met_are_refused(fractions, message):
    with pytest.raises(DataError, match=message):
        split_data(random_dataset(2, seed=0), fractions)


def test_selected_images_keep_their_boxes_in_the_order_wanted():
    data = random_dataset(8, seed=3)
    chosen = select_images(data, np.array([5, 0, 7]))
    for place, index in enumerate((5, 0, 7)):
        rows, wanted = (slice(d.offsets[i], d.offsets[i + 1]) for d, i in ((chosen, place), (data, index)))
        for name in ("boxes", "classes", "areas", "annotation_ids", "crowd"):
            assert np.array_equal(getattr(chosen, name)[rows], getattr(data, name)[wanted])
    assert chosen.image_ids.tolist() == [10, 5, 12] and len(select_images(data, np.array([], int))) == 0


@pytest.fixture
def coco(tmp_path):
    """A folder with ten images, whose entries have keys that no reader keeps."""
    root = tmp_path / "coco"
    for i in range(10):
        write_image(root / f"images/{i}.png", scene(i, SIZE))
    rows = [(i + 1, i % 10, i % 2 + 1, (1.25 + i, 2, 10, 20), {"segmentation": [[i]]}) for i in range(20)]
    write_json(root / "instances.json", coco_dict([(i, f"{i}.png", *SIZE) for i in range(10)], rows))
    return root


def test_json_parts_keep_every_key(coco, tmp_path):
    source = coco / "instances.json"
    parts = split_data(read_data(coco), seed=1)
    write_json_split(parts, tmp_path / "out", originals=[OriginalFile(path=str(source))])
    old = json.loads(source.read_text())
    found = [json.loads((tmp_path / f"out/{part}.json").read_text()) for part in parts]
    for key in ("images", "annotations"):
        entries = [entry for content in found for entry in content[key]]
        assert sorted(entries, key=lambda entry: entry["id"]) == old[key]
    assert all(content["categories"] == old["categories"] for content in found)
    for part, data in parts.items():
        assert read_coco(str(tmp_path / f"out/{part}.json"), str(coco / "images")).file_names == data.file_names
    with pytest.raises(DataError, match="is there already"):
        write_json_split(parts, tmp_path / "out")


def test_lists_of_yolo_and_voc_are_read_again(coco, tmp_path):
    for form in ("yolo", "voc"):
        convert_data(coco, tmp_path / form, to=form)
        layout = find_layout(tmp_path / form)
        parts = split_data(read_data(layout), seed=1)
        write_list_split(parts, tmp_path / f"{form}_out", sources=[part_of(layout, "train")])
        for part, data in parts.items():
            if form == "yolo":
                found = read_data(tmp_path / "yolo_out", part)
            else:
                found = read_voc_data(str(tmp_path / "voc"), split=str(tmp_path / f"voc_out/{part}.txt"))
            assert by_image(found) == by_image(data)
    layout = find_layout(coco)
    with pytest.raises(DataError, match="COCO has no lists"):
        write_list_split(parts, tmp_path / "third", sources=[part_of(layout, "train")])


def yolo_folder(folder, *names):
    """A YOLO dataset of images at the names within images, with a box each."""
    for i, name in enumerate(names):
        write_image(folder / "images" / name, scene(i, SIZE))
        label = folder / "labels" / Path(name).with_suffix(".txt")
        label.parent.mkdir(parents=True, exist_ok=True)
        label.write_text(f"0 0.5 0.5 0.{i + 1} 0.5\n")
    (folder / "data.yaml").write_text("train: images\nnames: [cat]\n")
    return find_layout(folder)


def test_lists_are_refused_where_they_would_find_no_labels(tmp_path):
    """The labels of images/a/images/b.png are labels/a/images/b.txt by its folder, and images/a/labels/b.txt by a list."""
    layout = yolo_folder(tmp_path / "yolo", "a/images/0.png", "1.png")
    parts = split_data(read_data(layout), (0.5, 0.5))
    with pytest.raises(DataError, match="data.yaml: images whose labels are where lists .* for them: 1 .*0.png"):
        write_list_split(parts, tmp_path / "out", sources=[part_of(layout, "train")])
    assert not (tmp_path / "out").exists()


def test_lists_below_a_link_are_read_again(tmp_path):
    """A path with .. would lead on from where the link leads to, or from the link: readers differ."""
    layout = yolo_folder(tmp_path / "data/set", "0.png", "1.png")
    parts = split_data(read_data(layout), (0.5, 0.5))
    (tmp_path / "far/away/deep").mkdir(parents=True)
    (tmp_path / "link").symlink_to("far/away/deep")
    write_list_split(parts, tmp_path / "link/out", sources=[part_of(layout, "train")])
    for folder in (tmp_path / "link/out", tmp_path / "far/away/deep/out"):
        assert {part: by_image(read_data(folder, part)) for part in parts} == {p: by_image(d) for p, d in parts.items()}


def test_an_image_in_two_parts_is_taken_once_and_named(tmp_path, caplog):
    layout = yolo_folder(tmp_path, "0.png", "1.png")
    merge_parts({"train": read_data(layout), "val": read_data(layout)})
    assert "2 images are in several parts; each was taken once, with the labels of the first (0.png, 1.png)" in caplog.text


def test_parts_in_folders_of_their_own_are_merged(tmp_path):
    classes = {"train": ("cat", "dog"), "val": ("dog", "owl")}
    for seed, part in enumerate(classes):
        for i in range(2):
            write_image(tmp_path / part / f"{i}.png", scene(10 * seed + i, SIZE))
    sets = {part: dataset_of(tmp_path / part, ["0.png", "1.png"], [(1, 2, 9, 9), (3, 4, 20 + i, 30)], classes=names)
            for i, (part, names) in enumerate(classes.items())}  # fmt: skip
    merged = merge_parts(sets)
    assert merged.class_names == ("cat", "dog", "owl") and len(set(merged.category_ids)) == 3
    assert merged.file_names == ("train/0.png", "train/1.png", "val/0.png", "val/1.png")
    assert by_image(merged) == by_image(sets["train"]) | by_image(sets["val"])
    assert len(set(merged.image_ids)) == 4 and len(set(merged.annotation_ids)) == 4
    assert merge_parts({"train": sets["train"]}) is sets["train"]
    twice = merge_parts({"train": sets["train"], "val": sets["train"]})
    assert by_image(twice) == by_image(sets["train"]) and len(twice) == 2


@pytest.mark.parametrize("start", [1, 101])  # of the second file's ids: those of the first again, or others
def test_parts_of_several_files_keep_every_key(tmp_path, start):
    for part, first in (("train", 1), ("val", start)):
        for i in range(4):
            write_image(tmp_path / part / f"{i}.png", scene(i + 10 * len(part), SIZE))
        rows = [(first + i, first + i % 4, i % 2 + 1, (1.25, 2, 10, 20 + i), {"text": f"{part} {i % 4}"}) for i in range(8)]
        content = coco_dict([(first + i, f"{i}.png", *SIZE) for i in range(4)], rows) | {"info": {"year": 1}}
        write_json(tmp_path / part / "_annotations.coco.json", content)
    layout = find_layout(tmp_path)
    datasets = {part: read_data(layout, part) for part in layout.parts}
    originals = original_files(layout.parts, datasets)
    parts = split_data(merge_parts(datasets), (0.5, 0.5))
    write_json_split(parts, tmp_path / "out", originals=originals)
    texts = []
    for part, data in parts.items():
        content = json.loads((tmp_path / f"out/{part}.json").read_text())
        assert by_image(read_coco(str(tmp_path / f"out/{part}.json"), str(tmp_path))) == by_image(data)
        names = {image["id"]: image["file_name"] for image in content["images"]}
        texts += [entry["text"] for entry in content["annotations"]]
        assert all(names[e["image_id"]] == f"{e['text'].replace(' ', '/')}.png" for e in content["annotations"])
        assert content["info"] == {"year": 1}
    assert len(texts) == 16 and len(set(texts)) == 8
    changed = json.loads((tmp_path / "val/_annotations.coco.json").read_text())
    changed["categories"] = [{"id": 2, "name": "cat"}, {"id": 1, "name": "dog"}]
    (tmp_path / "val/_annotations.coco.json").write_text(json.dumps(changed))
    assert original_files(layout.parts, {part: read_data(layout, part) for part in layout.parts}) == []
