"""Recipes: every published number, and exactly which fields tell the four apart."""

import ast
import re
from pathlib import Path

import attrs
import pytest

from yolox.config import Recipe
from yolox.models import PUBLISHED
from yolox.recipes import (
    RECIPES,
    SCALES,
    best_recipe_name,
    megvii_recipe,
    mindyolo_recipe,
    paddle_recipe,
    published_ap,
    published_recipes,
    rtmdet_recipe,
)

# field: (Megvii, MindYOLO, RTMDet of mmyolo, PaddleDetection), for scale s; where a field is not named the recipes agree
DIFFERENCES = {
    "no_aug_epochs": (16, 15, 20, 15),
    "eval_interval": (10, 25, 10, 10),
    "no_aug_eval_interval": (1, 5, 1, 10),
    "input.channel_order": ("bgr", "rgb", "bgr", "rgb"),
    "input.pixel_scale": (1.0, 1 / 255, 1.0, 1.0),
    "input.letterbox": ("top_left", "center", "top_left", "top_left"),
    "input.shrink_interpolation": ("linear", "area", "linear", "linear"),
    "augment.mosaic_partners": ("uniform", "buffer", "uniform", "uniform"),
    "augment.affine_scale": ((0.1, 2.0), (0.1, 1.9), (0.1, 2.0), (0.1, 2.0)),
    "augment.affine_center": (False, True, False, False),
    "augment.box_filter": ("min_side", "candidates", "min_side", "min_side"),
    "augment.mixup_partner": ("image", "mosaic", "image", "image"),
    "augment.hsv_mode": ("additive", "multiplicative", "additive", "additive"),
    "augment.hsv_gains": ((5.0, 30.0, 30.0), (0.015, 0.7, 0.4), (5.0, 30.0, 30.0), (5.0, 30.0, 30.0)),
    "augment.mixup_scale": ((0.5, 1.5), (0.5, 1.5), (0.8, 1.6), (0.5, 1.5)),
    "augment.canvas_size": (None, None, (640, 640), (640, 640)),
    "assign.prior": ("center", "box_and_center", "box_or_center", "box_or_center"),
    "assign.outside_penalty": (1000000.0, 1000.0, 100000.0, 100000000.0),
    "assign.center_radius": (1.5, 1.5, 2.5, 2.5),
    "loss.loss_normalizer": ("local", "local", "global", "local"),
    "optim.lr_per_image": (0.01 / 64, None, 0.004 / 256, 0.01 / 64),
    "optim.lr": (None, 0.01, None, None),
    "optim.warmup_start": (0.0, 0.01, 0.0, 0.0),
    "optim.ema_decay": (0.9998, 0.9999, 0.9998, 0.9999),
    "optim.gradient_reduction": ("mean", "sum", "mean", "mean"),
    "optim.average_bn_stats": (True, False, True, True),
    "optim.sync_bn": (False, False, False, True),
    "optim.weight_decay": (0.0005, 0.0005, 0.05, 0.0005),
    "optim.flat_epochs": (15, 15, 20, 15),
    "optim.optimizer": ("sgd", "sgd", "adamw", "sgd"),
    "loader.last_batch": ("fill", "drop", "fill", "drop"),
    "loader.max_gt": (120, 160, 120, 120),
    "loader.multiscale_sizes": (tuple(range(480, 801, 32)), (), tuple(range(480, 801, 32)), tuple(range(480, 801, 32))),
    "loader.workers": (4, 8, 8, 4),
    "loader.seed": (0, 2, 0, 0),
    "loader.batch_size": (8, 8, 32, 8),
    "loader.multiscale_interval": (10, 10, 1, 10),
    "loader.min_image_side": (0, 0, 32, 0),
    "postprocess.score_threshold": (0.01, 0.001, 0.001, 0.001),
    "postprocess.multi_label": (False, True, True, True),
    "postprocess.max_detections": (30000, 300, 300, 1000),
    "postprocess.max_candidates": (30000, 30000, 30000, 10000),
}

COMMON = {
    "epochs": 300,
    "input.pad_value": 114,
    "input.channels": 3,
    "input.max_value": 255,
    "input.mean": (0.0, 0.0, 0.0),
    "input.std": (1.0, 1.0, 1.0),
    "augment.mosaic_prob": 1.0,
    "augment.mixup_prob": 1.0,
    "augment.degrees": 10.0,
    "augment.translate": 0.1,
    "augment.shear": 2.0,
    "augment.hsv_prob": 1.0,
    "augment.flip_prob": 0.5,
    "assign.top_k": 10,
    "assign.cost_iou_weight": 3.0,
    "loss.loss_iou_weight": 5.0,
    "loss.loss_obj_weight": 1.0,
    "loss.loss_cls_weight": 1.0,
    "loss.loss_l1_weight": 1.0,
    "optim.momentum": 0.9,
    "optim.warmup_epochs": 5,
    "optim.min_lr_ratio": 0.05,
    "optim.ema_ramp": 2000.0,
    "optim.loss_scale": 1024.0,
    "optim.precision": "float32",
    "optim.betas": (0.9, 0.999),
    "optim.eps": 1e-08,
    "optim.clip_norm": None,
    "loader.accumulate": 1,
    "loss.class_weights": (),
    "loss.class_balance": "none",
    "postprocess.iou_threshold": 0.65,
}


def fields(value, prefix=""):
    flat = {}
    for field in attrs.fields(type(value)):
        item = getattr(value, field.name)
        name = prefix + field.name
        flat |= fields(item, name + ".") if attrs.has(type(item)) else {name: item}
    return flat


def differences(one, other):
    one, other = fields(one), fields(other)
    return {name: (one[name], other[name]) for name in one if one[name] != other[name]}


