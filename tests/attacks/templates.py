"""Small valid files of every kind that the library reads, from which `tests.attacks.mutate` makes others."""

from __future__ import annotations

import csv
import json
import os
import pickle
import shutil
import traceback
from pathlib import Path

import cv2
import numpy as np

from tests.cli.tiny import EXPERIMENT, RECIPE, TinyDetector
from tests.weights.torch_files import write_state
from yolox.config import InputSpec
from yolox.config_io import recipe_to_json
from yolox.environment import import_extra
from yolox.errors import ExportError
from yolox.export import export_detector
from yolox.nn import initialise
from yolox.training.checkpoint import save_checkpoint

NAMES = ["cat", "dog", "horse"]
SPEC = InputSpec(input_size=(64, 64))


def make_templates(root: Path) -> None:
    """Writes a folder of each template below ``root/templates``, and ``root/detector.onnx``.

    It works in a child: MindSpore's threads do not survive the forks of its caller.
    """
    (root / "templates").mkdir()
    if not (child := os.fork()):
        status, log = 1, os.open(root / "templates.log", os.O_WRONLY | os.O_CREAT)
        os.dup2(log, 1)
        os.dup2(log, 2)
        try:
            for make in (weights, exports, images, videos, coco, voc, yolo, run_folder, recipes, sources):
                folder = root / "templates" / ("run" if make is run_folder else make.__name__)
                folder.mkdir()
                make(folder)
            shutil.copy(root / "templates/exports/a.onnx", root / "detector.onnx")
            status = 0
        finally:
            if status:
                traceback.print_exc()
            os._exit(status)
    if os.waitpid(child, 0)[1]:
        raise RuntimeError(f"the valid files could not be made: {(root / 'templates.log').read_text()[-2000:]}")


def picture(side: int = 48) -> np.ndarray:
    """Returns an image of noise and a rectangle."""
    image = np.random.default_rng(0).integers(0, 60, (side, side, 3), dtype=np.uint8)
    image[10:30, 8:40] = (200, 90, 30)
    return image


def weights(folder: Path) -> None:
    """Writes weights of the tiny detector in all formats."""
    import mindspore

    detector = TinyDetector(3)
    initialise(detector, seed=0)
    arrays = {parameter.name: parameter.asnumpy() for parameter in detector.get_parameters()}
    np.savez(folder / "a.npz", **arrays)
    np.savez_compressed(folder / "b.npz", **arrays)
    mindspore.save_checkpoint(detector, str(folder / "a.ckpt"))
    mindspore.save_checkpoint([{"name": "a", "data": mindspore.Tensor(np.ones(3))}], str(folder / "b.ckpt"), crc_check=True)
    mindspore.save_checkpoint(detector, str(folder / "foreign"), format="safetensors")
    own = {f"{part}.{name}": array for part in ("params", "ema") for name, array in arrays.items()}
    save_checkpoint(folder / "own.safetensors", own, recipe=RECIPE, class_names=NAMES)
    write_state(folder / "a.pth", arrays)
    for protocol in (2, 4):
        (folder / f"{protocol}.pdparams").write_bytes(pickle.dumps(arrays, protocol))


def exports(folder: Path) -> None:
    """Writes exported files, of OpenVINO where it is installed."""
    detector = TinyDetector(3)
    initialise(detector, seed=0)
    common = {"spec": SPEC, "class_names": NAMES}
    export_detector(detector, folder / "a.onnx", **common)
    export_detector(detector, folder / "nms.onnx", nms=True, **common)
    export_detector(detector, folder / "any.onnx", batch=None, raw=True, **common)
    export_detector(detector, folder / "a.mindir", format="mindir", **common)
    try:
        import_extra("openvino", "openvino")
        export_detector(detector, folder / "a.xml", format="openvino", **common)
    except ExportError:
        pass


def images(folder: Path) -> None:
    """Writes images of all formats and of several of their kinds."""
    image = picture()
    for suffix in ("bmp", "webp", "tiff", "png", "jpg"):
        cv2.imwrite(str(folder / f"a.{suffix}"), image)
    cv2.imwrite(str(folder / "progressive.jpg"), image, [cv2.IMWRITE_JPEG_PROGRESSIVE, 1])
    cv2.imwrite(str(folder / "grey16.png"), image[..., 0].astype(np.uint16) * 256)
    cv2.imwrite(str(folder / "alpha.png"), np.dstack([image, image[..., 0]]))
    cv2.imwrite(str(folder / "grey16.tiff"), image[..., 0].astype(np.uint16) * 256)
    np.save(folder / "a.npy", image)
    from PIL import Image

    pages = [Image.fromarray(image), Image.fromarray(255 - image)]
    pages[0].convert("P").save(folder / "palette.png")
    pages[0].save(folder / "pages.tiff", save_all=True, append_images=pages[1:], compression="tiff_lzw")
    pages[0].save(folder / "moving.webp", save_all=True, append_images=pages[1:])
    pages[0].save(folder / "moving.png", save_all=True, append_images=pages[1:])
    exif = Image.Exif()
    exif[0x0112] = 6
    pages[0].save(folder / "turned.jpg", exif=exif)
    try:
        import pillow_heif

        pillow_heif.from_pillow(pages[0]).save(folder / "a.heic", quality=50)
    except (ImportError, RuntimeError, OSError):
        pass


