"""The seven models: published sizes, fresh weights, and the same layers as the scripts of `examples/`."""

import pytest

import yolox
from tests.examples.one_step import load_script
from tests.nn.scales import PARAMETERS
from yolox import models
from yolox.cli.experiment import scale_experiment
from yolox.nn import count_parameters


def layers(detector):
    return [(parameter.name, parameter.shape, parameter.requires_grad) for parameter in detector.get_parameters()]


@pytest.mark.parametrize("scale", ["nano", pytest.param("tiny", marks=pytest.mark.slow)])
def test_the_script_of_a_scale_assembles_the_model(scale):
    experiment, model = load_script(f"yolox_{scale}").EXPERIMENT, models.build(scale)
    assert layers(experiment.build_detector(80)) == layers(model)
    assert experiment.published == models.PUBLISHED[scale]


@pytest.mark.slow
@pytest.mark.parametrize("scale", ["s", "m", "l", "x", "darknet53"])
def test_the_script_of_a_large_scale_assembles_the_model(scale):
    test_the_script_of_a_scale_assembles_the_model(scale)


def test_nano_has_the_published_size_and_weights_of_its_seed():
    first, second, other = models.yolox_nano(3), models.yolox_nano(num_classes=3), models.yolox_nano(3, seed=1)
    assert count_parameters(models.yolox_nano()) == PARAMETERS["nano"]
    a, b, c = (next(iter(detector.get_parameters())).asnumpy() for detector in (first, second, other))
    assert (a == b).all() and (a != c).any()


def test_an_unknown_scale_is_refused():
    with pytest.raises(ValueError, match="got scale 'huge', want one of nano, tiny, s, m, l, x, darknet53"):
        models.build("huge")


@pytest.mark.parametrize("scale", models.SCALES)
def test_command_and_script_have_the_same_recipes_and_numbers(scale):
    script, command = load_script(f"yolox_{scale}").EXPERIMENT, scale_experiment(scale)
    for name in ("name", "recipes", "published", "make_step"):
        assert getattr(script, name) == getattr(command, name)


def test_the_version_is_that_of_the_distribution():
    assert yolox.__version__[0].isdigit()
