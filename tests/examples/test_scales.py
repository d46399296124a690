"""Every scale's script builds, trains one step at 64 px, and evaluates."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import attrs
import numpy as np
import pytest
from mindspore import Tensor

from tests.nn.scales import PARAMETERS
from yolox.data.sample import Sample
from yolox.detection_loss import Losses
from yolox.eval.postprocess import postprocess
from yolox.eval.predict import make_eval_step
from yolox.nn import count_parameters, initialise
from yolox.parallel import Group
from yolox.train import create_train_state

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


@pytest.mark.slow
@pytest.mark.parametrize("scale", PARAMETERS)
def test_scale_builds_trains_a_step_and_evaluates(scale):
    script = load_script(f"yolox_{scale}")
    experiment = script.EXPERIMENT
    assert experiment.name == f"yolox-{scale}" and set(experiment.recipes) == {"megvii", "mindyolo"}
    recipe = experiment.recipes["megvii"]
    detector = experiment.build_detector(80)
    assert count_parameters(detector) == PARAMETERS[scale]
    assert round(PARAMETERS[scale] / 1e6, 2) == pytest.approx(experiment.published.parameters_m, abs=0.05)
    initialise(detector, seed=0)
    state = create_train_state(detector)
    before = state.params[0].asnumpy().copy()
    step = experiment.make_step(detector, state, recipe)
    outputs = step(*batch(64), *(Tensor(value) for value in (1e-6, 0.1, 1.0)))
    losses = [float(value.asnumpy()) for value in Losses(*outputs[:6])]
    assert np.isfinite(losses).all() and losses[-1] >= 1 and bool(outputs[6].asnumpy())
    assert (state.params[0].asnumpy() != before).any()
    evaluate = make_eval_step(detector, spec=attrs.evolve(recipe.input, input_size=(64, 64)))
    decoded = evaluate(np.zeros((1, 64, 64, 3), np.uint8)).asnumpy()
    assert decoded.shape == (1, 84, 85) and np.isfinite(decoded).all()
    assert len(postprocess(decoded[0], config=recipe.postprocess)) <= recipe.postprocess.max_detections


@pytest.mark.parametrize("scale", PARAMETERS)
@pytest.mark.parametrize("name", ["megvii", "mindyolo"])
def test_the_step_is_made_of_the_recipe_and_its_reducers(monkeypatch, scale, name):
    script, made, called = load_script(f"yolox_{scale}"), {}, {}
    monkeypatch.setattr(script, "recipe_reducers", lambda recipe, group: (recipe.optim.gradient_reduction, group))
    monkeypatch.setattr(script, "make_train_step", lambda _, loss, __, **knobs: made.update(knobs, loss_fn=loss))
    monkeypatch.setattr(script, "detection_loss", lambda *parts, **knobs: called.update(knobs, parts=parts))
    recipe, group = script.EXPERIMENT.recipes[name], Group(1, 2)
    script.make_step(None, None, recipe, group)
    made.pop("loss_fn")(*"abcde")
    assert made == {"optim": recipe.optim, "spec": recipe.input, "reduce_gradients": recipe.optim.gradient_reduction}
    configs = {"assign": recipe.assign, "loss": recipe.loss, "reduce_num_pos": group}
    assert called == {"parts": tuple("abcde"), **configs}


@pytest.mark.parametrize("scale", PARAMETERS)
def test_docstring_states_published_ap_and_commands(scale):
    script = load_script(f"yolox_{scale}")
    published = script.EXPERIMENT.published
    for part in (published.ap_megvii, published.ap_mindyolo, f"{PARAMETERS[scale]:,}", "not repeated here"):
        assert str(part) in script.__doc__
    assert all(
        f"python examples/yolox_{scale}.py {verb}" in script.__doc__ for verb in ("train", "eval", "predict")
    )


def test_scripts_fit_on_a_page():
    assert all(len(path.read_text().splitlines()) <= 70 for path in EXAMPLES.glob("yolox_*.py"))