ALL = pytest.mark.parametrize("recipe", [megvii_recipe, mindyolo_recipe, rtmdet_recipe, paddle_recipe])


def test_the_recipes_differ_in_exactly_these_fields():
    flat = [fields(make("s")) for make in RECIPES.values()]
    different = {name: tuple(each[name] for each in flat) for name in flat[0]}
    assert {name: values for name, values in different.items() if len({*values}) > 1} == DIFFERENCES


@ALL
def test_common_numbers(recipe):
    flat = fields(recipe("s"))
    assert {name: flat[name] for name in COMMON} == COMMON


def test_every_field_has_a_published_or_chosen_value():
    chosen = {"input.input_size", "loader.gt_paddings", "loader.cache"}
    chosen |= {"optim.max_bad_steps", "optim.loss_scale_interval"}
    assert set(fields(Recipe())) == set(DIFFERENCES) | set(COMMON) | chosen


@ALL
def test_scales_differ_only_where_published(recipe):
    large = recipe("s")
    for scale in ("m", "l", "x", "darknet53"):
        assert recipe(scale) == large
    small = {"input.input_size": ((640, 640), (416, 416)), "augment.mixup_prob": (1.0, 0.0)}
    small["augment.affine_scale"] = (large.augment.affine_scale, (0.5, 1.5))
    if large.loader.multiscale_sizes:
        small["loader.multiscale_sizes"] = (large.loader.multiscale_sizes, tuple(range(320, 641, 32)))
    assert differences(large, recipe("tiny")) == small
    nano = {} if recipe is rtmdet_recipe else {"augment.mosaic_prob": (1.0, 0.5)}  # mmyolo has none: tiny's is taken
    assert differences(recipe("tiny"), recipe("nano")) == nano


@ALL
def test_recipes_are_values(recipe):
    for scale in SCALES:
        assert recipe(scale) == recipe(scale) and hash(recipe(scale)) == hash(recipe(scale))
        assert all(size % 32 == 0 for size in recipe(scale).loader.multiscale_sizes)
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        recipe("s").epochs = 1
    assert attrs.evolve(recipe("s"), epochs=40).epochs == 40


@ALL
def test_unknown_scale(recipe):
    message = rf"{recipe.__name__}: scale is 'yolox-s', want one of nano, tiny, s, m, l, x, darknet53"
    with pytest.raises(ValueError, match=message):
        recipe("yolox-s")


@pytest.mark.parametrize("name", [*DIFFERENCES, *COMMON])
def test_published_number(name):
    values = tuple(fields(make("s"))[name] for make in RECIPES.values())
    assert values == (DIFFERENCES[name] if name in DIFFERENCES else (COMMON[name],) * 4)


# facts of each scale: Megvii, MindYOLO, RTMDet of mmyolo, PaddleDetection
PUBLISHED_AP = {
    "nano": (25.8, 24.1, None, 26.1),
    "tiny": (32.8, 33.3, 34.3, 32.9),
    "s": (40.5, 40.7, 41.9, 40.4),
    "m": (46.9, 46.7, 47.5, 46.9),
    "l": (49.7, 49.2, None, 50.1),
    "x": (51.1, 51.6, None, 51.8),
    "darknet53": (47.7, 47.7, None, None),
}


@pytest.mark.parametrize("scale", SCALES)
def test_published_ap_and_the_best_recipe(scale):
    values = tuple(published_ap(name, scale) for name in RECIPES)
    published, best = PUBLISHED[scale], best_recipe_name(scale)
    assert values == PUBLISHED_AP[scale]
    assert values == (published.ap_megvii, published.ap_mindyolo, published.ap_rtmdet, published.ap_paddle)
    assert published_ap(best, scale) == max(value for value in values if value is not None)
    recipes = published_recipes(scale)
    assert recipes["best"] == recipes[best] and all(recipes[name] == make(scale) for name, make in RECIPES.items())


def test_published_ap_names_what_it_knows():
    with pytest.raises(ValueError, match="name is 'yolov5', want one of megvii, mindyolo, rtmdet, paddle"):
        published_ap("yolov5", "s")
    with pytest.raises(ValueError, match="published_ap: scale is 'q'"):
        published_ap("paddle", "q")


def test_the_page_shows_the_published_ap_of_every_recipe_and_scale():
    pattern = rf"^\| ({'|'.join(SCALES)}) \|" + r" ([^|]+) \|" * len(RECIPES) + r" (\w+) \|$"
    rows = re.findall(pattern, PAGE, flags=re.MULTILINE)
    shown = {scale: tuple(None if cell == "-" else float(cell.strip("*")) for cell in cells) for scale, *cells, _ in rows}
    assert shown == PUBLISHED_AP
    for scale, *cells, best in rows:
        assert best == best_recipe_name(scale) and cells[list(RECIPES).index(best)].startswith("**")


PAGE = (Path(__file__).resolve().parents[1] / "docs/recipes.md").read_text(encoding="utf-8")


def test_the_page_shows_every_number_of_all_recipes():
    tables = "".join(re.findall(r"^\| what \| field \|.*\n(?:\|.*\n)+", PAGE, flags=re.MULTILINE))
    rows = re.findall(r"^\| [^|]+ \| `([\w.]+)` \| (.+) \| (.+) \| (.+) \| (.+) \|$", tables, flags=re.MULTILINE)
    shown = {name: tuple(ast.literal_eval(cell.strip("*")) for cell in cells) for name, *cells in rows}
    assert shown == DIFFERENCES | {name: (value,) * 4 for name, value in COMMON.items()}
    assert {name for name, *cells in rows if cells[0].startswith("**")} == set(DIFFERENCES)
