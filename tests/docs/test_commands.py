"""Every command of README.md and docs/*.md is typed as it stands, or is in the table of `commands.NOT_RUN` with a reason.

The commands of a page run in order in one folder. README.md and the pages of `REAL` run with the detectors that they name;
the others with the one of tests/docs/small.py in its place, at 64 px like all.
"""

from __future__ import annotations

import re
import shutil

import pytest

from tests.cli.runs import StopAfterEightSteps
from tests.docs.commands import NOT_RUN, OUTPUT, PAGES, PROGRAMS, block_lines, commands_of, without_fences
from tests.docs.folder import draw_everything, write_weights
from tests.docs.small import SmallDetector
from tests.docs.typed import make_small, type_in
from tests.nn.scales import build_detector
from yolox.training import trainer

REAL = {"README", "index", "quickstart"}  # tests/examples trains the custom detector
# Pages that begin with a run and a file that are there.
GO_ON = {"deployment", "long_runs", "pictures", "troubleshooting", "tutorial"}
FAST = {"own_dataset", "data_tools"}
BEGIN = (
    "python examples/yolox_nano.py train --epochs 2 --train-json A.json --train-images A --val-json B.json --val-images B "
    "--output RUN",
    "python examples/yolox_nano.py export --weights RUN/best.safetensors --output detector.onnx",
)


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pages")
    draw_everything(folder)
    return folder


@pytest.fixture(scope="module")
def begun(drawn, tmp_path_factory):
    """The same with a run that was stopped in its second epoch, and an exported file."""
    folder = tmp_path_factory.mktemp("begun") / "folder"
    shutil.copytree(drawn, folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        make_small(patch)
        patch.setattr(trainer, "StopSignals", StopAfterEightSteps)  # three steps, three batches of the evaluation, two steps
        assert [type_in(text, patch) for text in BEGIN] == [143, 0]
    return folder


def page_params():
    pages = [page for page in PAGES if any(command.is_run for command in commands_of(page))]
    return [pytest.param(page, id=page.stem, marks=[] if page.stem in FAST else pytest.mark.slow) for page in pages]


@pytest.mark.parametrize("page", page_params())
def test_commands_of_a_page_run_in_order(page, request, tmp_path, monkeypatch):
    source = request.getfixturevalue("begun" if page.stem in GO_ON else "drawn")
    folder = tmp_path / "folder"
    shutil.copytree(source, folder)
    monkeypatch.chdir(folder)
    write_weights(folder, build_detector("nano") if page.stem in REAL else SmallDetector())
    if page.stem not in REAL:
        make_small(monkeypatch)
    for command in commands_of(page):
        if command.is_run:
            print(f"$ {command.text}", flush=True)
            assert type_in(command.text, monkeypatch) == 0, command.text


def test_lines_of_blocks_are_commands_or_their_output():
    for page in PAGES:
        for line in block_lines(without_fences(page)):
            assert re.match(PROGRAMS, line) or line.startswith(OUTPUT), f"{page.name}: {line}"


def test_every_row_of_the_table_is_needed_and_scripts_are_run_unless_they_are_in_it():
    commands = [command for page in PAGES for command in commands_of(page)]
    for pattern in NOT_RUN:
        assert any(re.fullmatch(pattern, command.text) for command in commands), pattern
    assert all(command.text.startswith(("python ", "yolox ")) for command in commands if command.is_run)
    assert sum(command.is_run for command in commands) > 50
