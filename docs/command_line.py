"""Writes the page of the command line while mkdocs builds the site: what `--help-all` of every command prints."""

from __future__ import annotations

import os
import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[1]))

from yolox.cli.help import command_help, overview_help  # noqa: E402
from yolox.cli.main import COMMANDS  # noqa: E402
from yolox.recipes import megvii_recipe  # noqa: E402

INTRODUCTION = """# Command line

Look up an option. Each block is what `yolox COMMAND --model nano --help-all` prints; `--help` shows those that are used most.
"""


def command_line_page() -> str:
    """Returns the page: a block for the program, and one for each command."""
    os.environ["COLUMNS"] = "100"
    texts = {"yolox": overview_help({name: each.options for name, each in COMMANDS.items()}, prog="yolox", model="SCALE")}
    for name, command in COMMANDS.items():
        default = command.options.defaults(megvii_recipe("nano"), {})
        texts[name] = command_help(name, command.options, default, prog="yolox", model="nano", every=True)
    return "\n".join([INTRODUCTION, *(f"## {name}\n\n```text\n{text}\n```\n" for name, text in texts.items())])


def on_files(files, config):
    """Adds the page; called by mkdocs."""
    from mkdocs.structure.files import File

    files.append(File.generated(config, "command_line.md", content=command_line_page()))
    return files
