"""Every field of a recipe is an option, the recipe gives the defaults, and mistakes give one line."""

from __future__ import annotations

import attrs
import pytest

from yolox.cli.main import COMMANDS, read_command
from yolox.cli.messages import name_options, option_name
from yolox.cli.options import _wanted, split_arguments
from yolox.cli.predict import THRESHOLDS
from yolox.cli.train import rate_lines
from yolox.config import OptimConfig, Recipe
from yolox.config_io import recipe_to_json
from yolox.errors import RecipeError, UsageError
from yolox.recipe_changes import finetune_recipe, with_epochs
from yolox.recipes import megvii_recipe, mindyolo_recipe, published_recipes

RECIPES = {"megvii": megvii_recipe("nano"), "mindyolo": mindyolo_recipe("nano")}
DATA = ["--train-json", "a.json", "--train-images", "a"]
TRAIN = ["train", *DATA, "--output", "run", "--device", "Ascend"]
EVAL = ["eval", "--weights", "w.pth", "--val-json", "b.json", "--val-images", "b"]
PREDICT = ["predict", "--weights", "w.pth", "--source", "x.jpg", "--output", "out"]


def parse(*argv):
    return read_command(argv, RECIPES, prog="yolox_nano.py").options()


def leaves(kind) -> list[str]:
    names = []
    for field in attrs.fields(attrs.resolve_types(kind)):
        names.extend(leaves(field.type) if attrs.has(field.type) else [field.name])
    return names


def help_of(capsys, *argv) -> str:
    with pytest.raises(SystemExit) as stop:
        parse(*argv)
    assert stop.value.code == 0
    return capsys.readouterr().out


def test_no_two_options_share_a_name():
    for command in COMMANDS.values():
        names = leaves(command.options)
        assert len(names) == len(set(names))


def test_help_of_train_names_every_field_of_the_recipe(capsys):
    text = help_of(capsys, "train", "--help-all")
    for name in leaves(Recipe):
        assert option_name(name) in text
    assert "Passes over the training images" in text


def test_options_keep_their_names_when_fields_are_renamed():
    argv = "--plain-epochs 3 --plain-eval-interval 2 --max-truths 50 --truth-paddings 8 24".split()
    settings = parse(*TRAIN, *argv).settings
    assert (settings.no_aug_epochs, settings.no_aug_eval_interval) == (3, 2)
    assert (settings.loader.max_gt, settings.loader.gt_paddings) == (50, (8, 24))
    assert settings.optim == RECIPES["megvii"].optim
    with pytest.raises(UsageError, match="no such option: --max-gt; perhaps you meant --max-truths"):
        parse(*TRAIN, "--max-gt", "50")
    with pytest.raises(UsageError) as wrong:
        parse(*TRAIN, "--truth-paddings", "200")
    assert name_options(str(wrong.value)).startswith("--truth-paddings: got (200,), want rising positive numbers below --max-tr")


@pytest.mark.parametrize("recipe, channel", [("megvii", "bgr"), ("mindyolo", "rgb")])
def test_help_shows_the_defaults_of_the_chosen_recipe(capsys, recipe, channel):
    assert f"(default: {channel})" in help_of(capsys, "train", "--recipe", recipe, "--help-all")


def test_help_without_a_command_lists_the_commands(capsys):
    text = help_of(capsys, "--help")
    assert all(command in text for command in ("info", "check", "train", "eval", "predict"))


@pytest.mark.parametrize("name", ["megvii", "mindyolo"])
def test_the_recipe_alone_is_the_default(name):
    assert parse(*TRAIN, "--recipe", name).settings == RECIPES[name]


def test_options_change_single_fields():
    options = parse(
        *TRAIN, "--epochs", "60", "--ema-decay", "0.99", "--no-affine-center", "--letterbox", "center"
    )
    recipe = RECIPES["megvii"]
    want = attrs.evolve(
        recipe,
        epochs=60,
        optim=attrs.evolve(recipe.optim, ema_decay=0.99),
        input=attrs.evolve(recipe.input, letterbox="center"),
    )
    assert options.settings == want


