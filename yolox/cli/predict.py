"""The verb ``predict``: a picture with boxes for every image, and the boxes as JSON."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import tee
from pathlib import Path

import cv2
from rich.console import Console

from yolox.cli.experiment import Experiment
from yolox.cli.inputs import open_weights, recipe_of_weights
from yolox.cli.messages import CommandError, UsageError
from yolox.cli.options import PredictOptions
from yolox.cli.rundir import make_folder, write_json
from yolox.config import Recipe
from yolox.data.coco_names import names_of_classes
from yolox.data.image import read_image
from yolox.eval.draw import draw_detections
from yolox.eval.postprocess import Detections
from yolox.eval.predict import predict_images

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff")


def run(experiment: Experiment, options: PredictOptions, parse: Callable[[Recipe], PredictOptions]) -> None:
    """Detect objects in the sources, and write pictures and predictions.json.

    Raises:
        UsageError: no images among the sources.
        WeightsError, DataError, CommandError: files that cannot be used or written.
    """
    files = find_images(options.source)
    folder = make_folder(options.output)
    opened = open_weights(experiment, options.weights)
    options = parse(recipe_of_weights(experiment, options.recipe, opened.facts))
    names = names_of_classes(opened.num_classes, opened.facts.class_names)
    step = opened.make_step(options.input)
    settings = {"spec": options.input, "config": options.postprocess, "batch_size": options.batch_size}
    shown, seen = tee(read_image(str(file)) for file in files)
    detections = predict_images(step, seen, **settings)
    console, records = Console(soft_wrap=True, highlight=False), []
    for file, picture, image, found in zip(files, picture_names(files), shown, detections, strict=True):
        _write_picture(folder / picture, draw_detections(image, found, names))
        records.append(describe(file, found, names))
        console.print(f"{file}: {len(found)} objects, {folder / picture}")
    write_json(folder / "predictions.json", records)
    console.print(f"wrote {folder / 'predictions.json'}")


def find_images(sources: Iterable[Path]) -> list[Path]:
    """List the image files among files and folders; a folder gives its images by name, without sub-folders.

    Raises:
        UsageError: a source that is not there, or no image at all.
    """
    files: list[Path] = []
    for source in sources:
        if source.is_dir():
            files.extend(sorted(p for p in source.iterdir() if p.suffix.lower() in IMAGE_SUFFIXES))
        elif source.is_file():
            files.append(source)
        else:
            raise UsageError(f"--source {source}: no such file or folder")
    if not files:
        raise UsageError(f"--source: no images found; want files or folders of {', '.join(IMAGE_SUFFIXES)}")
    return files


def picture_names(files: Sequence[Path]) -> list[str]:
    """Name a picture for every image file, all different.

    Example:
        >>> picture_names([Path("a/dog.jpg"), Path("b/dog.jpg"), Path("c/cat.tif")])
        ['dog.jpg', 'dog_2.jpg', 'cat.png']
    """
    taken: set[str] = set()
    names = []
    for file in files:
        suffix = file.suffix.lower() if file.suffix.lower() in (".jpg", ".jpeg", ".png") else ".png"
        name, number = file.stem + suffix, 1
        while name in taken:
            number += 1
            name = f"{file.stem}_{number}{suffix}"
        taken.add(name)
        names.append(name)
    return names


def describe(file: Path, found: Detections, names: Sequence[str]) -> dict:
    """Put the detections of an image into the form of predictions.json.

    Returns:
        dict of image (the path as given), boxes (xyxy in pixels of the image), scores, classes (from 0) and
        names, by falling score.

    Example:
        >>> describe(Path("a.jpg"), Detections(), ["cat"])
        {'image': 'a.jpg', 'boxes': [], 'scores': [], 'classes': [], 'names': []}
    """
    classes = found.classes.tolist()
    return {
        "image": str(file),
        "boxes": found.boxes.tolist(),
        "scores": found.scores.tolist(),
        "classes": classes,
        "names": [names[index] for index in classes],
    }


def _write_picture(path: Path, picture) -> None:
    done, data = cv2.imencode(path.suffix, picture)
    if not done:
        raise CommandError(f"{path}: the picture cannot be encoded")
    path.write_bytes(data.tobytes())
