"""Draws detections on an image."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Callable, Sequence

import cv2
import numpy as np
from attrs import evolve

from yolox.data.pixels import viewable
from yolox.eval.postprocess import Detections

COLORS = ("#0072B2", "#E69F00", "#009E73", "#D55E00", "#56B4E9", "#CC79A7")
"""Okabe and Ito's colours ("Color Universal Design", 2008), without black, which is that of means, and yellow, which is pale."""
LONGEST_NAME = 18  # letters in a picture; labels of neighbours would hide each other
_SPELLED = str.maketrans({
    "ß": "ss", "ẞ": "SS", "æ": "ae", "Æ": "AE", "œ": "oe", "Œ": "OE", "ø": "o", "Ø": "O", "ł": "l", "Ł": "L",
    "đ": "d", "Đ": "D", "ð": "d", "Ð": "D", "þ": "th", "Þ": "Th", "ı": "i", "–": "-", "—": "-", "’": "'", "…": "..",
})  # fmt: skip  # what unicode does not take apart
_FONT = cv2.FONT_HERSHEY_SIMPLEX
_SMALLEST_FONT, _LARGEST_FONT = 0.35, 2.5  # below, letters of this font run together
_NAME_LENGTHS = (LONGEST_NAME, 12, 8)
_MOST_COVERED = 0.25  # share of the picture under labels from which names are cut shorter


def class_color(index: int) -> tuple[int, int, int]:
    """Returns the colour of a class, as BGR in 0..255: one of six that colour-blind people can tell apart.

    The colour depends on the index alone. From the seventh class on, the six come back lighter, then darker, and so on.

    Args:
        index: of the class.

    Returns:
        Blue, green, red.

    Example:
        >>> class_color(0) == class_color(0) != class_color(1)
        True
        >>> class_color(0)
        (178, 114, 0)
    """
    color = COLORS[index % len(COLORS)]
    times = index // len(COLORS)
    towards, share = 255 * (times % 2), 0.7 * (times * 0.618 % 1)
    blue, green, red = (round(int(color[at : at + 2], 16) * (1 - share) + towards * share) for at in (5, 3, 1))
    return blue, green, red


def _side(image) -> float:
    return float(np.sqrt(image.shape[0] * image.shape[1]))


def _font_scale(side: float) -> float:
    return float(np.clip(side / 1100, _SMALLEST_FONT, _LARGEST_FONT))


def _whole_pixels(boxes, shape):  # [N,4] -> list of N lists of 4 int, inside the image
    height, width = shape[:2]
    last = np.array([width - 1, height - 1] * 2)
    return np.clip(np.rint(np.nan_to_num(boxes)), 0, last).astype(int).tolist()


def _fitting_labels(detections, class_names, show_scores, picture, scale) -> list[str]:
    """Returns the labels with the longest names that leave most of the picture free, else with the shortest."""
    max_area = _MOST_COVERED * picture.shape[0] * picture.shape[1]
    for most in _NAME_LENGTHS:
        labels = _labels(detections, class_names, show_scores, most)
        if sum(width * height for width, height in (_text_size(label, scale) for label in labels)) <= max_area:
            break
    return labels


def _labels(detections, class_names, show_scores, most) -> list[str]:
    known = drawn_names(class_names, most=most)
    names = [known[i] if i < len(known) else f"class {i}" for i in detections.classes.tolist()]
    if show_scores:
        names = [f"{name} {score:.2f}" for name, score in zip(names, detections.scores.tolist(), strict=True)]
    return names


def _text_size(label, scale) -> tuple[int, int]:
    """Returns width and height of a label with its margin."""
    (width, height), below = cv2.getTextSize(label, _FONT, scale, _thickness(scale))
    return width + _margin(scale) * 2, height + below + _margin(scale)


def _thickness(scale) -> int:
    return max(1, round(scale * 1.6))


def _margin(scale) -> int:
    return max(2, round(scale * 5))


def _places(boxes, labels, shape, scale) -> list[tuple[int, int, int, int]]:
    """Returns a rectangle x1, y1, x2, y2 for each label: the first spot that hides least of the labels before it."""
    taken = []
    for box, label in zip(boxes, labels, strict=True):
        spots = _spots(box, _text_size(label, scale), shape)
        hidden = [sum(_shared(spot, other) for other in taken) for spot in spots]
        taken.append(spots[hidden.index(min(hidden))])
    return taken


