"""Every scale's script: its size, one training step, an evaluation, and what its docstring promises."""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import pytest

from tests.examples.one_step import EXAMPLES, load_script, train_and_evaluate
from tests.nn.scales import PARAMETERS
from yolox.distributed import Group
from yolox.nn import count_parameters


@pytest.mark.slow
@pytest.mark.parametrize("scale", PARAMETERS)
def test_scale_has_the_published_size(scale):
    experiment = load_script(f"yolox_{scale}").EXPERIMENT
    assert experiment.name == f"yolox-{scale}" and set(experiment.recipes) == {"megvii", "mindyolo"}
    assert count_parameters(experiment.build_detector(80)) == PARAMETERS[scale]
    assert round(PARAMETERS[scale] / 1e6, 2) == pytest.approx(experiment.published.parameters_m, abs=0.05)


@pytest.mark.slow
@pytest.mark.parametrize("scale", PARAMETERS)
def test_scale_trains_a_step_and_evaluates(scale):
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as process:
        process.submit(train_and_evaluate, scale).result()


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
