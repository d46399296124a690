"""Names of the parts of a dataset, and the listing of folders."""

import pytest

from yolox.data.parts import has_labels_beside, list_entries, list_files, list_folders, list_images, part_name


@pytest.mark.parametrize(
    ("name", "want"),
    [("train", "train"), ("instances_val2017", "val"), ("Validation", "val"), ("testing", "test"), ("set-train_2012", "train")],
)
def test_names_of_parts(name, want):
    assert part_name(name) == want


@pytest.mark.parametrize("name", ["latest", "trainer", "evaluate", "contest", "instances", "traind"])
def test_words_that_contain_a_part_name_none(name):
    assert part_name(name) is None


def test_what_systems_leave_behind_is_not_listed(tmp_path):
    for name in ("b.JPG", "a.png", "c.txt", "._a.png", "Thumbs.db"):
        (tmp_path / name).touch()
    (tmp_path / "sub").mkdir()
    (tmp_path / "@eaDir").mkdir()
    folder = str(tmp_path)
    assert list_entries(folder) == ["a.png", "b.JPG", "c.txt", "sub"]
    assert list_files(folder) == ["a.png", "b.JPG", "c.txt"] and list_folders(folder) == ["sub"]
    assert list_images(folder) == ["a.png", "b.JPG"]
    assert list_entries(f"{folder}/gone") == [] == list_images(f"{folder}/gone")


def test_labels_beside_images_have_their_names(tmp_path):
    (tmp_path / "a.jpg").touch()
    (tmp_path / "classes.txt").touch()
    assert not has_labels_beside(str(tmp_path)) and not has_labels_beside(str(tmp_path / "gone"))
    (tmp_path / "a.TXT").touch()
    assert has_labels_beside(str(tmp_path))