def _spots(box, size, shape):
    """Returns the spots for a label: above the box, inside its top, below it, inside its bottom; each moved into the image."""
    (x1, y1, _, y2), (width, height) = box, size
    left = max(min(x1, shape[1] - width), 0)
    above, inside = ([y1 - height] if y1 >= height else []), [y1]
    tops = above + inside + [y2, y2 - height]
    tops = [max(min(top, shape[0] - height), 0) for top in tops]
    return [(left, top, min(left + width, shape[1]), min(top + height, shape[0])) for top in tops]


def _shared(a, b) -> int:
    return max(min(a[2], b[2]) - max(a[0], b[0]), 0) * max(min(a[3], b[3]) - max(a[1], b[1]), 0)


def _write(picture, label, place, color, scale) -> None:
    x1, y1, x2, y2 = place
    cv2.rectangle(picture, (x1, y1), (x2 - 1, y2 - 1), color, cv2.FILLED)
    width = _text_size(label, scale)[0]
    while width > x2 - x1 and len(label) > 1:  # a label wider than the image loses letters, not its place
        label = label[:-2] + "."
        width = _text_size(label, scale)[0]
    blue, green, red = color
    ink = (0, 0, 0) if 0.114 * blue + 0.587 * green + 0.299 * red > 140 else (255, 255, 255)
    below = cv2.getTextSize(label, _FONT, scale, _thickness(scale))[1]
    start = x1 + _margin(scale), y2 - max(1, _margin(scale) // 2) - below
    cv2.putText(picture, label, start, _FONT, scale, ink, _thickness(scale), cv2.LINE_AA)


def drawn_names(
    names: Sequence[str], *, most: int = LONGEST_NAME, gap: str = "..", has: Callable[[str], bool] = str.isascii
) -> list[str]:
    """Returns class names in ASCII, all different, as OpenCV can draw them.

    Accents are dropped; a name whose letters the font does not have becomes "class 7". Of a long name, the middle
    is left out: names of a dataset often begin alike. Where two would look the same, their numbers are added.

    Args:
        names: of all classes, in their order.
        most: length up to which nothing is cut.
        gap: stands for what is left out.
        has: whether the font has the letters of a text; OpenCV's are ASCII.

    Returns:
        As many texts of at most `most` characters, for `most` from about 14 on.

    Example:
        >>> drawn_names(["café", "猫", "red blood cell, normal", "red blood cell, abnormal"])
        ['cafe', 'class 1', 'red bloo.., normal', 'red bloo..abnormal']
    """
    texts = [name if has(name) else _spelled(name, index) for index, name in enumerate(names)]
    cut = [cut_middle(text, most, gap) for text in texts]
    times = Counter(cut)
    return [
        text if times[text] == 1 or text == name else _numbered(whole, index, most, gap)
        for index, (name, whole, text) in enumerate(zip(names, texts, cut, strict=True))
    ]


def cut_middle(text: str, most: int, gap: str = "..") -> str:
    """Shortens a long text by leaving out its middle.

    Args:
        text: any.
        most: length of the result at most; longer than `gap`.
        gap: stands for what is left out.

    Returns:
        The text itself where it is short enough.

    Example:
        >>> cut_middle("international space station", 12), cut_middle("cat", 12)
        ('inter..ation', 'cat')
    """
    if len(text) <= most:
        return text
    end = (most - len(gap)) // 2
    return text[: most - len(gap) - end] + gap + text[len(text) - end :]


def ascii_text(text: str) -> str:
    """Returns a text in ASCII: accents dropped, and a question mark for each letter that has no ASCII form.

    Args:
        text: any, such as the name of a file.

    Returns:
        Text that OpenCV can draw.

    Example:
        >>> ascii_text("Größe 猫.jpg")
        'Grosse ?.jpg'
    """
    plain = unicodedata.normalize("NFKD", text.translate(_SPELLED))
    kept = (letter for letter in plain if letter.isascii() or not unicodedata.combining(letter))
    return "".join(kept).encode("ascii", "replace").decode()


def _spelled(name: str, index: int) -> str:
    """Returns a name in ASCII; with the number of the class where letters are lost, and that alone where none is left."""
    text = ascii_text(name)
    lost = text.count("?") > name.count("?")
    rest = " ".join(text.replace("?", " ").split()) if lost else text
    if not any(letter.isalpha() for letter in rest):
        return f"class {index}"
    return f"{rest} #{index}" if lost else rest


def _numbered(text: str, index: int, most: int, gap: str) -> str:
    number = f" #{index}"
    return text if text.endswith(number) else cut_middle(text, most - len(number), gap) + number


def draw_detections(image, detections: Detections, class_names, *, show_scores=True, side=None):  # [H,W,3] -> [H,W,3]
    """Draws boxes with class names and scores.

    Call it to look at predictions, or at ground truth (``show_scores=False``). Lines and letters grow with the
    image; a label stays inside it and, where possible, away from the labels of better detections. Of many objects,
    names are cut shorter, so that they do not cover the picture.

    Args:
        image: [H,W,3] uint8, BGR; left as it is. Of other channels or 16 bits as `viewable` shows them.
        detections: boxes xyxy in pixels of this image; may reach outside it.
        class_names: name of each class index; of a long name the middle is left out, accents are dropped, and a name
            in other letters shows as "class 7" (`yolox.visualize.names.drawn_names`).
        show_scores: False writes names only.
        side: px; lines and letters are those of a square image of this side, for small objects in a large image. None takes
            those that fit the image.

    Returns:
        [H,W,3] uint8, a new image. A class has the same colour in every picture.

    Raises:
        ValueError: when the image is not [H,W,C] uint8 or uint16.

    Source:
        None.

    Example:
        >>> one = Detections(np.array([[4, 30, 60, 60.0]]), np.array([0.5]), np.array([0]))
        >>> draw_detections(np.zeros((64, 64, 3), np.uint8), one, ["cat"]).shape
        (64, 64, 3)
    """
    if image.ndim != 3 or image.dtype not in (np.uint8, np.uint16):
        raise ValueError(f"draw_detections: image is {image.dtype} {image.shape}, want uint8 [H,W,3], or of other channels")
    picture = viewable(image).copy()
    boxes = _whole_pixels(detections.boxes, picture.shape)
    side = min(side or np.inf, _side(picture))
    labels = _fitting_labels(detections, class_names, show_scores, picture, _font_scale(side))
    colors = [class_color(index) for index in detections.classes.tolist()]
    line = max(1, round(side / 300))
    for box, color in reversed(list(zip(boxes, colors, strict=True))):  # the best lies on top
        cv2.rectangle(picture, box[:2], box[2:], color, line)
    draw_labels(picture, boxes, labels, colors, scale=_font_scale(side))
    return picture


def draw_labels(picture, boxes, labels, colors, *, scale=None) -> None:
    """Writes a label at each box, away from the labels before it where possible.

    Args:
        picture: [H,W,3] uint8; changed in place.
        boxes: N lists of x1, y1, x2, y2, whole pixels inside the picture.
        labels: N texts; letters outside ASCII are not drawn.
        colors: N colours of the ground, BGR.
        scale: size of the letters as OpenCV counts; None takes one that fits the picture.
    """
    scale = _font_scale(_side(picture)) if scale is None else scale
    places = _places(boxes, labels, picture.shape, scale)
    for label, place, color in reversed(list(zip(labels, places, colors, strict=True))):
        _write(picture, label, place, color, scale)


def enlarge_small(image, detections: Detections, *, least=480):  # [H,W,3] -> [kH,kW,3]
    """Enlarges a small image and its boxes by a whole factor, so that labels fit.

    Args:
        image: [H,W,3] uint8, or of other channels or 16 bits, as `viewable` shows them.
        detections: boxes in pixels of it.
        least: sides that the longer side should reach, px.

    Returns:
        Image and detections; the same ones where nothing is to be done.

    Example:
        >>> image, found = enlarge_small(np.zeros((96, 128, 3), np.uint8), Detections())
        >>> image.shape
        (384, 512, 3)
    """
    factor = -(-least // max(image.shape[:2]))
    if factor == 1:
        return image, detections
    bigger = cv2.resize(viewable(image), None, fx=factor, fy=factor, interpolation=cv2.INTER_NEAREST)
    return bigger, evolve(detections, boxes=detections.boxes * factor)