@pytest.mark.parametrize("argv, size", [(["416"], (416, 416)), (["416", "640"], (416, 640))])
def test_input_size_takes_one_number_or_two(argv, size):
    assert parse(*TRAIN, "--input-size", *argv).settings.input.input_size == size
    assert parse(*EVAL, "--input-size", *argv).input.input_size == size


def test_multiscale_sizes_take_none_or_many():
    assert parse(*TRAIN, "--multiscale-sizes").settings.loader.multiscale_sizes == ()
    sizes = parse(*TRAIN, "--multiscale-sizes", "320", "416", "--seed", "3").settings.loader.multiscale_sizes
    assert sizes == (320, 416)


def multiscale(scale, *options, command=TRAIN):
    argv = [*command, *options]
    return read_command(argv, {"megvii": megvii_recipe(scale)}).options().settings.loader.multiscale_sizes


@pytest.mark.parametrize("command", [TRAIN, ["info"]])
@pytest.mark.parametrize("option", ["--input-size=320", "--input_size=320"])
def test_training_sizes_go_along_with_the_input_size(command, option):
    assert multiscale("s", option, command=command) == tuple(range(160, 481, 32))  # five steps of 32 each way, as around 640
    assert multiscale("nano", option, command=command) == tuple(range(224, 545, 32))  # three down and seven up, as around 416


def test_training_sizes_that_are_given_stay():
    assert multiscale("s", "--input-size", "320", "--multiscale-sizes") == ()
    assert multiscale("s", "--multiscale-sizes", "256", "--input-size", "320", "640") == (256,)
    assert multiscale("s", "--input-size", "320", "--finetune") == () == multiscale("s", "--finetune")
    assert multiscale("s", "--input-size", "640") == multiscale("s") == tuple(range(480, 801, 32))


def test_an_input_size_that_is_read_twice_moves_the_sizes_once():
    """With weights, the arguments are filled again into the settings of the first time."""
    arguments = read_command([*TRAIN, "--input-size", "320"], {"megvii": megvii_recipe("s")})
    once = arguments.options().settings
    assert arguments.options(once).settings == once


def test_arguments_win_over_other_defaults_also_where_they_are_the_first_defaults():
    arguments = read_command([*EVAL, "--channel-order", "bgr", "--no-multi-label"], RECIPES)
    assert arguments.options().input == RECIPES["megvii"].input
    other = arguments.options(RECIPES["mindyolo"])
    assert other.input == attrs.evolve(RECIPES["mindyolo"].input, channel_order="bgr")
    assert other.postprocess == attrs.evolve(RECIPES["mindyolo"].postprocess, multi_label=False)


def test_an_absolute_rate_takes_the_rate_per_image_away_and_back():
    optim = parse(*TRAIN, "--lr", "0.02").settings.optim
    assert (optim.lr, optim.lr_per_image) == (0.02, None)
    optim = parse(*TRAIN, "--recipe", "mindyolo", "--lr-per-image", "0.001").settings.optim
    assert (optim.lr, optim.lr_per_image) == (None, 0.001)


@pytest.mark.parametrize("name", ["megvii", "mindyolo"])
def test_the_fine_tuning_preset_is_a_default_that_options_change(name):
    preset = finetune_recipe(RECIPES[name])
    assert parse(*TRAIN, "--recipe", name, "--finetune").settings == preset
    assert parse(*TRAIN, "--epochs", "9", "--finetune", "--recipe", name).settings == with_epochs(preset, 9)
    optim = parse(*TRAIN, "--finetune", "--recipe", name, "--lr", "0.001").settings.optim
    assert (optim.lr, optim.lr_per_image, optim.ema_ramp) == (0.001, None, 200)


