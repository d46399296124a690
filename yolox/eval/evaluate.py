"""COCO metrics of a detector on a dataset, in one process or shared by several."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from functools import partial

import attrs
import numpy as np
from mindspore import nn

from yolox.config import InputSpec, PostprocessConfig, Size
from yolox.data.batches import evaluated_images
from yolox.data.classes import match_detector
from yolox.data.dataset import DetectionDataset, crowded_images, ground_truth, select_images
from yolox.data.letterbox import rectangular_size
from yolox.distributed import Group, from_first, gather_rows
from yolox.eval.coco import COCO_LIMIT, detections_to_coco, evaluate_coco, write_results
from yolox.eval.postprocess import Detections
from yolox.eval.predict import detector_class_names, detector_step, predict_dataset

COLUMNS = 7  # image, x1, y1, x2, y2, score, class


def make_evaluator(
    detector: nn.Cell | Callable,
    *,
    spec: InputSpec | None = None,
    postprocess: PostprocessConfig | None = None,
    batch_size: int = 8,
    workers: int = 2,
    group: Group = Group(),
    class_map: Mapping[str, str] | None = None,
    results: str | os.PathLike | None = None,
    keep: Callable[[list[Detections]], None] | None = None,
    on_stage: Callable[[str], None] | None = None,
    stall_seconds: float = 0,
    rectangular: bool = False,
) -> Callable[..., dict]:
    """Returns a function from a dataset to its metrics, which compiles the detector once.

    Call it before a training run and the function after each epoch: it follows the parameters of the detector where they
    are written in place (`make_eval_step`).

    Args:
        detector, spec, postprocess, batch_size, workers, group, class_map, results, keep, rectangular: as in `evaluate`.
        on_stage: called with the name of each stage before it begins: "images", "gather" (where processes wait for each
            other) and "metrics".
        stall_seconds: workers that load no batch for so long are ended with an error; 0 waits for ever.

    Returns:
        evaluator(dataset, on_batch=None) -> metrics, as `evaluate` returns them.

    Raises:
        ValueError: `rectangular` for an exported file, whose size is fixed.
    """
    if rectangular and not isinstance(detector, nn.Cell):
        raise ValueError("`rectangular`: an exported file takes images of one size; want a detector with its weights")
    spec, step = detector_step(detector, spec)
    steps = {spec.input_size: step}
    config = PostprocessConfig() if postprocess is None else postprocess
    enter = on_stage or (lambda stage: None)

    def evaluator(dataset: DetectionDataset, on_batch: Callable[[int], None] | None = None) -> dict:
        dataset = _matched_classes(dataset, detector, class_map)
        enter("images")
        options = {"config": config, "workers": workers, "stall_seconds": stall_seconds, "batch_size": batch_size}
        own = evaluated_images(len(dataset), rank=group.rank, world=group.world)
        size_of = partial(rectangular_size, size=spec.input_size, center=spec.letterbox == "center")
        sizes = [size_of(dataset.sizes[i].tolist()) if rectangular else spec.input_size for i in own]
        found = predict_in_sizes(detector, steps, dataset, own, sizes, spec=spec, on_batch=on_batch, **options)
        enter("gather")
        found = gather_detections(found, len(dataset), group)
        if keep is not None:
            keep(found)
        enter("metrics")
        metrics = None
        if group.is_first:
            ids = {"image_ids": dataset.image_ids, "category_ids": dataset.category_ids}
            records = detections_to_coco(found, **ids)
            if results is not None:
                write_results(results, records)
            limit = config.max_detections if crowded_images(dataset) else COCO_LIMIT
            metrics = evaluate_coco(ground_truth(dataset), records, max_detections=limit)
        return from_first(metrics, group)

    return evaluator


def predict_in_sizes(
    detector: nn.Cell | Callable,
    steps: dict[Size, Callable],
    dataset: DetectionDataset,
    images: Sequence[int],
    sizes: Sequence[Size],
    *,
    spec: InputSpec,
    batch_size: int,
    on_batch: Callable[[int], None] | None = None,
    **options,
) -> list[Detections]:
    """Returns the objects in some images of a dataset, each in an input of its size.

    Args:
        detector: as in `evaluate`.
        steps: by (height, width) px of the input; a step for each other size is made and added.
        dataset: the dataset.
        images: indices of the images.
        sizes: of the input of each.
        spec: pixels that the detector takes.
        batch_size: most images of a step.
        on_batch: called with the number of images done after each batch.
        **options: others of `predict_dataset`.

    Returns:
        One Detections per index, in their order.
    """
    found: list[Detections | None] = [None] * len(images)
    done = 0

    def count(more: int) -> None:
        if on_batch is not None:
            on_batch(done + more)

    for size in dict.fromkeys(sizes):
        places = [place for place, other in enumerate(sizes) if other == size]
        shaped = attrs.evolve(spec, input_size=size)
        if size not in steps:
            steps[size] = detector_step(detector, shaped)[1]
        part = select_images(dataset, [images[place] for place in places])
        parts = {"batch_size": min(batch_size, len(part)), "on_batch": count, **options}
        for place, detections in zip(places, predict_dataset(steps[size], part, spec=shaped, **parts), strict=True):
            found[place] = detections
        done += len(places)
    return found


def _matched_classes(dataset: DetectionDataset, detector, class_map: Mapping[str, str] | None) -> DetectionDataset:
    """Returns the dataset with its classes in the order of the detector's outputs."""
    if len(dataset) == 0:
        raise ValueError(f"evaluate: {dataset.image_dir} has no images, want at least one")
    count = getattr(detector, "num_classes", len(dataset.class_names))
    dataset = match_detector(dataset, detector_class_names(detector), count, class_map=class_map)
    if count != len(dataset.class_names):
        raise ValueError(f"evaluate: the dataset has {len(dataset.class_names)} classes, the detector predicts {count}")
    return dataset


