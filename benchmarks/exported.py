"""Time an exported nano beside the official ONNX file in ONNX Runtime, in turns, so that both meet the same machine.

    python benchmarks/exported.py --weights yolox_nano.npz --official yolox_nano.onnx

Prints one JSON line: medians in milliseconds of both, their ratio, and the ratio of the fastest calls. The official
file stops before decoding; ours decodes.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

import numpy as np
import onnxruntime

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from examples.yolox_nano import build_detector  # noqa: E402
from yolox.config import InputSpec  # noqa: E402
from yolox.data.classes import COCO_NAMES  # noqa: E402
from yolox.export import export_detector  # noqa: E402
from yolox.weights.load import load_weights  # noqa: E402


def main() -> None:
    """Export, then time both."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", type=Path, required=True, help="nano's official weights")
    parser.add_argument("--official", type=Path, required=True, help="the official ONNX file")
    parser.add_argument("--repeats", type=int, default=300, help="timed calls of each")
    options = parser.parse_args()
    detector = build_detector(80)
    load_weights(detector, options.weights)
    with tempfile.TemporaryDirectory() as folder:
        path, spec = Path(folder) / "nano.onnx", InputSpec(input_size=(416, 416))
        export_detector(detector, path, spec=spec, class_names=COCO_NAMES)
        ours, official = (_caller(str(file)) for file in (path, options.official))
    times = {"ours": [], "official": []}
    for _ in range(options.repeats):
        for name, call in (("ours", ours), ("official", official)):
            start = time.perf_counter()
            call()
            times[name].append((time.perf_counter() - start) * 1e3)
    print(json.dumps(_summary(times)))


def _caller(path: str):
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    feed = {session.get_inputs()[0].name: np.random.default_rng(0).uniform(0, 255, (1, 3, 416, 416)).astype(np.float32)}
    for _ in range(10):
        session.run(None, feed)
    return lambda: session.run(None, feed)


def _summary(times: dict[str, list[float]]) -> dict:
    middle = {f"{name}_ms": round(median(values), 2) for name, values in times.items()}
    ratios = {
        "ratio": round(median(times["ours"]) / median(times["official"]), 3),
        "ratio_of_fastest": round(min(times["ours"]) / min(times["official"]), 3),
    }
    return {**middle, **ratios}


if __name__ == "__main__":
    main()