def test_the_best_recipe_is_named_and_a_file_is_changed_by_options(tmp_path):
    recipes, path = published_recipes("s"), tmp_path / "mine.toml"
    arguments = read_command([*TRAIN, "--recipe", "best"], recipes)
    assert arguments.notes == ["--recipe best is rtmdet"] and arguments.options().recipe == "rtmdet"
    assert arguments.options().settings == recipes["rtmdet"]
    path.write_text('base = "best"\nepochs = 60\n[optim]\nweight_decay = 0.01\n')
    options = read_command([*TRAIN, "--recipe", str(path), "--weight-decay", "0.02"], recipes).options()
    assert (options.recipe, options.settings.epochs, options.settings.optim.weight_decay) == (str(path), 60, 0.02)
    assert options.settings.loader == recipes["rtmdet"].loader
    with pytest.raises(RecipeError, match="none.toml: no such file"):
        read_command([*TRAIN, "--recipe", "none.toml"], recipes)


def test_what_a_file_states_stays_on_cpu_and_in_short_runs(tmp_path):
    recipes, path = published_recipes("s"), tmp_path / "mine.toml"
    text = 'base = "megvii"\nepochs = 20\nno_aug_epochs = 6\n[loader]\nmultiscale_sizes = [320, 352]\n[optim]\nflat_epochs = 10\n'
    path.write_text(text)
    arguments = read_command(["train", *DATA, "--recipe", str(path)], recipes)
    settings = arguments.options().settings
    assert (settings.epochs, settings.no_aug_epochs, settings.loader.multiscale_sizes) == (20, 6, (320, 352))
    assert (settings.optim.flat_epochs, settings.optim.warmup_epochs) == (10, 3)  # the file says nothing of warm-up
    assert arguments.notes == ["--epochs 20 is short: --warmup-epochs 3 in place of 5"]
    short = read_command(["train", *DATA, "--recipe", str(path), "--plain-epochs", "1"], recipes).options().settings
    assert short.no_aug_epochs == 1
    whole = tmp_path / "recipe.json"
    whole.write_text(recipe_to_json(settings))
    again = read_command(["train", *DATA, "--recipe", str(whole)], recipes)
    assert again.options().settings == settings and again.notes == []
    with pytest.raises(UsageError, match="--finetune: the preset would replace what .*mine.toml says; give one of the two"):
        read_command(["train", *DATA, "--recipe", str(path), "--finetune"], recipes)


@pytest.mark.parametrize("size", [("1280",), ("384", "640")])
def test_the_canvas_goes_along_with_the_input_size(size):
    recipes, wanted = published_recipes("s"), tuple(map(int, size * 2))[:2]
    options = read_command([*TRAIN, "--recipe", "rtmdet", "--input-size", *size], recipes).options()
    assert options.settings.augment.canvas_size == wanted
    given = read_command([*TRAIN, "--recipe", "rtmdet", "--input-size", *size, "--canvas-size", "320"], recipes).options()
    assert given.settings.augment.canvas_size == (320, 320)


def test_every_setting_of_a_short_fine_tuning_can_be_given():
    argv = (
        "--epochs 40 --batch-size 8 --lr-per-image 0.00015625 --warmup-epochs 1 --plain-epochs 5 "
        "--flat-epochs 5 --mosaic-prob 0.5 --affine-scale 0.5 1.5 --mixup-prob 0 --multiscale-sizes "
        "--ema-decay 0.9998 --seed 1 --input-size 416 --score-threshold 0.01 --iou-threshold 0.65"
    ).split()
    recipe = parse(*TRAIN, *argv).settings
    assert (recipe.epochs, recipe.no_aug_epochs, recipe.optim.warmup_epochs, recipe.optim.flat_epochs) == (
        40,
        5,
        1,
        5,
    )
    assert recipe.augment.affine_scale == (0.5, 1.5)
    assert (recipe.loader.multiscale_sizes, recipe.loader.seed) == ((), 1)


