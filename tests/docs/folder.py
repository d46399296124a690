"""A folder in which the names that the pages use exist: A.json, photos, yolox_nano.pth, RUN, all of them small."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import cv2
import mindspore as ms
import numpy as np

from tests.nn.scales import megvii_name
from tests.weights.torch_files import write_state
from yolox.data.synthetic import SyntheticConfig, draw_shapes, write_synthetic

IMAGES = 6
CONFIG = SyntheticConfig(image_size=(48, 64), sides=(12, 30))
NAMES = ("person", "bicycle", "car")  # COCO's, so that files without names fit
TRAINING = {"A.json": "A", "train.json": "images"}
VALIDATION = {"B.json": "B", "val.json": "images", "instances.json": "val2017"}


def draw_everything(folder: Path) -> None:
    """Write the annotations and images, the photos and the video."""
    for seed, names in enumerate((TRAINING, VALIDATION)):
        path = Path(write_synthetic(folder / "drawn", images=IMAGES, seed=seed, config=CONFIG))
        for json_name, image_folder in names.items():
            prefix = "" if image_folder != "images" else f"{seed}_"
            _copy(path, folder / json_name, folder / image_folder, prefix)
    for part, name in (("train", "A"), ("val", "B")):
        shutil.copytree(folder / name, folder / "D" / part)
        (folder / "D/annotations").mkdir(exist_ok=True)
        shutil.copy(folder / f"{name}.json", folder / f"D/annotations/instances_{part}.json")
    shutil.copytree(folder / "A", folder / "photos")
    shutil.copytree(folder / "A", folder / "VOC2007/JPEGImages")
    _write_voc(json.loads((folder / "A.json").read_text()), folder / "VOC2007")
    _draw_blood_cells(folder)
    _write_video(folder / "clip.mp4")


def _copy(path: Path, target: Path, images: Path, prefix: str) -> None:
    content = json.loads(path.read_text())
    images.mkdir(exist_ok=True)
    for image in content["images"]:
        shutil.copy(path.parent / "images" / image["file_name"], images / (prefix + image["file_name"]))
        image["file_name"] = prefix + image["file_name"]
    for category, name in zip(content["categories"], NAMES, strict=True):
        category["name"] = name
    target.write_text(json.dumps(content))


def _write_voc(content: dict, folder: Path) -> None:
    lists = folder / "ImageSets/Main"
    for place in (lists, folder / "Annotations"):
        place.mkdir(parents=True)
    stems = [Path(image["file_name"]).stem for image in content["images"]]
    for part, names in (("train", stems[:4]), ("val", stems[4:])):
        (lists / f"{part}.txt").write_text("\n".join(names) + "\n")
    names = {category["id"]: category["name"] for category in content["categories"]}
    for image, stem in zip(content["images"], stems, strict=True):
        rows = [_voc_object(names[a["category_id"]], *a["bbox"]) for a in content["annotations"] if a["image_id"] == image["id"]]
        size = f"<size><width>{image['width']}</width><height>{image['height']}</height></size>"
        (folder / f"Annotations/{stem}.xml").write_text(f"<annotation>{size}{''.join(rows)}</annotation>")


def _draw_blood_cells(folder: Path) -> None:
    """Write the dataset of the tutorial: as VOC2007, with a part for a test and a photo that the page names."""
    bccd = folder / "BCCD_Dataset/BCCD"
    shutil.copytree(folder / "VOC2007", bccd)
    shutil.copy(bccd / "ImageSets/Main/val.txt", bccd / "ImageSets/Main/test.txt")
    first = next((bccd / "JPEGImages").iterdir())
    shutil.copy(first, bccd / "JPEGImages/BloodImage_00007.jpg")


def _voc_object(name: str, x: float, y: float, width: float, height: float) -> str:
    corners = {"xmin": x, "ymin": y, "xmax": x + width, "ymax": y + height}
    box = "".join(f"<{key}>{value:g}</{key}>" for key, value in corners.items())
    return f"<object><name>{name}</name><bndbox>{box}</bndbox></object>"


def _write_video(path: Path) -> None:
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"mp4v"), 12.5, CONFIG.image_size[::-1])
    for seed in range(3):
        writer.write(draw_shapes(rng=np.random.default_rng(seed), config=CONFIG).image)
    writer.release()


def write_weights(folder: Path, detector) -> None:
    """Write a detector's fresh values as the files of weights that the pages name."""
    values = {p.name: p.asnumpy() for p in detector.get_parameters()}
    for scale in ("nano", "s"):
        write_state(folder / f"yolox_{scale}.pth", {megvii_name(name): value for name, value in values.items()})
    np.savez(folder / "other.npz", **values)
    ms.save_checkpoint([{"name": n, "data": ms.Tensor(v)} for n, v in values.items()], str(folder / "yolox_s.ckpt"))
