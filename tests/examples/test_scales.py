"""Every scale's script: its size, a step of `train --recipe best`, an evaluation, and what its docstring promises."""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import pytest

from tests.examples.one_step import EXAMPLES, load_script, train_best
from tests.nn.scales import PARAMETERS
from yolox.nn import count_parameters
from yolox.training.step import make_recipe_step


@pytest.mark.slow
@pytest.mark.parametrize("scale", PARAMETERS)
def test_scale_has_the_published_size(scale):
    experiment = load_script(f"yolox_{scale}").EXPERIMENT
    assert experiment.name == f"yolox-{scale}" and set(experiment.recipes) == {"megvii", "mindyolo", "rtmdet", "paddle", "best"}
    assert count_parameters(experiment.build_detector(80)) == PARAMETERS[scale]
    assert round(PARAMETERS[scale] / 1e6, 2) == pytest.approx(experiment.published.parameters_m, abs=0.05)


@pytest.mark.slow
@pytest.mark.parametrize("scale", PARAMETERS)
def test_scale_trains_a_step_by_its_best_recipe_and_evaluates(scale, tmp_path):
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as process:
        process.submit(train_best, scale, tmp_path).result()


@pytest.mark.parametrize("scale", PARAMETERS)
def test_the_step_is_that_of_the_recipe(scale):
    assert load_script(f"yolox_{scale}").EXPERIMENT.make_step is make_recipe_step


@pytest.mark.parametrize("scale", PARAMETERS)
def test_docstring_states_published_ap_and_commands(scale):
    script = load_script(f"yolox_{scale}")
    published = script.EXPERIMENT.published
    for part in (published.ap_megvii, published.ap_mindyolo, f"{PARAMETERS[scale]:,}", "not repeated here"):
        assert str(part) in script.__doc__
    assert all(
        f"python examples/yolox_{scale}.py {command}" in script.__doc__ for command in ("train", "eval", "predict")
    )


def test_scripts_fit_on_a_page():
    assert all(len(path.read_text().splitlines()) <= 70 for path in EXAMPLES.glob("yolox_*.py"))
