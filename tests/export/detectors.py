"""A detector that is quick to export, with predictions that differ from point to point."""

from __future__ import annotations

import numpy as np
from mindspore import Tensor

from yolox.config import InputSpec
from yolox.nn import PAFPN, CSPDarknet, DecoupledHead, Detector, initialise

SPEC = InputSpec(input_size=(96, 128))
NAMES = ("cat", "dog", "hippopotamus")


def small_detector() -> Detector:
    args = {"width": 0.125, "depthwise": True}
    detector = Detector(CSPDarknet(0.33, **args), PAFPN(0.33, **args), DecoupledHead(len(NAMES), **args))
    initialise(detector, seed=0)
    rng = np.random.default_rng(0)
    for parameter in detector.get_parameters():
        values = parameter.asnumpy()
        if "moving_variance" in parameter.name or parameter.name.endswith("gamma"):
            parameter.set_data(Tensor(rng.uniform(0.5, 2.0, values.shape).astype(np.float32)))
        elif parameter.name.endswith(("moving_mean", "beta")):
            parameter.set_data(Tensor(rng.normal(0, 0.3, values.shape).astype(np.float32)))
        elif "_preds" in parameter.name:
            scale = 1.0 if parameter.name.endswith("weight") else 0.5
            parameter.set_data(Tensor(rng.normal(0, scale, values.shape).astype(np.float32)))
    return detector.set_train(False)


def pictures(count: int, *, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, *SPEC.input_size, 3), np.uint8)
