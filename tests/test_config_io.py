"""Recipes to dicts and JSON and back; every wrong field is named."""

from __future__ import annotations

import json

import attrs
import pytest

from yolox.config import OptimConfig, Recipe
from yolox.config_io import (
    STORED_KEYS,
    read_recipe,
    recipe_from_dict,
    recipe_from_json,
    recipe_to_dict,
    recipe_to_json,
    save_recipe,
)
from yolox.errors import RecipeError
from yolox.recipes import RECIPES, SCALES, published_recipes


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("make", RECIPES.values())
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


BASES = published_recipes("s")
CHANGED = attrs.evolve(
    BASES["rtmdet"],
    epochs=50,
    no_aug_epochs=5,
    loader=attrs.evolve(BASES["rtmdet"].loader, batch_size=4, multiscale_sizes=(), max_gt=40),
    optim=attrs.evolve(BASES["rtmdet"].optim, lr=0.001, lr_per_image=None, betas=(0.8, 0.9), clip_norm=10.0),
)


@pytest.mark.parametrize("suffix", [".toml", ".json", ".TOML"])
@pytest.mark.parametrize("recipe", [*RECIPES, "changed"])
def test_a_saved_recipe_is_read_back(tmp_path, recipe, suffix):
    wanted = CHANGED if recipe == "changed" else BASES[recipe]
    save_recipe(tmp_path / f"a{suffix}", wanted, BASES)
    assert read_recipe(tmp_path / f"a{suffix}", BASES) == wanted


def test_a_saved_recipe_names_the_nearest_base_and_only_what_differs(tmp_path):
    save_recipe(tmp_path / "a.toml", CHANGED, BASES)
    assert (tmp_path / "a.toml").read_text() == """base = "rtmdet"
epochs = 50
no_aug_epochs = 5

[loader]
batch_size = 4
max_gt = 40
multiscale_sizes = []

[optim]
lr = 0.001
betas = [0.8, 0.9]
clip_norm = 10.0
"""


def test_a_file_by_hand_takes_both_kinds_of_names_and_one_rate(tmp_path):
    (tmp_path / "a.toml").write_text('base = "mindyolo"\nplain_epochs = 7\n[loader]\nmax_gt = 9\n[optim]\nlr_per_image = 0.001\n')
    recipe = read_recipe(tmp_path / "a.toml", BASES)
    assert (recipe.no_aug_epochs, recipe.loader.max_gt, recipe.optim.lr, recipe.optim.lr_per_image) == (7, 9, None, 0.001)
    assert recipe.input == BASES["mindyolo"].input
    (tmp_path / "a.json").write_text(json.dumps({"base": "megvii", "optim": {"lr": 0.5}}))
    assert read_recipe(tmp_path / "a.json", BASES).optim.lr_per_image is None


def test_the_recipe_of_a_run_is_a_recipe_file(tmp_path):
    (tmp_path / "recipe.json").write_text(recipe_to_json(CHANGED))
    assert read_recipe(tmp_path / "recipe.json", {}) == CHANGED


REFUSED = [
    ("a.toml", 'base = "megvi"', "a.toml: base is 'megvi', which is no recipe; did you mean 'megvii'?"),
    ("a.toml", 'base = "?"', "want one of megvii, mindyolo, rtmdet, paddle, best"),
    ("a.toml", "base = 3", "a.toml: base is 3, which is no recipe"),
    ("a.toml", "epochs = 5", "a.toml: no base, and no input, augment, loader, assign, loss, optim, postprocess; want base ="),
    ("a.toml", 'base = "megvii"\nepoch = 3', "a.toml: recipe.epoch: no such field; did you mean 'epochs'"),
    ("a.toml", 'base = "megvii"\n[optim]\nmomentun = 0.5', "recipe.optim.momentun: no such field; did you mean 'momentum'"),
    ("a.toml", 'base = "megvii"\noptim = 3', "recipe.optim: got 3 .int., want an object with fields"),
    ("a.toml", 'base = "megvii"\n[optim]\nmomentum = 5.0', "recipe.optim.momentum: got 5.0, want a number in"),
    ("a.toml", 'base = "megvii"\nepochs = 2026-01-01', "a.toml: recipe.epochs: got .2026-01-01. .date., want int"),
    ("a.toml", 'base = ["megvii"]', r"a.toml: base is .'megvii'., which is no recipe"),
    ("a.toml", "[base]", "a.toml: base is {}, which is no recipe; want one of megvii"),
    ("a.toml", 'base = "megvii"\nplain_epochs = 3\nno_aug_epochs = 3', "plain_epochs is there twice, by its two names"),
    ("a.toml", "base = ", "a.toml: cannot be read as TOML"),
    ("a.json", "{", "a.json: cannot be read as JSON"),
    ("a.json", '{"base": "megvii", "base": "best"}', "has the key 'base' twice"),
    ("a.json", "[" * 100_000, "a.json: cannot be read as JSON"),
    ("a.json", "[1]", r"a.json: got \[1\] .list., want an object with fields"),
    ("a.yaml", "epochs: 3", r"a.yaml: want a recipe file that ends in .toml or .json"),
    ("a.json", " " * (2 << 20), "a.json: 2097152 bytes, want a recipe of at most 1048576"),
]


@pytest.mark.parametrize(("name", "text", "message"), REFUSED)
def test_files_that_cannot_be_meant_are_refused_by_name(tmp_path, name, text, message):
    (tmp_path / name).write_text(text)
    with pytest.raises(RecipeError, match=message):
        read_recipe(tmp_path / name, BASES)


def test_files_that_cannot_be_read_or_written(tmp_path):
    with pytest.raises(RecipeError, match="none.toml: no such file$") as missing:
        read_recipe(tmp_path / "none.toml", BASES)
    assert str(missing.value) == f"{tmp_path / 'none.toml'}: no such file"
    (tmp_path / "a.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(RecipeError, match="a.toml: cannot be read as TOML"):
        read_recipe(tmp_path / "a.toml", BASES)
    with pytest.raises(RecipeError, match="not written"):
        save_recipe(tmp_path / "no" / "a.toml", CHANGED, BASES)
    with pytest.raises(RecipeError, match="ends in .toml or .json"):
        save_recipe(tmp_path / "a.txt", CHANGED, BASES)
    # all bases have a canvas here: that there is none cannot be said in TOML
    bases, none = {"rtmdet": BASES["rtmdet"]}, attrs.evolve(CHANGED, augment=attrs.evolve(CHANGED.augment, canvas_size=None))
    with pytest.raises(RecipeError, match="augment.canvas_size is null, which TOML does not have; want a file that ends in"):
        save_recipe(tmp_path / "b.toml", none, bases)
    save_recipe(tmp_path / "b.json", none, bases)
    assert read_recipe(tmp_path / "b.json", bases) == none
