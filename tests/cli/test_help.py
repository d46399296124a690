"""The help of a command fits on a screen, its examples can be read, and --help-all has every option."""

import shlex

import attrs
import pytest

from yolox.cli.help import OVERVIEW, PAGES
from yolox.cli.main import COMMANDS, read_command
from yolox.cli.options import option_names
from yolox.recipes import megvii_recipe, mindyolo_recipe

RECIPES = {"megvii": megvii_recipe("nano"), "mindyolo": mindyolo_recipe("nano")}


def help_of(capsys, *argv) -> str:
    with pytest.raises(SystemExit) as stop:
        read_command(argv, RECIPES, model="nano")
    assert stop.value.code == 0
    return capsys.readouterr().out


@pytest.mark.parametrize("command", COMMANDS)
def test_the_help_of_a_command_fits_on_a_screen(command, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "100")
    lines = help_of(capsys, command, "--help").splitlines()
    assert len(lines) <= 40 and max(map(len, lines)) <= 100
    assert lines[0].startswith(f"usage: yolox {command}") and sum(line.startswith(f"  yolox {command}") for line in lines) >= 3
    assert lines[-1].startswith("--help-all shows every option") and not any("{None}" in line for line in lines)


@pytest.mark.parametrize("command", COMMANDS)
def test_all_options_are_in_the_long_help_with_nothing_cut(command, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "100")
    text = help_of(capsys, command, "--help-all")
    for name in option_names(COMMANDS[command].options):
        assert f"--{name}" in text
    assert "{None}" not in text and "None|" not in text


@pytest.mark.parametrize("command", COMMANDS)
def test_the_examples_can_be_typed(command, tmp_path, monkeypatch):
    for example in PAGES[command].examples:
        if "--resume" in example:  # reads the run
            continue
        argv = shlex.split(example.format(weights="megvii:nano"))
        assert attrs.has(type(read_command([command, *argv], RECIPES).options()))


def test_the_overview_lists_the_commands_and_three_examples(capsys):
    text = help_of(capsys, "--help")
    assert all(f"\n  {command} " in text for command in COMMANDS)
    assert sum(line.strip().startswith("yolox ") for line in text.splitlines()) >= len(OVERVIEW) == 3


def test_defaults_are_those_of_the_recipe(capsys):
    assert "(default: 300)" in help_of(capsys, "train", "--help")
    assert "(default: 40)" in help_of(capsys, "train", "--finetune", "--help")
