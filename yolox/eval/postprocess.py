"""Postprocessing: converts the decoded predictions of one image to detections."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from attrs import evolve, field, frozen

from yolox.config import PostprocessConfig, one_screen
from yolox.data.classes import close_names
from yolox.data.content import name_some
from yolox.eval.coco import detections_to_coco
from yolox.eval.nms import batched_nms


@frozen(eq=False, repr=False)
class Detections:
    """Objects found in one image, in descending order of score.

    The function that made it states whether its pixels are of the network input or of the original image.
    """

    boxes: np.ndarray = field(factory=lambda: np.zeros((0, 4), np.float32))
    """[N,4] float32, xyxy in pixels."""
    scores: np.ndarray = field(factory=lambda: np.zeros(0, np.float32))
    """[N] float32, objectness times class probability."""
    classes: np.ndarray = field(factory=lambda: np.zeros(0, np.int32))
    """[N] int32, index of the class, from 0."""
    names: tuple[str, ...] = ()
    """Name of each detection's class; empty where nobody named them."""

    def __attrs_post_init__(self) -> None:
        n = len(self.boxes)
        if self.boxes.shape != (n, 4) or self.scores.shape != (n,) or self.classes.shape != (n,):
            shapes = self.boxes.shape, self.scores.shape, self.classes.shape
            raise ValueError(f"Detections: boxes, scores, classes are {shapes}, want (N, 4), (N,), (N,)")
        if self.names and len(self.names) != n:
            raise ValueError(f"Detections: {len(self.names)} names for {n} boxes, want as many or none")

    def __len__(self) -> int:
        return len(self.scores)

    def __repr__(self) -> str:
        shown = min(len(self), 20)
        lines = [f"Detections({len(self)})" + (": class, score, box xyxy" if shown else "")]
        for i in range(shown):
            name = self.names[i] if self.names else f"class {self.classes[i]}"
            corners = " ".join(f"{value:7.1f}" for value in self.boxes[i])
            lines.append(f"    {name[:40]:20} {self.scores[i]:.3f} {corners}")
        return one_screen("\n".join(lines + [f"    ... {len(self) - shown} more"] * (len(self) > shown)))

    def above(self, threshold: float) -> Detections:
        """Returns those whose score is above a threshold, in their order.

        Args:
            threshold: scores equal to it are left out.

        Example:
            >>> len(Detections(np.zeros((2, 4)), np.array([0.9, 0.5]), np.array([0, 1])).above(0.5))
            1
        """
        keep = self.scores > threshold
        names = tuple(name for name, kept in zip(self.names, keep, strict=True) if kept) if self.names else ()
        return Detections(self.boxes[keep], self.scores[keep], self.classes[keep], names)

    def to_coco(self, *, image_id, category_ids) -> list[dict]:
        """Converts them to COCO results of one image; see ``detections_to_coco``.

        Args:
            image_id: of their image.
            category_ids: id of each class index.

        Returns:
            One dict for each box.
        """
        return detections_to_coco([self], image_ids=[image_id], category_ids=category_ids)

    def to_supervision(self):
        """Converts them to ``supervision.Detections``, with the names as data of the key ``class_name``.

        Raises:
            ImportError: the package supervision is not installed, or cannot be loaded.
        """
        try:
            from supervision import Detections as Supervision
        except ImportError as error:
            if error.name == "supervision" and isinstance(error, ModuleNotFoundError):
                raise ImportError("to_supervision needs one more package: pip install supervision") from None
            raise ImportError(f"to_supervision: supervision is installed and cannot be loaded ({error})") from error
        data = {"class_name": np.array(self.names)} if self.names else {}
        return Supervision(xyxy=self.boxes, confidence=self.scores, class_id=self.classes, data=data)


def with_names(found: Detections, class_names: Sequence[str]) -> Detections:
    """Adds class names to detections.

    Args:
        found: any detections.
        class_names: name of each class index.

    Returns:
        Detections with `names`, one for each box.

    Raises:
        ValueError: a detection is of a class without a name.

    Example:
        >>> one = Detections(np.zeros((1, 4)), np.ones(1), np.array([1]))
        >>> with_names(one, ["cat", "dog"]).names
        ('dog',)
    """
    if len(found) and found.classes.max() >= len(class_names):
        raise ValueError(f"with_names: class {found.classes.max()}, but there are {len(class_names)} names")
    return evolve(found, names=tuple(class_names[index] for index in found.classes.tolist()))