def videos(folder: Path) -> None:
    """Writes videos of some codecs, and a moving GIF."""
    from PIL import Image

    for name, code in (("a.mp4", "mp4v"), ("b.avi", "MJPG"), ("c.avi", "XVID"), ("d.mkv", "mp4v"), ("e.mov", "mp4v")):
        writer = cv2.VideoWriter(str(folder / name), cv2.VideoWriter_fourcc(*code), 5, (48, 48))
        for shift in range(6):
            writer.write(np.roll(picture(), 4 * shift, 1))
        writer.release()
    pages = [Image.fromarray(np.roll(picture(), 4 * shift, 1)) for shift in range(4)]
    pages[0].save(folder / "f.gif", save_all=True, append_images=pages[1:])


def _pictures(folder: Path, count: int = 3) -> list[str]:
    folder.mkdir(parents=True)
    names = [f"{number}.jpg" for number in range(count)]
    for name in names:
        cv2.imwrite(str(folder / name), picture())
    return names


def coco(folder: Path) -> None:
    """Writes images and COCO annotations of them."""
    names = _pictures(folder / "images")
    content = {
        "images": [{"id": n, "file_name": name, "height": 48, "width": 48} for n, name in enumerate(names)],
        "annotations": [
            {"id": n, "image_id": n, "category_id": 1 + n % 2, "bbox": [8, 10, 30, 20], "area": 600, "iscrowd": n % 2,
             "segmentation": [[8, 10, 40, 10, 40, 30]]} for n in range(3)
        ],
        "categories": [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}],
    }  # fmt: skip
    (folder / "a.json").write_text(json.dumps(content))


def voc(folder: Path) -> None:
    """Writes a folder of VOC."""
    names = [Path(name).stem for name in _pictures(folder / "JPEGImages")]
    (folder / "Annotations").mkdir()
    (folder / "ImageSets/Main").mkdir(parents=True)
    (folder / "ImageSets/Main/train.txt").write_text("\n".join(names[:2]) + "\n")
    (folder / "ImageSets/Main/val.txt").write_text(names[2] + "\n")
    for name in names:
        (folder / f"Annotations/{name}.xml").write_text(
            f"<annotation><filename>{name}.jpg</filename><size><width>48</width><height>48</height><depth>3</depth></size>"
            "<object><name>cat</name><difficult>0</difficult><bndbox><xmin>8</xmin><ymin>10</ymin><xmax>40</xmax>"
            "<ymax>30</ymax></bndbox></object></annotation>"
        )


def yolo(folder: Path) -> None:
    """Writes a folder of YOLO with a list."""
    names = _pictures(folder / "images")
    (folder / "labels").mkdir()
    for name in names:
        (folder / "labels" / name).with_suffix(".txt").write_text("0 0.5 0.42 0.66 0.42\n1 0.3 0.3 0.2 0.2\n")
    (folder / "train.txt").write_text("".join(f"./images/{name}\n" for name in names))
    (folder / "data.yaml").write_text("path: .\ntrain: train.txt\nval: images\nnc: 2\nnames: {0: cat, 1: 'dog'}\n")


def run_folder(folder: Path) -> None:
    """Trains two epochs, and leaves the folder of the run with the data that it names."""
    from yolox.cli.main import run

    coco(folder)
    data = ["--train-json", f"{folder}/a.json", "--train-images", f"{folder}/images"]
    data += ["--val-json", f"{folder}/a.json", "--val-images", f"{folder}/images"]
    epochs = ["--epochs", "2", "--eval-interval", "1", "--plain-epochs", "1", "--warmup-epochs", "1", "--flat-epochs", "0"]
    if run(EXPERIMENT, ["train", *data, *epochs, "--batch-size", "1", "--output", f"{folder}/run"], prog="yolox"):
        raise RuntimeError("the training of the valid run has failed")
    for path in (folder / "run").iterdir():
        shutil.move(path, folder)
    (folder / ".lock").touch()
    with (folder / "history.csv").open(newline="") as file:
        assert len(list(csv.reader(file))) == 3
    (folder / "a.json").rename(folder / "instances.txt")  # not to be mutated; options.json names it
    options = json.loads((folder / "options.json").read_text())
    options |= {f"{part}_json": str(folder / "instances.txt") for part in ("train", "val")}
    (folder / "options.json").write_text(json.dumps(options))


def recipes(folder: Path) -> None:
    """Writes recipe files."""
    (folder / "a.json").write_text(recipe_to_json(RECIPE))
    (folder / "a.toml").write_text('base = "megvii"\nepochs = 3\n\n[optim]\nlr = 0.1\nwarmup_epochs = 1\n')


def sources(folder: Path) -> None:
    """Copies an image of each format and a video, as `predict` takes them."""
    for name in ("a.png", "a.jpg", "a.tiff", "a.webp", "a.bmp"):
        shutil.copy(folder.parent / "images" / name, folder)
    shutil.copy(folder.parent / "videos/b.avi", folder)
