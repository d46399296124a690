"""Recipes to dicts and JSON and back; every wrong field is named."""

from __future__ import annotations

import json

import attrs
import pytest

from yolox.config import OptimConfig, Recipe
from yolox.config_io import STORED_KEYS, recipe_from_dict, recipe_from_json, recipe_to_dict, recipe_to_json
from yolox.errors import RecipeError
from yolox.recipes import SCALES, megvii_recipe, mindyolo_recipe


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("make", [megvii_recipe, mindyolo_recipe])
def test_round_trip_of_every_published_recipe(make, scale):
    recipe = make(scale)
    assert recipe_from_dict(recipe_to_dict(recipe)) == recipe
    assert recipe_from_json(recipe_to_json(recipe)) == recipe


def test_json_has_every_field_and_only_plain_values():
    text = recipe_to_json(Recipe())
    assert text.endswith("}\n")
    data = json.loads(text)
    assert data == recipe_to_dict(Recipe())
    assert set(data) == {STORED_KEYS.get(field.name, field.name) for field in attrs.fields(Recipe)}
    assert data["input"]["input_size"] == [640, 640]
    assert data["optim"]["lr"] is None


def test_missing_fields_take_defaults_and_whole_numbers_become_floats():
    recipe = recipe_from_dict({"epochs": 40, "optim": {"lr": 1, "lr_per_image": None}})
    assert (recipe.epochs, recipe.optim.lr, type(recipe.optim.lr)) == (40, 1.0, float)
    assert recipe_from_dict({}) == Recipe()
    assert attrs.evolve(recipe, epochs=300, optim=OptimConfig()) == Recipe()


STORED = """{
  "epochs": 40, "plain_epochs": 6, "eval_interval": 5, "plain_eval_interval": 2,
  "loader": {"batch_size": 4, "max_truths": 50, "truth_paddings": [8, 24]}
}"""


def test_keys_of_stored_recipes_stay_when_fields_are_renamed():
    recipe = recipe_from_json(STORED)
    assert (recipe.no_aug_epochs, recipe.no_aug_eval_interval) == (6, 2)
    assert (recipe.loader.max_gt, recipe.loader.gt_paddings) == (50, (8, 24))
    written, stored = json.loads(recipe_to_json(recipe)), json.loads(STORED)
    loader = stored.pop("loader")
    assert stored.items() <= written.items() and loader.items() <= written["loader"].items()
    assert not STORED_KEYS.keys() & {*written, *written["loader"]}


WRONG = [
    ({"loader": {"max_truths": 0}}, "recipe.loader.max_truths: got 0, want a positive number"),
    ({"loader": {"truth_paddings": [0]}}, r"recipe.loader.truth_paddings: got \(0,\), want .* below max_truths 120"),
    ({"loader": {"max_truth": 9}}, r"recipe.loader.max_truth: no such field; did you mean 'max_truths'\?"),
    ({"epoch": 3}, r"recipe.epoch: no such field; did you mean 'epochs'\?"),
    ({"optim": {"qqqq": 3}}, "recipe.optim.qqqq: no such field; known are optimizer, lr_per_image, lr, momentum"),
    ({"epochs": 3.0}, r"recipe.epochs: got 3.0 \(float\), want int"),
    ({"epochs": True}, r"recipe.epochs: got True \(bool\), want int"),
    ({"epochs": "3"}, r'recipe.epochs: got "3" \(str\), want int'),
    ({"epochs": None}, r"recipe.epochs: got null \(NoneType\), want int"),
    ({"epochs": 0}, "recipe.epochs: got 0, want a positive number"),
    ({"optim": []}, r"recipe.optim: got \[\] \(list\), want an object with fields"),
    ({"optim": {"momentum": "0.9"}}, r"recipe.optim.momentum: got \"0.9\" \(str\), want float"),
    (
        {"optim": {"momentum": float("nan")}},
        r"recipe.optim.momentum: got NaN \(float\), want a finite number",
    ),
    ({"optim": {"momentum": float("inf")}}, "recipe.optim.momentum: .*want a finite number"),
    ({"optim": {"momentum": 10**400}}, "recipe.optim.momentum: .*want a finite number"),
    ({"optim": {"lr": 0.1}}, "recipe.optim.lr: got lr=0.1 and lr_per_image=.*, want exactly one"),
    ({"optim": {"precision": "int8"}}, "recipe.optim.precision: .*want one of 'float32', 'float16'"),
    ({"optim": {"precision": ["float32"]}}, "recipe.optim.precision: .*want one of"),
    ({"input": {"input_size": 640}}, "recipe.input.input_size: .*want a list"),
    ({"input": {"input_size": [640]}}, "recipe.input.input_size: 1 values, want 2"),
    ({"input": {"input_size": [640, 6.5]}}, r"recipe.input.input_size\[1\]: got 6.5 \(float\), want int"),
    ({"input": {"input_size": [640, 100]}}, "recipe.input.input_size: got .*multiples of 32"),
    ({"loader": {"multiscale_sizes": [320, "x"]}}, r"recipe.loader.multiscale_sizes\[1\]: got \"x\""),
    ({"postprocess": {"multi_label": 1}}, r"recipe.postprocess.multi_label: got 1 \(int\), want bool"),
    ([], r"recipe: got \[\] \(list\), want an object"),
]


@pytest.mark.parametrize(("data", "message"), WRONG)
def test_wrong_fields_are_named(data, message):
    with pytest.raises(RecipeError, match=message):
        recipe_from_dict(data)


@pytest.mark.parametrize("text", ["", "{", "[" * 100_000, "{'epochs': 3}"])
def test_text_that_is_no_json_is_refused(text):
    with pytest.raises(RecipeError, match="recipe: not JSON"):
        recipe_from_json(text)
