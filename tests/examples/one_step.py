"""One training step and one evaluation of a scale's script, for a process of its own: the graphs of seven scales in one
process take 16 GB."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import attrs
import numpy as np
from mindspore import Tensor

from yolox.data.sample import Sample
from yolox.eval.postprocess import postprocess
from yolox.eval.predict import make_eval_step
from yolox.nn import initialise
from yolox.training.step import create_train_state

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


def load_script(name: str):
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # MindSpore looks the source of the loss up by the name of its module
    spec.loader.exec_module(module)
    return module


def batch(size: int) -> tuple:
    """One image of noise with a square in it; with a batch of one, gradients are large."""
    image = np.random.default_rng(0).integers(0, 256, (size, size, 3)).astype(np.uint8)
    image[16:48, 8:40] //= 2
    sample = Sample(image, np.array([[8, 16, 40, 48]], np.float32), np.array([1], np.int32))
    arrays = (sample.image[None], sample.boxes[None], sample.classes[None], np.ones((1, 1), bool))
    return tuple(Tensor(array) for array in arrays)


def train_and_evaluate(scale: str) -> None:
    """Build a scale with 80 classes, train a step of its best recipe at 64 px, predict with a compiled step; assert each."""
    experiment = load_script(f"yolox_{scale}").EXPERIMENT
    recipe, detector = experiment.recipes["best"], experiment.build_detector(80)
    initialise(detector, seed=0)
    state = create_train_state(detector, optimizer=recipe.optim.optimizer)
    before = state.params[0].asnumpy().copy()
    step = experiment.make_step(detector, state, recipe)
    losses, num_pos, finite, _ = step(*batch(64), *(Tensor(value) for value in (1e-6, 0.1, 1.0)))
    assert np.isfinite([value.item() for value in losses.values()]).all() and num_pos.item() >= 1 and finite.item()
    assert (state.params[0].asnumpy() != before).any()
    evaluate = make_eval_step(detector, spec=attrs.evolve(recipe.input, input_size=(64, 64)))
    decoded = evaluate(np.zeros((1, 64, 64, 3), np.uint8)).asnumpy()
    assert decoded.shape == (1, 84, 85) and np.isfinite(decoded).all()
    assert len(postprocess(decoded[0], config=recipe.postprocess)) <= recipe.postprocess.max_detections
