"""What the pages show works: Python runs, commands that no test can run are read by the real parser, links lead somewhere.

The other commands are typed by test_commands.py.
"""

from __future__ import annotations

import importlib.util
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import attrs
import pytest

from docs.command_line import command_line_page
from docs.order import menu
from tests.docs.commands import PAGES as READ
from tests.docs.commands import ROOT, commands_of, fragments_of
from yolox.cli.experiment import Experiment, scale_experiment
from yolox.cli.main import COMMANDS, read_command
from yolox.cli.messages import option_name

PAGES = sorted((ROOT / "docs").rglob("*.md"))
UNTYPED = [command for page in READ for command in commands_of(page) if not command.is_run]
VALUES = {  # for commands that end with "..."
    "eval": "--val-json B.json --val-images B".split(),
    "train": "--train-json A.json --train-images A --output RUN".split(),
}
OTHER_OPTIONS = {  # the parser's own, msrun's, Megvii's, tests/two_hosts.py's
    "--help", "--help-all", "--model", "--worker_num", "--log_dir", "--join", "--bind_core", "--cluster_time_out", "--fp16",
    "--kill",
}  # fmt: skip


def blocks(page: Path) -> str:
    return "\n\n".join(re.findall(r"```python\n(.*?)```", page.read_text(), flags=re.DOTALL))


SLOW = {"callbacks", "own_loop", "sources"}  # these compile for long
ELSEWHERE = {"loggers", "quickstart"}  # run by test_loggers.py and by tests/test_readme.py
NEEDS = {"supervision": "supervision"}  # packages of extras


@pytest.mark.parametrize(
    "page",
    [
        pytest.param(page, id=page.stem, marks=pytest.mark.slow if page.stem in SLOW else [])
        for page in PAGES
        if blocks(page) and page.stem not in ELSEWHERE
    ],
)
def test_python_of_a_page_runs_from_top_to_bottom(page, tmp_path, monkeypatch):
    if page.stem in NEEDS:
        pytest.importorskip(NEEDS[page.stem], reason=f"{page.name} needs the package {NEEDS[page.stem]}")
    path = tmp_path / "page.py"  # MindSpore compiles functions only from files
    path.write_text(blocks(page))
    monkeypatch.chdir(tmp_path)
    names = {"__name__": "page", "__file__": str(path)}
    exec(compile(path.read_text(), str(path), "exec"), names)
    assert page.stem != "custom_detector" or callable(names["step"])


@pytest.mark.parametrize("command", UNTYPED, ids=lambda command: f"{command.page}-{command.text[:60]}")
def test_commands_that_cannot_be_run_can_be_read(command):
    program, _, text = command.text.partition(" ")
    rest = shlex.split(text, comments=True)
    if program == "make":
        assert re.search(rf"^{rest[0]}:", (ROOT / "Makefile").read_text(), flags=re.MULTILINE)
    elif program == "pip":
        assert rest[0] in ("install", "uninstall")
        assert "yolox-mindspore" not in text  # the package is on no index: it is installed from the repository
        extras = re.findall(r"'\.\[(\w+)\]'", text)
        assert len(extras) == text.count("[")
        assert all(re.search(rf"^{name} = \[", (ROOT / "pyproject.toml").read_text(), re.MULTILINE) for name in extras)
    elif program == "yolox":
        if "--model" not in rest:  # the weights name it
            rest = [*rest, "--model", "nano"]
        at = rest.index("--model")
        _check_options(scale_experiment(rest[at + 1]), rest[:at] + rest[at + 2 :])
    elif program == "python" and rest[0] == "-m":
        assert importlib.util.find_spec(rest[1])
    elif program in ("python", "msrun"):
        script = next(index for index, text in enumerate(rest) if text.endswith(".py"))
        _check_script(ROOT / rest[script], rest[script + 1 :])
    else:
        assert program in ("tensorboard", ".")


def _check_script(path: Path, arguments: list[str]) -> None:
    assert path.is_file()
    if path.parent.name == "benchmarks":
        assert all(f'"{text}"' in path.read_text() for text in arguments if text.startswith("--"))
        return
    _check_options(importlib.import_module(f"examples.{path.stem}").EXPERIMENT, arguments)


