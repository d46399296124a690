"""Words of other programs are taken or answered, misspelt options name the nearest, and each is one line."""

from __future__ import annotations

import re

import pytest

from yolox.cli.main import COMMANDS, read_command, run_model
from yolox.cli.options import option_names
from yolox.cli.spelling import ANSWERED, TAKEN, nearest, translate_options, unknown_line
from yolox.cli.spelling import COMMANDS as FOREIGN_COMMANDS
from yolox.errors import UsageError
from yolox.recipes import megvii_recipe

RECIPES = {"megvii": megvii_recipe("nano")}
EVERY = {name for command in COMMANDS.values() for name in option_names(command.options)}

KNOWN = "info, check, convert, split, train, eval, predict, export, benchmark, assign, plot"


def parse(text: str):
    return read_command(text.split(), RECIPES, prog="yolox").options()


def refusal(text: str) -> str:
    with pytest.raises(UsageError) as caught:
        parse(text)
    first, second = str(caught.value).splitlines()
    assert second.startswith("see yolox") and second.endswith("--help")
    return first


def test_the_tables_name_what_exists():
    assert set(TAKEN.values()) <= EVERY and set(FOREIGN_COMMANDS.values()) <= set(COMMANDS)
    named = {word for text in ANSWERED.values() for word in re.findall(r"--([a-z-]+[a-z])", text)}
    assert named - {"help-all"} <= EVERY
    assert not EVERY & ANSWERED.keys() and not (FOREIGN_COMMANDS.keys() & COMMANDS.keys())
    assert not (TAKEN.keys() & ANSWERED.keys())


@pytest.mark.parametrize(
    ("typed", "ours"),
    [
        ("train --imgsz 320 --batch 4", "train --input-size 320 --batch-size 4"),
        ("train --imgsz=320 --lrf=0.1", "train --input-size=320 --min-lr-ratio=0.1"),
        ("eval --weights w --conf 0.1 --iou 0.5", "eval --weights w --score-threshold 0.1 --iou-threshold 0.5"),
        ("val --weights w --conf_thres 0.1", "eval --weights w --score-threshold 0.1"),
        ("train --single_cls --num-workers 5", "train --single-class --workers 5"),
        ("detect --ckpt w --path x.jpg --nms 0.4", "predict --weights w --source x.jpg --iou-threshold 0.4"),
    ],
)
def test_words_of_other_programs_are_taken_with_a_note_each(typed, ours, capsys):
    assert parse(typed) == parse(ours)
    notes = capsys.readouterr().err.splitlines()
    assert parse("train --imgsz 320 --batch 4").settings.loader.batch_size == 4 and capsys.readouterr()
    assert all(re.fullmatch(r"note: (--)?[\w-]+ is taken as (--)?[\w-]+", line) for line in notes)
    assert len(notes) == sum(mine != yours for mine, yours in zip(typed.split(), ours.split(), strict=True))


def test_an_option_of_the_command_itself_is_never_replaced(capsys):
    options = parse("export --weights w --output o.onnx --batch dynamic --nms")
    assert options.batch == "dynamic" and options.nms
    assert capsys.readouterr().err == ""


def test_a_note_is_printed_once(capsys):
    assert run_model(["val", "--imgsz", "64", "--model", "nano"]) == 2  # no weights
    err = capsys.readouterr().err
    assert err.count("note: val is taken as eval") == 1 == err.count("note: --imgsz is taken as --input-size")
    assert err.splitlines()[-1] == "see yolox eval --model nano --help"


@pytest.mark.parametrize(
    ("typed", "want"),
    [
        ("train --lr0 0.01", "--lr0: here it is --lr, or --lr-per-image; "),
        ("train --project runs --name a", "--project: here it is --output FOLDER"),
        ("train --exist-ok", "--exist-ok: here it is --overwrite"),
        ("train --save-period -1", "--save-period: here it is --save-every N; leave it out for none"),
        ("export --fp16", "--fp16: here it is --precision float16"),
        ("train --cfg yolo.yaml", "--cfg: here it is --recipe FILE.toml, a published recipe and what differs from it"),
        ("train --clip_grad True", "--clip-grad: here it is --clip-norm NORM"),
        ("train --image-weights", "--image-weights: here --class-balance inverse weights the class loss; all"),
        ("predict --save_csv", "--save-csv: write --save csv; it takes one or more of json, txt, csv, coco"),
    ],
)
def test_words_without_an_equal_here_are_answered(typed, want):
    assert refusal(typed).startswith(want)


def test_an_answer_is_given_only_where_its_option_is():
    assert refusal("predict --weights w --source x --exist-ok").startswith("no such option: --exist-ok")


@pytest.mark.parametrize("command", COMMANDS)
def test_an_answer_names_only_options_that_the_command_has(command):
    names = {*option_names(COMMANDS[command].options)}
    for word in ANSWERED.keys() - names:
        try:
            translate_options([f"--{word}"], names)
        except UsageError as error:
            assert {*re.findall(r"--([a-z-]+[a-z])", str(error).partition(": ")[2])} <= names