def test_a_short_run_has_shorter_phases_and_says_so():
    arguments = read_command([*TRAIN, "--epochs", "20", "--flat-epochs", "4"], RECIPES)
    settings = arguments.options().settings
    assert (settings.epochs, settings.optim.warmup_epochs, settings.no_aug_epochs, settings.optim.flat_epochs) == (20, 2, 8, 4)
    assert arguments.notes == ["--epochs 20 is short: --warmup-epochs 2 in place of 5, --plain-epochs 8 in place of 16"]
    assert read_command([*TRAIN, "--epochs", "40"], RECIPES).notes == []
    assert read_command([*TRAIN, "--epochs", "1"], RECIPES).options().settings.no_aug_epochs == 0


def test_on_cpu_one_image_size_is_the_default_and_is_said():
    for device in ((), ("--device", "CPU")):
        arguments = read_command(["train", *DATA, *device], {"megvii": megvii_recipe("s")})
        assert arguments.options().settings.loader.multiscale_sizes == ()
        note = "one image size, as each is compiled for itself on CPU; the recipe's are --multiscale-sizes 480 512 "
        assert len(arguments.notes) == 1 and arguments.notes[0].startswith(note)
    arguments = read_command(["train", *DATA, "--multiscale-sizes", "320", "352"], {"megvii": megvii_recipe("s")})
    assert arguments.options().settings.loader.multiscale_sizes == (320, 352) and not arguments.notes
    assert not read_command(["train", *DATA, "--recipe", "mindyolo"], RECIPES).notes  # which has one size


@pytest.mark.parametrize(
    ("optim", "images", "said"),
    [
        (OptimConfig(), 8, []),
        (OptimConfig(lr=0.01, lr_per_image=None), 64, ["--lr 0.01: 0.000156 an image, with 64 images a step"]),
        (
            OptimConfig(lr=0.01, lr_per_image=None),
            8,
            ["--lr 0.01: 0.00125 an image", "warning: --lr 0.01 is 8 times the recipe's"],
        ),
        (OptimConfig(lr=0.01, lr_per_image=None), 9, ["--lr 0.01: 0.00111 an image"]),
    ],
)
def test_an_absolute_rate_is_told_for_an_image(optim, images, said):
    for published in (RECIPES["megvii"].optim, RECIPES["mindyolo"].optim):  # per image, and for 64 images
        lines = rate_lines(optim, published, images=images)
        assert len(lines) == len(said) and all(line.startswith(start) for line, start in zip(lines, said, strict=True))


def test_the_rate_of_another_optimizer_is_a_warning():
    published = RECIPES["megvii"].optim
    (line,) = rate_lines(attrs.evolve(published, optimizer="adamw"), published, images=8)
    assert line.startswith("warning: --optimizer adamw with the rate and decay of sgd; --recipe rtmdet has those of adamw")
    assert rate_lines(attrs.evolve(published, optimizer="adamw", lr_per_image=1e-5), published, images=8) == []


def test_predict_draws_fewer_boxes_than_eval_scores():
    assert parse(*PREDICT).postprocess == attrs.evolve(RECIPES["megvii"].postprocess, **THRESHOLDS)
    assert parse(*EVAL).postprocess == RECIPES["megvii"].postprocess


def test_predict_takes_many_sources():
    options = parse(
        "predict", "--weights", "w", "--source", "a", "b", "--output", "c", "--score-threshold", "0.3"
    )
    assert [str(path) for path in options.source] == ["a", "b"]
    assert options.postprocess.score_threshold == 0.3


def test_the_last_of_several_counts_in_both_spellings():
    optim = parse(*TRAIN, "--lr_per_image=4", "--epochs", "30", "--lr-per-image", "8").settings.optim
    assert (optim.lr_per_image, optim.lr) == (8, None)
    assert parse(*TRAIN, "--finetune", "--no-finetune").settings == RECIPES["megvii"]
    assert parse(*TRAIN, "--recipe=mindyolo", "--recipe", "megvii").settings == RECIPES["megvii"]


def test_arguments_of_one_type_are_found_among_others():
    kind = attrs.make_class("Kind", {"resume": attrs.field(default=None, type=str | None)})
    assert split_arguments(kind, ["--lr=4", "--resume", "run", "--epochs", "3"], prog="yolox") == (
        {"resume": "run"},
        ["--lr=4", "--epochs", "3"],
    )
    assert split_arguments(kind, ["--epochs", "3"], prog="yolox")[0] == {}