def _check_options(experiment: Experiment, arguments: list[str]) -> None:
    if "..." in arguments:  # the rest of the command is up to the reader
        arguments = [text for text in arguments if text != "..."] + VALUES[arguments[0]]
    read_command(arguments, experiment.recipes).options()


def test_options_within_the_text_exist():
    names = {option_name(name).removeprefix("--") for command in COMMANDS.values() for name in option_names(command.options)}
    known = {f"--{no}{name}" for name in names for no in ("", "no-")} | OTHER_OPTIONS
    for page in READ:
        for code in fragments_of(page):
            for option in re.findall(r"--[\w-]+", code):
                assert option in known, f"{page.name}: {code}"


def option_names(kind) -> list[str]:
    names = []
    for field in attrs.fields(attrs.resolve_types(kind)):
        names.extend(option_names(field.type) if attrs.has(field.type) else [field.name])
    return names


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as mkdocs and GitHub make them of plain words."""
    heads = re.findall(r"^#+ (.*)$", re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL), flags=re.MULTILINE)
    return {re.sub(r"[ ]", "-", re.sub(r"[^\w\- ]", "", head.lower().strip())) for head in heads}


def test_relative_links_lead_to_pages_and_headings():
    for page in PAGES:
        text = re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)
        for target, anchor in re.findall(r"\]\((?!http)([^)#]*)#?([^)]*)\)", text):
            path = page.parent / target if target else page
            assert path.exists(), f"{page.name}: {target}"
            assert not anchor or anchor in anchors(path), f"{page.name}: {target}#{anchor}"


def test_every_picture_is_shown():
    shown = {target for page in READ + PAGES for target in re.findall(r"!\[[^\]]*\]\(([^)]+)\)", page.read_text())}
    pictures = [path for path in (ROOT / "docs").iterdir() if path.suffix in (".png", ".jpg")]
    assert pictures and {path.name for path in pictures} <= {Path(target).name for target in shown}
    assert all(path.stat().st_size < 150_000 for path in pictures)


def test_the_menu_has_every_page_once_and_those_of_no_group_last(tmp_path):
    pages = [page for group in menu(ROOT / "docs").values() for page in group]
    names = [page.relative_to(ROOT / "docs").as_posix() for page in PAGES]
    assert sorted(pages) == sorted([*names, "command_line.md"]) and pages[0] == "index.md"
    for name in ("zebra", "index", "reference", "apple"):
        (tmp_path / f"{name}.md").touch()
    found = menu(tmp_path)
    assert list(found.items()) == [
        ("Start", ["index.md"]), ("Look up", ["command_line.md", "reference.md"]), ("More", ["apple.md", "zebra.md"]),
    ]  # fmt: skip


def test_the_page_of_the_command_line_has_every_option():
    parts = dict(re.findall(r"^## (\w+)\n\n```text\n(.*?)\n```$", command_line_page(), flags=re.DOTALL | re.MULTILINE))
    assert list(parts) == ["yolox", *COMMANDS]
    for name, command in COMMANDS.items():
        missing = {option_name(field) for field in option_names(command.options)} - set(re.findall(r"--[\w-]+", parts[name]))
        assert {option.removeprefix("--") for option in missing} <= {"run"}, name  # plot RUN


@pytest.mark.slow
def test_the_site_is_built_without_a_broken_link(tmp_path):
    pytest.importorskip("mkdocs", reason="needs the extra docs: make docs")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env={**os.environ, "NO_MKDOCS_2_WARNING": "1"})
    assert done.returncode == 0, done.stderr
    for page in tmp_path.rglob("*.html"):
        for target in re.findall(r'(?:href|src)="([^"#?:]+)(?:[#?][^"]*)?"', page.read_text()):
            assert page.name == "404.html" or (page.parent / target).exists(), f"{page.name}: {target}"
    assert "md-footer__link--next" in (tmp_path / "index.html").read_text()
