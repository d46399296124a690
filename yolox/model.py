"""`load`, `predict` and `evaluate`: weights of any form, an exported file, or a Cell, in the runtime that is asked for."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Literal

import attrs
import numpy as np
from attrs import field, frozen
from mindspore import nn

from yolox.config import InputSpec, OneScreen, PostprocessConfig
from yolox.data.classes import COCO_NAMES, names_of_classes
from yolox.data.dataset import DetectionDataset
from yolox.data.pixels import is_pil_image
from yolox.distributed import Group
from yolox.errors import WeightsError
from yolox.eval.evaluate import make_evaluator
from yolox.eval.postprocess import Detections, class_indices, with_names
from yolox.eval.predict import VIEWER, detector_class_names, detector_step, predict_images
from yolox.eval.tiles import Tiles
from yolox.export.engine import WORTH_AN_EXPORT, Engine, choose_engine
from yolox.export.runner import SUFFIXES, ExportedDetector, open_exported
from yolox.models import SCALES, build
from yolox.recipes import megvii_recipe
from yolox.weights.load import LoadedWeights, fill_parameters, local_path, read_weights
from yolox.weights.shapes import channels_of, scale_of

log = logging.getLogger("yolox.engine")
CLASS_BIAS = "head.cls_preds.0.bias"


@frozen(kw_only=True, eq=False, repr=False)
class Model(OneScreen):
    """A detector with what is needed to use it: the pixels that it takes and the names of its classes.

    `load` makes one; so does ``Model(detector=..., input=..., class_names=...)`` of a detector of your own.
    ``attrs.evolve(model, input=...)`` is the same detector at another size.
    """

    detector: nn.Cell | ExportedDetector
    """Cell with its weights, or an exported file."""
    input: InputSpec
    """Pixels that it takes, and their size."""
    class_names: tuple[str, ...]
    """Names of the classes in the order of the outputs."""
    name: str = ""
    """What it was loaded from."""
    _steps: dict[tuple[str, bool], Callable] = field(init=False, factory=dict, repr=False)

    def _step(self, engine: Engine, images: int) -> Callable:
        worth = engine == "auto" and images >= WORTH_AN_EXPORT  # auto chooses anew where many images follow few
        if (engine, worth) not in self._steps:
            options = {"spec": self.input, "class_names": self.class_names, "images": images}
            self._steps[engine, worth] = detector_step(in_engine(self.detector, engine, **options), self.input)[1]
        return self._steps[engine, worth]

    def predict(
        self,
        images,
        *,
        channels: Literal["bgr", "rgb"] = "bgr",
        batch_size: int = 1,
        score_threshold: float | None = None,
        config: PostprocessConfig = VIEWER,
        tiles: Tiles | int | None = None,
        classes: Iterable[str | int] | None = None,
        engine: Engine = "mindspore",
    ) -> Detections | list[Detections] | Iterator[Detections]:
        """Returns the objects in an image, in several, or in a stream of them.

        The detector is compiled at the first call and once more for each other `batch_size`; images of any size fit.

        Args:
            images: one image (uint8 [H,W,3] array, path of an image file, PIL image); a list of images or an array
                [N,H,W,3]; or a generator of images, which may be endless.
            channels: order of the channels of arrays: "bgr" as OpenCV reads them, "rgb" as most other libraries do. Files
                and PIL images state theirs, and are turned upright as their EXIF says.
            batch_size: images, or tiles of images, of a step.
            score_threshold: least score; None takes that of `config`.
            config: thresholds and limits.
            tiles: side in pixels of the tiles into which large images are divided, or `yolox.Tiles` with their overlap too.
                Small objects are found in the tiles, large ones in the whole image. None takes the whole image alone.
            classes: names or indices of the classes that are wanted; None takes all.
            engine: as in `yolox.predict`; the weights are those of the first call with it.

        Returns:
            Of one image its Detections; of a list or an array a list; of a generator a generator, which takes an image when
            it is asked for one. Boxes are xyxy in pixels of the original image.

        Raises:
            DataError: a file is missing or cannot be decoded.
            ValueError: something is no image, or there is no such class.
        """
        if score_threshold is not None:
            config = attrs.evolve(config, score_threshold=score_threshold)
        one = is_one_image(images)
        wanted = None if classes is None else class_indices(classes, self.class_names)
        options = {"spec": self.input, "config": config, "channels": channels, "tiles": tiles, "classes": wanted}
        options["batch_size"] = 1 if one and tiles is None else batch_size
        options["ahead"] = not isinstance(images, Iterator)
        each = predict_images(self._step(engine, 1 if one else count_images(images)), [images] if one else images, **options)
        found = (with_names(detections, self.class_names) for detections in each)
        if one:
            return next(found)
        return found if isinstance(images, Iterator) else list(found)


def predict(
    detector: nn.Cell | Callable,
    images: Iterable,
    *,
    spec: InputSpec | None = None,
    config: PostprocessConfig = VIEWER,
    class_names: Sequence[str] | None = None,
    batch_size: int = 1,
    channels: Literal["bgr", "rgb"] = "bgr",
    tiles: Tiles | int | None = None,
    classes: Iterable[str | int] | None = None,
    engine: Engine = "mindspore",
) -> list[Detections]:
    """Returns the objects in images or image files.

    It is `make_eval_step`, `predict_images` and `with_names` in one call, and compiles the detector. To call it often, take
    `Model.predict`, or those three, which compile once.

    Args:
        detector: Cell from images to raw maps, with its weights, or an exported file from `open_exported`.
        images: uint8 [H,W,3] arrays of any size, paths of image files, PIL images, or some of each. Where `spec` has other
            channels or 16 bits, arrays are as `to_pixels` takes them.
        spec: pixels that the detector takes. None takes `detector.spec`, else the metadata of an exported file, else
            Megvii's convention at 640 x 640.
        config: thresholds.
        class_names: names of the classes. None takes `detector.class_names`, or the metadata of an exported file, else
            detections have no names.
        batch_size: images, or tiles of images, of a step.
        channels: order of the channels of arrays; files and PIL images state theirs.
        tiles: divides large images into tiles of this size in pixels, or of these `Tiles`, and looks for objects in each and
            in the whole image; None takes the whole image alone.
        classes: names or indices of the classes that are wanted; None takes all.
        engine: runtime, as in `choose_engine`. "mindspore" follows the weights of a Cell wherever these are written; another one
            takes them as they are now, exported once and kept in the user's cache.

    Returns:
        One Detections per image, in their order: boxes xyxy in pixels of the original image, clipped to it.

    Raises:
        DataError: a file is missing or cannot be decoded.
        ValueError: `images` is one path or one image, an array is not uint8 [H,W,3], there is no such class, or `spec` differs
            from that of an exported file.

    Example:
        >>> from yolox.nn import PAFPN, CSPDarknet, DecoupledHead, Detector, initialise
        >>> tiny = Detector(CSPDarknet(0.33, 0.125), PAFPN(0.33, 0.125), DecoupledHead(3, 0.125))
        >>> initialise(tiny, seed=0)
        >>> spec = InputSpec(input_size=(32, 64))
        >>> [len(found) for found in predict(tiny, [np.zeros((40, 40, 3), np.uint8)] * 2, spec=spec)]
        [0, 0]
    """
    names = detector_class_names(detector) if class_names is None else class_names
    detector = in_engine(detector, engine, spec=spec, class_names=names, images=count_images(images))
    spec, step = detector_step(detector, spec)
    wanted = None if classes is None else class_indices(classes, names)
    options = {"batch_size": batch_size, "channels": channels, "tiles": tiles, "classes": wanted}
    options["ahead"] = not isinstance(images, Iterator)  # a generator is asked for an image when it is needed
    found = predict_images(step, images, spec=spec, config=config, **options)
    return list(found) if names is None else [with_names(each, names) for each in found]


def evaluate(
    detector: nn.Cell | Callable,
    dataset: DetectionDataset,
    *,
    spec: InputSpec | None = None,
    postprocess: PostprocessConfig | None = None,
    batch_size: int = 8,
    workers: int = 2,
    group: Group = Group(),
    class_map: Mapping[str, str] | None = None,
    results: str | os.PathLike | None = None,
    on_batch: Callable[[int], None] | None = None,
    keep: Callable[[list[Detections]], None] | None = None,
    rectangular: bool = False,
    engine: Engine = "mindspore",
) -> dict:
    """Computes the twelve COCO metrics and the AP of every class.

    It is one call of the function that `make_evaluator` returns. Use that function to evaluate a detector repeatedly: it
    compiles the detector once.

    Args:
        detector: Cell from images to raw maps, or an exported file from `open_exported`.
        dataset: images and ground truth. Its classes are matched to `detector.class_names` by name where these are set.
        spec: pixels that the detector takes. None takes `detector.spec`, else the metadata of an exported file, else
            Megvii's convention at 640 x 640.
        postprocess: thresholds and limits; None takes those of published evaluations.
        batch_size: images of a step.
        workers: processes that read images; 0 reads them in this process.
        group: processes that share the images.
        class_map: from class names of the dataset to those of the detector, where they are spelt otherwise.
        results: file for the detections as COCO's list of results, with the dataset's ids of images and categories;
            pycocotools' `loadRes` reads it. None writes none.
        on_batch: called with the number of images done in this process; may raise to stop where there is one process.
        keep: called with the detections of all images, in the order of the dataset.
        rectangular: whether images of a similar shape make batches with little padding. Each of up to nine sizes is compiled for
            itself, so that it pays for large datasets. At least 32 px of padding stay; AP moved by .0005 where it was measured.
            MindSpore only.
        engine: runtime, as in `choose_engine`. "mindspore" follows the weights of a Cell wherever these are written; another one
            takes them as they are now, exported once and kept in the user's cache.

    Returns:
        Metrics by name as `evaluate_coco` returns them: AP, AP50, ..., ARl and `per_class`; also `AP@N` and `AR@N` with
        N = `postprocess.max_detections` where images have more than 100 objects of a class. Every process of the group
        gets the same numbers, and they do not depend on the number of processes.

    Raises:
        DataError: an image cannot be read, or the dataset has a class that the detector does not have.
        ValueError: the dataset has no images, or its number of classes differs from the detector's.
    """
    names = detector_class_names(detector) or dataset.class_names
    if not (rectangular and engine == "auto"):  # an export has one size
        detector = in_engine(detector, engine, spec=spec, class_names=names, images=len(dataset))
    settings = {"batch_size": batch_size, "workers": workers, "group": group, "class_map": class_map}
    settings |= {"results": results, "keep": keep, "rectangular": rectangular}
    return make_evaluator(detector, spec=spec, postprocess=postprocess, **settings)(dataset, on_batch)


def in_engine(
    detector: nn.Cell | Callable, engine: Engine, *, spec: InputSpec | None, class_names: Sequence[str] | None, images: int
) -> nn.Cell | Callable:
    """Returns a detector in the runtime of `choose_engine`, and logs which one another than "mindspore" led to.

    Args:
        detector, engine, class_names, images: as for `choose_engine`.
        spec: pixels that the detector takes; None takes those of `detector_step`.

    Returns:
        The detector, or its export.

    Raises:
        ExportError, ValueError: as from `choose_engine`.
    """
    if engine == "mindspore":
        return detector
    spec = spec or getattr(detector, "spec", None) or InputSpec()
    choice = choose_engine(detector, engine, spec=spec, class_names=class_names, images=images)
    log.info("engine: %s", choice)
    return choice.detector


def count_images(images) -> int:
    """Returns the number of images in a list or an array; 0 of a generator, which does not tell it.

    Args:
        images: as for `predict`.

    Returns:
        The number.

    Example:
        >>> count_images(["a.jpg", "b.jpg"]), count_images(iter([]))
        (2, 0)
    """
    return len(images) if hasattr(images, "__len__") and not isinstance(images, (str, bytes)) else 0


def is_one_image(images) -> bool:
    """Returns whether a value is one image rather than several.

    Args:
        images: array, path, PIL image, or an iterable of them.

    Returns:
        True for a path, a PIL image, and an array that is not [N,H,W,C].

    Example:
        >>> is_one_image("dog.jpg"), is_one_image(["dog.jpg"]), is_one_image(np.zeros((2, 4, 4, 3), np.uint8))
        (True, False, False)
    """
    if isinstance(images, np.ndarray):
        return images.ndim != 4
    return isinstance(images, (str, os.PathLike)) or is_pil_image(images)


def load(
    source: str | os.PathLike,
    *,
    scale: str | None = None,
    num_classes: int | None = None,
    input_size: tuple[int, int] | None = None,
    legacy: bool = False,
    trusted: bool = False,
) -> Model:
    """Loads a detector by the name of published weights, or from a file or the folder of a run.

    Args:
        source: a published name such as ``megvii:nano``, which is downloaded the first time; a weights file of any form that
            `load_weights` reads; the folder of a run, whose best checkpoint is taken, else its last; or an `.onnx` or
            `.mindir` file of `export_detector`.
        scale: one of `yolox.models.SCALES`; None finds it from the names and shapes of the weights.
        num_classes: of the detector, to fine-tune it on other classes: the class predictions are then fresh. None takes the
            number of the weights.
        input_size: height and width of the input, multiples of 32. None takes that of the weights, or the published one of
            the scale: 416 x 416 for nano and tiny, 640 x 640 for the others.
        legacy: whether the weights are Megvii's from before version 0.1.1, as in `load_weights`.
        trusted: skips the check of an exported file, as in `open_exported`.

    Returns:
        Model. Where the weights name no classes, 80 are COCO's and others are numbered.

    Raises:
        WeightsError: the weights cannot be read, are of no published scale, or do not fit the one that is asked for.
        ExportError: the exported file cannot be used.
        ValueError: another number of classes or another size is asked of an exported file; no such scale.

    Example:
        >>> load("nothing.pth")
        Traceback (most recent call last):
        yolox.errors.WeightsError: nothing.pth: no such file
    """
    opened = open_weights(source, build=scale_builder(scale), num_classes=num_classes, legacy=legacy, trusted=trusted)
    spec, known = opened.metadata.input, opened.metadata.class_names
    if isinstance(opened.detector, ExportedDetector):
        if (num_classes or opened.num_classes, input_size or spec.input_size) != (opened.num_classes, spec.input_size):
            asked = f"num_classes={num_classes}, input_size={input_size}"
            raise ValueError(f"{source}: an exported file of {opened.num_classes} classes at {spec.input_size}; got {asked}")
    else:
        spec = spec or megvii_recipe(opened.scale or "s").input
        spec = spec if input_size is None else attrs.evolve(spec, input_size=tuple(input_size))
        opened.detector.spec, opened.detector.class_names = spec, known
    names = names_of_classes(opened.num_classes, known)
    return Model(detector=opened.detector, input=spec, class_names=names, name=str(source))


@frozen(kw_only=True, eq=False, repr=False)
class OpenedWeights(OneScreen):
    """A detector with the weights of a file, or an exported file."""

    detector: nn.Cell | ExportedDetector
    num_classes: int
    metadata: LoadedWeights
    """What the file says of the weights; class names of the detector, None where they are not known."""
    path: Path
    scale: str | None = None
    """Scale that the weights look like."""

    @property
    def strides(self) -> tuple[int, ...]:
        """Strides of the levels of the predictions, px."""
        return tuple((self.detector.metadata if isinstance(self.detector, ExportedDetector) else self.detector).strides)


def open_weights(
    source: str | os.PathLike,
    *,
    build: Callable[..., nn.Cell],
    num_classes: int | None = None,
    legacy: bool = False,
    trusted: bool = False,
) -> OpenedWeights:
    """Opens weights of any supported form, or a file of `export_detector`.

    Args:
        source: as for `load`; names that end in `.onnx` and `.mindir` are exported files.
        build: function of the number of classes and the scale that the weights look like (None where that is not known),
            which returns a detector; `channels` is given by name where the images have other than three.
        num_classes: as for `load`.
        legacy: as for `load`; an exported file states its pixels itself.
        trusted: as for `load`.

    Returns:
        The detector, and what is known of it.

    Raises:
        WeightsError: the file cannot be read, does not fit the detector, or names more or fewer classes than it predicts.
        ExportError: the exported file cannot be used.
        ValueError: `legacy` for an exported file.
    """
    path = Path(local_path(source))
    if path.suffix.lower() in SUFFIXES and not path.is_dir():
        if legacy:
            raise ValueError(f"`legacy`: {path} is an export, which states its pixels itself; leave out `legacy`")
        exported = open_exported(path, trusted=trusted)
        about = exported.metadata
        metadata = LoadedWeights(source="export", loaded=(), input=about.input, class_names=about.class_names)
        return OpenedWeights(detector=exported, num_classes=len(about.class_names), metadata=metadata, path=path)
    tensors, metadata = read_weights(path, legacy=legacy)
    scale = scale_of({name: array.shape for name, array in tensors.items()})
    own = _count_classes(tensors, metadata)
    channels = channels_of({name: array.shape for name, array in tensors.items()})
    detector = build(num_classes or own, scale, **({} if channels == 3 else {"channels": channels}))
    loaded, skipped = fill_parameters(detector, tensors, path=path)
    if skipped and num_classes in (None, own):
        counted = "names" if metadata.class_names else "counts"
        rows = len(tensors[skipped[0]])
        raise WeightsError(f"{path}: {counted} {own} classes, but its {skipped[0]} has {rows} rows; want one a class")
    names = None if skipped else metadata.class_names  # skipped: the class predictions are not those of the file
    metadata = attrs.evolve(metadata, loaded=loaded, skipped=skipped, class_names=names)
    return OpenedWeights(detector=detector, num_classes=detector.num_classes, metadata=metadata, path=path, scale=scale)


def scale_builder(scale: str | None) -> Callable[..., nn.Cell]:
    """Returns the function that builds a published detector for `open_weights`.

    Args:
        scale: one of `yolox.models.SCALES`; None takes the one that the weights look like.

    Returns:
        Function of the number of classes, the scale that the weights look like, and the channels of the images.

    Raises:
        ValueError: no such scale.
        WeightsError: from the function, where neither tells the scale.
    """
    if scale not in (None, *SCALES):
        raise ValueError(f"scale is {scale!r}, want one of {', '.join(SCALES)}")

    def build_scale(num_classes: int, found: str | None, channels: int = 3) -> nn.Cell:
        if scale is None and found is None:
            raise WeightsError(
                f"the weights are of no published scale ({', '.join(SCALES)}): build their detector and call "
                "yolox.load_weights, then yolox.Model(detector=..., input=..., class_names=...)"
            )
        return build(scale or found, num_classes, channels=channels)

    return build_scale


def _count_classes(tensors: Mapping[str, Sequence], metadata: LoadedWeights) -> int:
    """Returns the number of names in the file, else the size of the last bias of the published layers, else that of COCO."""
    if metadata.class_names:
        return len(metadata.class_names)
    return len(tensors[CLASS_BIAS]) if CLASS_BIAS in tensors else len(COCO_NAMES)
