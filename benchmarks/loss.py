"""Time the loss: decoded predictions in, assignment, losses, gradient to the predictions.

    python benchmarks/loss.py                           nano at 416 px, 8 images, 8 ground truths each
    python benchmarks/loss.py --per-image 120           every row full
    python benchmarks/loss.py --size 640 --batch 2      s at 640 px
    python benchmarks/loss.py --assign dense            whole [B,G,P] tables

Prints one JSON line: work, median_s, min_s, max_s, first_s, peak_mb, and over_mb, the peak above the inputs.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import mindspore as ms  # noqa: E402, I001

import yolox  # noqa: E402, F401 (first: it picks the fast CPU path)
from benchmarks.measure import measure, peak_mb, print_json  # noqa: E402
from benchmarks.outputs import STRIDES, make_outputs  # noqa: E402
from benchmarks.ground_truths import make_ground_truths  # noqa: E402
from yolox.assign.simota import simota_assign, simota_assign_gathered  # noqa: E402
from yolox.yolox_loss import decoded_loss  # noqa: E402
from yolox.decode import make_points  # noqa: E402

FORMS = {"gathered": simota_assign_gathered, "dense": simota_assign}


def loss(size: int, batch: int, *, per_image: int = 8, form: str = "gathered") -> Callable[[], object]:
    """Assignment, losses and the gradient to decoded predictions."""
    points, strides = map(ms.Tensor, make_points((size, size), STRIDES))
    gt = tuple(ms.Tensor(part) for part in make_ground_truths(batch, size, per_image=per_image))
    outputs = ms.Tensor(make_outputs(batch, size))
    assign_fn = FORMS[form]

    def forward(decoded, gt_boxes, gt_classes, valid):
        return decoded_loss(decoded, points, strides, gt_boxes, gt_classes, valid, assign_fn=assign_fn)[0]

    gradient_fn = ms.value_and_grad(forward, 0)

    @ms.jit
    def step(decoded, gt_boxes, gt_classes, valid):
        return gradient_fn(decoded, gt_boxes, gt_classes, valid)

    def call() -> float:
        value, gradient = step(outputs, *gt)
        gradient.asnumpy()
        return float(value.asnumpy())

    return call


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=416)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--per-image", type=int, default=8, help="valid ground truths of 120 rows")
    parser.add_argument("--assign", choices=FORMS, default="gathered")
    parser.add_argument("--repeats", type=int, default=8)
    options = parser.parse_args()
    call = loss(options.size, options.batch, per_image=options.per_image, form=options.assign)
    before = peak_mb()
    work = f"loss {options.size} b{options.batch}, {options.per_image} truths, {options.assign}"
    result = measure(work, call, repeats=options.repeats)
    print_json({**result, "over_mb": round(peak_mb() - before)})


if __name__ == "__main__":
    main()