def class_indices(wanted: Iterable[str | int], class_names: Sequence[str] | None) -> tuple[int, ...]:
    """Returns the indices of classes that are given by name or by index.

    Args:
        wanted: names, and indices as numbers or digits. A name that is a number goes first.
        class_names: of the detector; None where it has none, and only indices are taken.

    Returns:
        Ascending indices, each once.

    Raises:
        ValueError: no such class, with the spellings that may have been meant.

    Example:
        >>> class_indices(["dog", 0, "2"], ["cat", "dog", "cow"])
        (0, 1, 2)
        >>> class_indices(["dgo"], ["cat", "dog", "cow"])
        Traceback (most recent call last):
        ValueError: `classes`: no class 'dgo' among 3; perhaps you meant dog
    """
    names = list(class_names or ())
    found = set()
    for item in [wanted] if isinstance(wanted, str) else wanted:
        text = str(item)
        if text in names:
            found.add(names.index(text))
        elif text.isdecimal() and (class_names is None or int(text) < len(names)):
            found.add(int(text))
        elif class_names is None:
            raise ValueError(f"`classes`: got {text!r}, want an index, as the detector has no class names")
        else:
            close = close_names(text, names)
            hint = f"perhaps you meant {' or '.join(close)}" if close else f"want a name ({name_some(names)}) or its index from 0"
            raise ValueError(f"`classes`: no class {text!r} among {len(names)}; {hint}")
    return tuple(sorted(found))


def postprocess(
    decoded, *, config: PostprocessConfig, classes: Sequence[int] | None = None  # [P,5+C]
) -> Detections:
    """Converts the decoded predictions of one image to detections.

    Call it on each row of the network's output for a batch. Both published systems are values of ``config``:
    Megvii takes the best class of a box, MindYOLO (``multi_label``) every class above the threshold.

    Args:
        decoded: [P,5+C] float32 numpy; boxes as cxcywh in pixels, objectness, class probabilities in [0,1].
        config: thresholds and limits.
        classes: indices of the classes that are kept; None keeps all.

    Returns:
        Detections in the pixels of ``decoded``, at most ``max_detections``. A score is objectness times class
        probability and strictly above the threshold. Predictions that are not finite are left out.

    Raises:
        ValueError: when ``decoded`` is not [P,5+C] with at least one class.

    Source:
        YOLOX, arXiv 2107.08430; thresholds and labels per box as in docs/recipes.

    Example:
        >>> row = np.array([[50, 50, 20, 10, 0.9, 0.1, 0.8]], np.float32)
        >>> found = postprocess(row, config=PostprocessConfig(score_threshold=0.3))
        >>> found.boxes, found.classes
        (array([[40., 45., 60., 55.]], dtype=float32), array([1], dtype=int32))
    """
    decoded = np.asarray(decoded)
    if decoded.ndim != 2 or decoded.shape[1] < 6:
        raise ValueError(f"postprocess: decoded has shape {decoded.shape}, want [P,5+C] with C >= 1")
    pick = _every_class if config.multi_label else _best_class
    likely = decoded[decoded[:, 4] > config.score_threshold]  # a class probability is at most 1
    rows, labels, scores = pick(likely, config.score_threshold)
    boxes = _corners(likely[rows, :4])
    wanted = np.isfinite(boxes).all(1)
    if classes is not None:
        wanted &= np.isin(labels, classes)
    found = boxes[wanted], scores[wanted], labels[wanted]
    boxes, scores, labels = _best_scored(*found, config.max_candidates)
    kept = batched_nms(boxes, scores, labels, config.iou_threshold, max_kept=config.max_detections)
    return Detections(boxes[kept], scores[kept], labels[kept].astype(np.int32))


def _best_class(rows, threshold):  # [N,5+C] -> three of [K]: row, class, score
    classes = rows[:, 5:].argmax(1)
    scores = rows[:, 4] * rows[np.arange(len(rows)), 5 + classes]
    above = np.flatnonzero(scores > threshold)
    return above, classes[above], scores[above]


def _every_class(rows, threshold):  # [N,5+C] -> three of [K]: row, class, score
    scores = rows[:, 4:5] * rows[:, 5:]
    above, classes = np.nonzero(scores > threshold)
    return above, classes, scores[above, classes]


def _best_scored(boxes, scores, classes, limit):  # keeps at most `limit` rows
    if len(scores) <= limit:
        return boxes, scores, classes
    best = np.argsort(-scores, kind="stable")[:limit]
    return boxes[best], scores[best], classes[best]


def _corners(boxes):  # [N,4] cxcywh -> [N,4] xyxy
    half = boxes[:, 2:] / 2
    return np.concatenate([boxes[:, :2] - half, boxes[:, :2] + half], axis=1)