@pytest.mark.parametrize(
    ("typed", "want"),
    [
        ("train --epoch 3", "no such option: --epoch; perhaps you meant --epochs"),
        ("train --learning-rte 3", "no such option: --learning-rte; perhaps you meant --lr"),
        ("train --max-gt 50", "no such option: --max-gt; perhaps you meant --max-truths"),
        ("train --imgz=3", "no such option: --imgz; perhaps you meant --input-size"),
        ("train --no-finetun", "no such option: --no-finetun; perhaps you meant --no-finetune"),
        ("eval --conf_thresh 1", "no such option: --conf_thresh; perhaps you meant --score-threshold"),
        ("train --colour red", "no such option: --colour"),
        ("train --rect", "no such option: --rect; here it is --rectangular, which this command does not have"),
        ("predict --mosaic 1", "no such option: --mosaic; here it is --mosaic-prob, which this command does not have"),
        ("train --colour red --seeed 4", "no such options: --colour, --seeed (perhaps you meant --seed)"),
        ("train epochs=3", "no such argument: epochs=3; write --epochs 3"),
        ("train batch=3", "no such argument: batch=3; write --batch-size 3"),
        ("train coco.yaml", "no such argument: coco.yaml; write --data coco.yaml"),
        ("train model=nano data=d.yaml", "no such argument: model=nano data=d.yaml; write --model nano --data d.yaml"),
        ("predict dog.jpg", "no such argument: dog.jpg; write --source dog.jpg"),
        ("predict best.pth", "no such argument: best.pth; write --weights best.pth"),
        ("predict best.pdparams", "no such argument: best.pdparams; write --weights best.pdparams"),
        ("predict net.mindir", "no such argument: net.mindir; write --weights net.mindir"),
        ("train -b 3", "no such argument: -b 3; options begin with two dashes"),
        ("train three", "no such argument: three"),
        ("plot RUN --outptu x", "no such option: --outptu; perhaps you meant --output"),
        ("trian --epochs 3", "no such command: trian; perhaps you meant train"),
        ("fly", f"no such command: fly; want a command: {KNOWN}"),
        ("", f"want a command: {KNOWN}"),
    ],
)
def test_what_is_not_known_is_one_line_with_the_nearest(typed, want):
    assert refusal(typed) == want


def test_the_scale_follows_from_weights_under_another_name(tmp_path, capsys):
    """The options are replaced before the weights are looked for."""
    argv = ["detect", "--ckpt", "megvii:nano", "--source", str(tmp_path / "no.jpg"), "--output", str(tmp_path)]
    assert run_model(argv) == 1
    err = capsys.readouterr().err
    assert "note: --model nano, by megvii:nano" in err and err.splitlines()[-1].startswith("error: --source")


@pytest.mark.parametrize("command", COMMANDS)
def test_a_known_word_of_other_programs_is_not_a_misspelt_one(command):
    """An option of this command may differ from it by the last letter only."""
    names = option_names(COMMANDS[command].options)
    for word in {*TAKEN, *ANSWERED} - {*names}:
        meant = re.search("perhaps you meant --(.+)", unknown_line([f"--{word}"], names))
        assert meant is None or meant[1].startswith(word[:-1])


def test_a_short_beginning_is_enough_and_unlike_words_are_not_near():
    names = ["score-threshold", "save", "seed"]
    assert nearest("score", names) == "score-threshold"
    assert nearest("s", names) is None is nearest("zzz", names)


def test_values_that_begin_like_options_and_known_ones_stay():
    argv = ["--", "-1", "imgsz", "--seed=--imgsz"]
    assert translate_options(argv, ["seed", "input-size"]) == (argv, [])


@pytest.mark.parametrize("text", ["416x416", "416,416", "416X416", "416"])
def test_square_sizes_in_other_spellings(text):
    assert parse(f"train --input-size {text}").settings.input.input_size == (416, 416)


def test_sizes_whose_order_is_not_known_are_refused():
    for text in ("640x480", "640,480"):
        assert refusal(f"train --input-size {text}") == (
            f"--input-size: got '{text}', want HEIGHT WIDTH with a space: 640 480 or 480 640"
        )
    assert refusal("train --input-size ax416").startswith("--input-size: ")


@pytest.mark.parametrize(("text", "device"), [("cpu", "CPU"), ("Cpu", "CPU"), ("CPU", "CPU"), ("ascend", "Ascend")])
def test_devices_in_any_case(text, device):
    assert parse(f"info --device {text}").device == device


def test_other_devices_are_refused():
    assert refusal("info --device cuda") == "--device: got 'cuda', want one of Ascend, CPU"


@pytest.mark.parametrize("text", ["YOLOX-Nano", "yolox_nano", "NANO"])
def test_scales_in_other_spellings(text, capsys):
    assert run_model(["info", "--model", text, "--json"]) == 0
    assert '"name": "yolox-nano"' in capsys.readouterr().out
