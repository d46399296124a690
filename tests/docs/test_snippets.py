"""What the pages show works: Python runs, command lines are read by the real parser, links lead somewhere."""

from __future__ import annotations

import importlib
import re
import shlex
import sys
from pathlib import Path

import pytest

from docs.order import ordered_pages
from yolox.cli.defaults import base_recipe
from yolox.cli.options import parse_options

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted((ROOT / "docs").glob("*.md"))
COMMANDS = [(page.name, line) for page in PAGES for line in re.findall(
    r"^(?:    |\$ )?(python |make |pip |msrun )(.*)$", page.read_text().replace("\\\n", " "), flags=re.MULTILINE
)]  # fmt: skip


def blocks(page: Path) -> str:
    return "\n\n".join(re.findall(r"```python\n(.*?)```", page.read_text(), flags=re.DOTALL))


@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page)], ids=lambda page: page.stem)
def test_python_of_a_page_runs_from_top_to_bottom(page, tmp_path, monkeypatch):
    path = tmp_path / "page.py"  # MindSpore compiles functions only from files
    path.write_text(blocks(page))
    monkeypatch.chdir(tmp_path)
    exec(compile(path.read_text(), str(path), "exec"), {"__name__": "page", "__file__": str(path)})


@pytest.mark.parametrize("page, command", COMMANDS)
def test_commands_can_be_typed(page, command):
    program, rest = command[0].strip(), shlex.split(command[1], comments=True)
    if program == "make":
        assert re.search(rf"^{rest[0]}:", (ROOT / "Makefile").read_text(), flags=re.MULTILINE)
    elif program == "pip":
        assert rest[0] in ("install", "uninstall")
        assert "yolox-mindspore" not in command[1]  # the package is on no index: it is installed from the repository
        extras = re.findall(r"'\.\[(\w+)\]'", command[1])
        assert len(extras) == command[1].count("[")
        assert all(re.search(rf"^{name} = \[", (ROOT / "pyproject.toml").read_text(), re.MULTILINE) for name in extras)
    elif program == "python" and rest[0] == "-c":
        exec(rest[1], {})
    else:
        script = next(index for index, word in enumerate(rest) if word.endswith(".py"))
        _check_script(ROOT / rest[script], rest[script + 1 :])


def _check_script(path: Path, words: list[str]) -> None:
    assert path.is_file()
    if path.parent.name != "examples":
        return
    experiment = getattr(importlib.import_module(f"examples.{path.stem}"), "EXPERIMENT", None)
    if experiment is None or "..." in words:  # a script without verbs
        return
    remembered = {"output": Path("RUN"), "train_json": Path("A.json")} if "--resume" in words else {}
    try:
        parse_options(words, base_recipe(words, experiment.recipes), remembered=remembered)
    except SystemExit as stop:  # --help
        assert stop.code == 0


def test_relative_links_lead_to_pages():
    for page in PAGES:
        text = re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)
        for target in re.findall(r"\]\((?!http|#)([^)#]+)[^)]*\)", text):
            assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_the_menu_has_every_page_once_and_known_ones_first(tmp_path):
    names = ordered_pages(ROOT / "docs")
    assert sorted(names) == [page.name for page in PAGES] and names[0] == "index.md"
    for name in ("zebra", "index", "reference", "apple"):
        (tmp_path / f"{name}.md").touch()
    assert ordered_pages(tmp_path) == ["index.md", "reference.md", "apple.md", "zebra.md"]


def test_modules_of_the_reference_exist():
    modules = re.findall(r"^::: (\S+)$", (ROOT / "docs/reference.md").read_text(), flags=re.MULTILINE)
    assert len(modules) > 20
    for name in modules:
        importlib.import_module(name)
        assert sys.modules[name].__doc__