def test_eager_is_an_option_of_training():
    assert parse(*TRAIN, "--eager").eager and not parse(*TRAIN).eager


@pytest.mark.parametrize(
    "argv, want",
    [
        ([], "info"),
        (["fly"], "fly"),
        (["predict", "--weights", "w"], "--source"),
        ([*EVAL, "--colour", "red"], "--colour"),
        ([*EVAL, "--score-threshold", "high"], "--score-threshold"),
        ([*TRAIN, "--mosaic-prob", "2"], "--mosaic-prob: got 2.0, want a probability in [0, 1]"),
        ([*TRAIN, "--input-size", "410"], "multiples of 32"),
        ([*TRAIN, "--multiscale-sizes", "96", "100"], "--multiscale-sizes: got (96, 100), want positive multiples of 32"),
        ([*TRAIN, "--multiscale-sizes", "0"], "--multiscale-sizes: got (0,), want positive multiples of 32"),
        ([*TRAIN, "--input-size", "1", "2", "3"], "want one (a square) or two"),
        ([*TRAIN, "--recipe", "paddel"], "--recipe: got 'paddel', want one of megvii, mindyolo, or a file that ends in .toml or"),
        ([*TRAIN, "--recipe", "mindyol"], "; perhaps you meant mindyolo"),
        ([*TRAIN, "--lr", "1", "--lr-per-image", "1"], "exactly one of the two"),
    ],
)
def test_a_mistake_gives_one_line_and_where_to_find_help(argv, want):
    with pytest.raises(UsageError) as caught:
        parse(*argv)
    first, second = str(caught.value).splitlines()
    assert want in first
    assert second.startswith("see yolox_nano.py") and second.endswith("--help")
    assert not set("│╭╰─") & set(first)


@pytest.mark.parametrize(
    "argv, line",
    [
        ((*PREDICT, "--batch-size", "five"), "--batch-size: got 'five', want a whole number"),
        ((*PREDICT, "--score-threshold", "a"), "--score-threshold: got 'a', want a number"),
        (("export", "--weights", "w", "--output", "o", "--batch", "five"), "--batch: got 'five', want a whole number or dynamic"),
        ((*PREDICT, "--tiles", "1.5"), "--tiles: got '1.5', want a whole number"),
        (("train", "--lr", "fast"), "--lr: got 'fast', want a number"),
        (("train", "--class-weights", "auto"), "--class-weights: got 'auto', want numbers"),
        (("train", "--betas", "0.9", "b"), "--betas: got '0.9', 'b', want two numbers"),
        (("train", "--betas", "0.9"), "--betas: want two numbers"),
        (("train", "--hsv-gains", "1", "2", "x"), "--hsv-gains: got '1', '2', 'x', want three numbers"),
        (("train", "--hsv-gains", "1", "2"), "--hsv-gains: want three numbers"),
        (("train", "--mean", "a", "b", "c"), "--mean: got 'a', 'b', 'c', want three numbers"),
        (("train", "--multiscale-sizes", "a"), "--multiscale-sizes: got 'a', want whole numbers"),
        ((*PREDICT, "--save_csv"), "--save-csv: write --save csv; it takes one or more of json, txt, csv, coco"),
    ],
)
def test_values_that_cannot_be_read_are_one_plain_line(argv, line):
    with pytest.raises(UsageError) as error:
        parse(*argv)
    assert str(error.value).splitlines()[0] == line


@pytest.mark.parametrize(
    "metavar, words",
    [
        ("INT INT INT INT", "four whole numbers"),
        ("{None}|PATH PATH", "two paths"),
        ("[PATH [PATH ...]]", "paths"),
        ("INT|{dynamic,auto}", "a whole number or dynamic, auto"),
        ("HEIGHT [WIDTH]", "HEIGHT [WIDTH]"),
        (None, ""),
    ],
)
def test_values_are_counted_in_words(metavar, words):
    assert _wanted(metavar) == words
