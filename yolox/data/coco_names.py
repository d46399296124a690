"""Names of COCO's 80 classes, for weights that were trained on COCO and carry no names."""

from __future__ import annotations

_TEXT = """
person, bicycle, car, motorcycle, airplane, bus, train, truck, boat, traffic light, fire hydrant,
stop sign, parking meter, bench, bird, cat, dog, horse, sheep, cow, elephant, bear, zebra, giraffe,
backpack, umbrella, handbag, tie, suitcase, frisbee, skis, snowboard, sports ball, kite, baseball bat,
baseball glove, skateboard, surfboard, tennis racket, bottle, wine glass, cup, fork, knife, spoon,
bowl, banana, apple, sandwich, orange, broccoli, carrot, hot dog, pizza, donut, cake, chair, couch,
potted plant, bed, dining table, toilet, tv, laptop, mouse, remote, keyboard, cell phone, microwave,
oven, toaster, sink, refrigerator, book, clock, vase, scissors, teddy bear, hair drier, toothbrush
"""
COCO_NAMES = tuple(name.strip() for name in _TEXT.split(","))
"""The 80 names in the order of rising category ids, which is the order of the networks' class outputs."""


def names_of_classes(num_classes: int, known: tuple[str, ...] | None = None) -> tuple[str, ...]:
    """Name the classes of a detector: as known, as COCO's if there are 80, else by number.

    Args:
        num_classes: C, used where no names are known.
        known: C names; None where there are none.

    Returns:
        C names.

    Example:
        >>> names_of_classes(2), names_of_classes(80)[16]
        (('class 0', 'class 1'), 'dog')
    """
    if known is not None:
        return tuple(known)
    return COCO_NAMES if num_classes == len(COCO_NAMES) else tuple(f"class {i}" for i in range(num_classes))
