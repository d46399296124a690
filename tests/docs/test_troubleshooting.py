"""Each entry of the page names a symptom and ends in a command; messages of this library are texts of its source."""

from __future__ import annotations

import ast
import re
from functools import cache

import pytest

from tests.docs.commands import ROOT, commands_of
from yolox.cli.messages import name_options

PAGE = ROOT / "docs/troubleshooting.md"
FOREIGN = {  # messages of others
    "invalid literal for int()": "Python, in programs that want numbers as file names",
    "Results do not correspond to current coco set": "pycocotools",
    "No module named 'yolox'": "Python",
    "Supported primitive descriptors list is empty": "OpenVINO",
    "'Tuple' object has no attribute 'shape'": "MindSpore",
}
OPTIONS = {"--device GPU", "megvii_recipe", "--help"}  # no messages
OURS = r"\.\.\.|\d[\d.]*|\b(?:RUN|Ascend)\b"  # what the page has in place of a message's values


def entries() -> list[tuple[str, str]]:
    """Returns the headline of each entry, which is bold, and all of the entry."""
    found = re.findall(r"^\*\*(.*?)\*\*(.*?)(?=^\*\*|^## |\Z)", PAGE.read_text(), flags=re.MULTILINE | re.DOTALL)
    return [(" ".join(head.split()), text) for head, text in found]


@cache
def texts_of_the_source() -> list[str]:
    """List the texts of the library; a value within one is a NUL."""
    found = []
    for path in sorted((ROOT / "yolox").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.append(node.value)
            elif isinstance(node, ast.JoinedStr):
                found.append("".join(part.value if isinstance(part, ast.Constant) else "\0" for part in node.values))
    return found


def fits(message: str, text: str) -> bool:
    """Returns whether a text has the fixed parts of a message in order, with something wherever the page has a value."""
    return re.search(r"[^\n]+?".join(re.escape(part) for part in re.split(OURS, message)), text) is not None


QUOTED = [code for head, _ in entries() for code in re.findall(r"`([^`]+)`", head)]


@pytest.mark.parametrize("message", [code for code in QUOTED if code not in FOREIGN and code not in OPTIONS])
def test_messages_of_this_library_are_in_its_source(message):
    assert any(fits(message, name_options(text)) for text in texts_of_the_source())


def test_the_tables_have_nothing_else_and_messages_that_are_nowhere_are_noticed():
    assert {*FOREIGN, *OPTIONS} <= set(QUOTED)
    assert not any(fits("categories are none of the detector's names", text) for text in texts_of_the_source())
    assert fits("a 7 b", "x: a \0 b") and not fits("a 7 b", "x: a b")


def test_every_entry_has_a_command():
    commands = {command.text.split()[0] for command in commands_of(PAGE)}
    assert {"yolox", "python", "pip", "make", "msrun"} <= commands and len(entries()) >= 40
    for head, text in entries():
        assert re.search(r"^ {4}(yolox|python|pip|make|msrun) ", text, flags=re.MULTILINE), head


@pytest.mark.parametrize(
    "symptom",
    ["--resume RUN", "--hang-seconds", "Memory grows", "--format mindir", "AIR", "int8", "--patience", "--device GPU",
     "2.7 to 2.10", "--bind_core"],
)  # fmt: skip
def test_what_users_of_such_systems_report_has_an_entry(symptom):
    assert any(symptom in head + text for head, text in entries())
