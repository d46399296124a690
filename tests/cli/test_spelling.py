"""Words of other programs are taken or answered, and a misspelt option names the nearest."""

import pytest

from yolox.cli.main import COMMANDS, read_command
from yolox.cli.options import option_names
from yolox.cli.spelling import ANSWERED, TAKEN, nearest, translate_options
from yolox.cli.spelling import COMMANDS as FOREIGN
from yolox.errors import UsageError
from yolox.recipes import megvii_recipe

RECIPES = {"megvii": megvii_recipe("nano")}
EVAL = ["--weights", "w.pth", "--data", "D"]


def parse(*argv):
    return read_command(argv, RECIPES).options()


def test_options_of_other_programs_are_taken_and_said(capsys):
    given = ["--conf", "0.3", "--iou=0.5", "--imgsz", "320", "--device", "cpu"]
    options = parse("predict", "--weights", "w", "--source", "x", *given)
    assert (options.postprocess.score_threshold, options.postprocess.iou_threshold) == (0.3, 0.5)
    assert options.input.input_size == (320, 320) and options.device == "CPU"
    said = [f"note: --{word} is taken as --{option}" for word, option in
            (("conf", "score-threshold"), ("iou", "iou-threshold"), ("imgsz", "input-size"))]  # fmt: skip
    assert capsys.readouterr().err.splitlines() == said
    assert parse("train", "--data", "D", "--batch", "4").settings.loader.batch_size == 4


@pytest.mark.parametrize("size", ["416x416", "416,416", "416X416", "416"])
def test_a_square_is_written_in_any_usual_form(size):
    assert parse("eval", *EVAL, "--input-size", size).input.input_size == (416, 416)


def test_another_size_with_an_x_could_be_read_in_two_ways():
    with pytest.raises(UsageError, match="got '416x640', want HEIGHT WIDTH with a space: 416 640 or 640 416"):
        parse("eval", *EVAL, "--input-size", "416x640")


@pytest.mark.parametrize(("word", "command"), [("val", "eval"), ("detect", "predict")])
def test_commands_of_other_programs_are_taken(word, command, capsys):
    more = ["--source", "x"] if command == "predict" else EVAL[2:]
    assert isinstance(parse(word, *EVAL[:2], *more), COMMANDS[command].options)
    assert capsys.readouterr().err == f"note: {word} is taken as {command}\n"


@pytest.mark.parametrize(
    ("argv", "line"),
    [
        (["train", "--epoch", "3"], "no such option: --epoch; perhaps you meant --epochs"),
        (["train", "--lr0", "0.01"], "--lr0: here it is --lr, or --lr-per-image; "),
        (["train", "--project", "x"], "--project: here it is --output FOLDER"),
        (["train", "epochs=3"], "no such argument: epochs=3; write --epochs 3"),
        (["eval", *EVAL, "--colour", "red"], "no such option: --colour"),
        (["eval", *EVAL, "--conf_thresh", "1"], "no such option: --conf_thresh; perhaps you meant --score-threshold"),
        (["trian"], "no such command: trian; perhaps you meant train"),
        (["fly"], "no such command: fly; want a command: info, check, train"),
        ([], "want a command: info, check, train"),
    ],
)
def test_what_is_not_known_is_answered_in_a_line(argv, line):
    with pytest.raises(UsageError) as error:
        parse(*argv)
    first, second = str(error.value).splitlines()
    assert first.startswith(line) and second.startswith("see yolox") and second.endswith("--help")


def test_every_word_leads_to_something_that_is_there():
    known = {name for command in COMMANDS.values() for name in option_names(command.options)}
    assert set(TAKEN.values()) <= known and set(FOREIGN.values()) <= set(COMMANDS)
    assert not known & ANSWERED.keys() and not TAKEN.keys() & ANSWERED.keys()


def test_options_of_the_command_itself_are_never_replaced():
    assert translate_options(["--batch", "4"], ["batch", "batch-size"]) == (["--batch", "4"], [])
    assert nearest("colour", ["epochs", "seed"]) is None
