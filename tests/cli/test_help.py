"""The help of each command fits a screen, has examples that can be read, and --help-all has every option."""

from __future__ import annotations

import re
import shlex

import pytest

from yolox.cli.help import OVERVIEW, PAGES, SCRIPT_OVERVIEW
from yolox.cli.main import COMMANDS, read_command, run_model
from yolox.cli.options import option_names
from yolox.models import SCALES
from yolox.recipes import megvii_recipe, mindyolo_recipe

MOST_LINES = 40
RECIPES = {"megvii": megvii_recipe("nano"), "mindyolo": mindyolo_recipe("nano")}


def help_of(capsys, *argv) -> str:
    assert run_model(argv) == 0
    out, err = capsys.readouterr()
    assert err == ""
    return out


def examples_of(text: str) -> list[list[str]]:
    """Lists the examples of a help text as a shell splits them."""
    block = text.partition("examples:\n")[2].partition("\n\n")[0]
    return [shlex.split(line) for line in block.replace("\\\n", " ").splitlines()]


@pytest.mark.parametrize("width", ["80", "100"])
@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_a_command_fits_a_screen(command, width, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", width)
    text = help_of(capsys, command, "--help", "--model", "darknet53")
    lines = text.splitlines()
    assert len(lines) <= MOST_LINES and max(map(len, lines)) <= int(width)
    assert lines[0].startswith(f"usage: yolox {command} ") and "--help-all shows every option" in lines[-1]
    assert "None" not in text


@pytest.mark.parametrize("command", COMMANDS)
def test_groups_and_examples_come_in_the_order_of_need(command, capsys):
    text = help_of(capsys, command, "-h")
    heads = re.findall(r"^(\w[\w ]*):$", text, flags=re.MULTILINE)
    assert heads == ["examples", *(title for title in ("data", "run", "often changed") if title in heads)]
    assert len(examples_of(text)) == 3 and "run" in heads


@pytest.mark.parametrize("command", COMMANDS)
def test_examples_and_options_of_notes_exist(command, capsys):
    for program, name, *arguments in examples_of(help_of(capsys, command, "--help")):
        model = arguments.index("--model") if "--model" in arguments else None
        rest = arguments if model is None else arguments[:model] + arguments[model + 2 :]
        assert (program, name, model is None) == ("yolox", command, not COMMANDS[command].options.needs_model)
        if "--resume" not in rest:  # reads the run
            read_command([command, *rest], RECIPES).options()
    for note in PAGES[command].notes.values():
        assert set(re.findall(r"--([a-z-]+[a-z])", note)) <= set(option_names(COMMANDS[command].options))


def test_examples_of_a_script_are_its_own(capsys):
    with pytest.raises(SystemExit):
        read_command(["train", "--help"], RECIPES, prog="yolox_nano.py")
    text = capsys.readouterr().out
    assert "usage: yolox_nano.py train [OPTIONS]" in text and "  python yolox_nano.py train --data DATA\n" in text
    assert "--model" not in text and "--weights W.pth" in text


@pytest.mark.parametrize("command", COMMANDS)
def test_help_all_has_every_option_once(command, capsys):
    lines = help_of(capsys, command, "--help-all").splitlines()
    rows = [part for line in lines for part in re.findall(r"^  (--\S+?)[, ].*|^  (--\S+)$", line)]
    shown = [(one or other).removeprefix("--") for one, other in rows]
    wanted = [name for name in option_names(COMMANDS[command].options) if f"no-{name[3:]}" != name]
    assert sorted(shown) == sorted(wanted)
    assert not any("None}" in line or "None|" in line for line in lines)


def test_help_all_groups_the_recipe_and_names_options_in_its_texts(capsys):
    text = help_of(capsys, "train", "--help-all")
    parts = ("input", "augment", "loader", "assign", "loss", "optim", "postprocess")
    places = [text.index(f"\nrecipe, {part}: ") for part in parts]
    assert places == sorted(places) and text.index("often changed:") < text.index("other options:") < places[0]
    assert "--multiscale-sizes" in text and "`" not in text


def test_help_shows_the_defaults_of_recipe_and_scale(capsys):
    assert "(default: 640 640)" in help_of(capsys, "train", "--help", "--model", "s")
    assert "(default: 416 416)" in help_of(capsys, "train", "--help", "--model", "nano")
    assert "(default: 300)" in help_of(capsys, "train", "--help")
    assert "(default: 40)" in help_of(capsys, "train", "--finetune", "--help")


@pytest.mark.parametrize("option", ["-h", "--help", "--help-all"])
def test_help_reads_no_weights(option, capsys):
    assert "usage: yolox train" in help_of(capsys, "train", "--weights", "megvii:no-such-scale", option)


@pytest.mark.parametrize("width", ["80", "100"])
def test_help_without_a_command_has_a_line_for_each(width, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", width)
    text = help_of(capsys, "--help")
    assert len(text.splitlines()) <= MOST_LINES
    assert [name for name in COMMANDS if f"\n  {name} " not in text] == []
    assert all(scale in text for scale in SCALES)
    assert examples_of(text) == [["yolox", *shlex.split(line)] for line in OVERVIEW]


def test_help_of_a_script_without_a_command(capsys):
    with pytest.raises(SystemExit) as stop:
        read_command(["--help"], RECIPES, prog="yolox_nano.py")
    assert stop.value.code == 0
    found = examples_of(capsys.readouterr().out)
    assert found == [["python", "yolox_nano.py", *shlex.split(line)] for line in SCRIPT_OVERVIEW]
    assert not any("--model" in words for words in found)


@pytest.mark.parametrize("line", SCRIPT_OVERVIEW)
def test_examples_without_a_command_can_be_read(line):
    read_command(shlex.split(line), RECIPES).options()
