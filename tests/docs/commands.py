"""The commands of README.md and docs/*.md as text, and the table of those that no test can run."""

from __future__ import annotations

import re
from pathlib import Path

from attrs import frozen

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
PROGRAMS = r"(?:yolox|python|make|pip|msrun|tensorboard|\.) "
# Beginnings of lines of a block that a command prints.
OUTPUT = ("error: ", "warning: ", "the last checkpoint ", "Timeout (", "Thread 0x", "a process of this run has", "if RUN/last",
          "rank 0 (process", "speed: ")  # fmt: skip
COMMANDS = r"(?:train|eval|predict|export|check|convert|split|info|plot|assign|benchmark) "

NOT_RUN = {  # whole commands; they are parsed by tests/docs/test_snippets.py
    r"make \S+( \w+=\S+)?": "makes environments or runs this suite; tests/examples/test_demo.py has the demo's commands",
    r"pip (un)?install .*": "changes the environment and downloads",
    r"python -m http\.server .*": "serves until it is stopped; tests/export/test_web.py opens the page in Chromium",
    r"(python|yolox) .*--format ncnn.*": "needs ncnn and pnnx; tests/export/test_ncnn.py writes the files",
    r"(python|yolox) .*--format web .*": "downloads ONNX Runtime Web; tests/export/test_web.py writes the page",
    r"tensorboard .*": "serves until it is stopped",
    r"msrun .*": "eight Ascends, or two hosts; tests/training/test_failing_ranks.py starts msrun with two and four CPU processes",
    r"(python|yolox) .*--device Ascend.*": "needs an Ascend",
    r"(python|yolox) .*--weights (megvii|mindyolo|hf):.*": "downloads; tests/weights/test_download.py has a server of its own",
    r"yolox predict .*--source (\d|\w+:).*": "a camera, a stream, or a screen; tests/cli/test_predict_sources.py serves a stream",
    r"python -m tests\.attacks\.fuzz.*": "fuzzes for minutes with a package of its own; tests/attacks/test_fuzz.py starts it",
    r"python benchmarks/(run|cost|long_run|bccd|learning|convolutions|native)\.py.*":
        "takes minutes or hours, writes a picture, or needs data",
}


@frozen
class Command:
    """A command of a page, in one line."""

    page: str
    text: str

    @property
    def is_run(self) -> bool:
        """Whether it is not in the table."""
        return not any(re.fullmatch(pattern, self.text) for pattern in NOT_RUN)


def without_fences(page: Path) -> str:
    """Returns the text of a page without its Python."""
    return re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)


def block_lines(text: str) -> list[str]:
    """Lists the indented lines of a page, those that a backslash continues as one."""
    joined = re.sub(r"\\\n\s*", "", text)
    return re.findall(r"^ {4}(\S.*)$", joined, flags=re.MULTILINE)


def inline_codes(text: str) -> list[str]:
    """Lists inline code of a page."""
    return [" ".join(code.split()) for code in re.findall(r"`([^`]+)`", text)]


def commands_of(page: Path) -> list[Command]:
    """Lists the commands of a page in their order: lines of blocks, and those within the text."""
    text = without_fences(page)
    found = [*block_lines(text), *inline_codes(text)]
    return [Command(page.stem, line) for line in found if re.match(PROGRAMS, line)]


def fragments_of(page: Path) -> list[str]:
    """Lists parts of commands within the text, such as ``eval --pictures``: a command and an option, or an option alone."""
    codes = inline_codes(without_fences(page))
    return [code for code in codes if re.match(rf"{COMMANDS}.*--|--\w", code)]