def gather_detections(found: Sequence[Detections], count: int, group: Group) -> list[Detections]:
    """Collects the detections of all processes in the order of the dataset.

    Args:
        found: of the images of this process, as `predict_dataset` returns them for its rank.
        count: images of the dataset.
        group: the processes; all of them call this.

    Returns:
        One Detections per image, with the same bits as in one process; every process gets all of them.
    """
    if group.world == 1:
        return list(found)
    images = evaluated_images(count, rank=group.rank, world=group.world)
    return table_to_detections(np.concatenate(gather_rows(detections_to_table(found, images), group)), count)


def detections_to_table(found: Sequence[Detections], images: Sequence[int]) -> np.ndarray:  # -> [N,7]
    """Writes the detections of many images as the rows of one table, to send or to store them.

    Args:
        found: one Detections per image.
        images: index of each image.

    Returns:
        [N,7] float64: index of the image, xyxy px, score, class; every float32 keeps its value.

    Raises:
        ValueError: the counts differ.

    Example:
        >>> one = Detections(np.array([[1, 2, 3, 4]], np.float32), np.array([0.5], np.float32), np.array([2], np.int32))
        >>> detections_to_table([one], [7]).tolist()
        [[7.0, 1.0, 2.0, 3.0, 4.0, 0.5, 2.0]]
    """
    if len(found) != len(images):
        raise ValueError(f"detections_to_table: got {len(found)} detections for {len(images)} images")
    if not found:
        return np.zeros((0, COLUMNS))
    numbers = np.repeat(np.asarray(images, np.float64), [len(each) for each in found])
    columns = [np.concatenate([getattr(each, name) for each in found]) for name in ("boxes", "scores", "classes")]
    return np.column_stack([numbers, *columns]).astype(np.float64)


def table_to_detections(table: np.ndarray, count: int) -> list[Detections]:  # [N,7] ->
    """Reads the rows of `detections_to_table`, in any order of the images.

    Args:
        table: [N,7] float64; rows of one image keep their order.
        count: images, numbered from 0.

    Returns:
        One Detections per image, without names; empty ones for images without rows.

    Raises:
        ValueError: a row is of another image.
    """
    numbers = table[:, 0].astype(np.int64)
    if len(numbers) and not 0 <= numbers.min() <= numbers.max() < count:
        raise ValueError(f"table_to_detections: has image {numbers.max()} or below 0, want 0 to {count - 1}")
    rows = table[np.argsort(numbers, kind="stable")]
    ends = np.cumsum(np.bincount(numbers, minlength=count))[:-1]
    return [
        Detections(part[:, 1:5].astype(np.float32), part[:, 5].astype(np.float32), part[:, 6].astype(np.int32))
        for part in np.split(rows, ends)
    ]
