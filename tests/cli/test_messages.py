"""An exception becomes a line that says what to do, and an exit status."""

from __future__ import annotations

from pathlib import Path

import cv2
import pytest

from yolox.cli.messages import explain, report
from yolox.errors import CommandError, RunStopped, UsageError


@pytest.mark.parametrize(
    "error, status, text",
    [
        (UsageError("--output run: is not empty"), 2, "error: --output run: is not empty\n"),
        (CommandError("no"), 1, "error: no\n"),
        (ValueError("a.json: 2 problems\n  annotation 1\n  annotation 2"), 1,
         "error: a.json: 2 problems\n  annotation 1\n  annotation 2\n"),
        (FileNotFoundError(2, "No such file", "w.pth"), 1, "error: w.pth: No such file\n"),
        (MemoryError(), 1, "error: out of memory: lower --batch-size or --input-size, or --workers\n"),
        (RuntimeError("Allocate memory failed\n\n- C++ Call Stack"), 1,
         "error: out of memory: lower --batch-size or --input-size, or --workers\n"),
        (RuntimeError("#umsg#Memory not enough:#umsg#Memory isn't enough and alloc failed, kernel name: 56_Default"), 1,
         "error: out of memory: lower --batch-size or --input-size, or --workers\n"),
        (cv2.error("OpenCV(4.11.0) alloc.cpp:73: error: (-4:Insufficient memory) Failed to allocate 9 bytes"), 1,
         "error: out of memory: lower --batch-size or --input-size, or --workers\n"),
        (RuntimeError("std::bad_alloc"), 1, "error: out of memory: lower --batch-size or --input-size, or --workers\n"),
        (KeyboardInterrupt(), 130, "error: interrupted\n"),
        (RuntimeError("kernel\nat line 1\nat line 2"), 1,
         "error: RuntimeError: kernel\n--debug shows where it comes from\n"),
        (RunStopped("stopped and saved\ngo on", Path("run"), 15), 143, "stopped and saved\ngo on\n"),
        (KeyError(), 1, "error: KeyError: KeyError\n--debug shows where it comes from\n"),
    ],
)  # fmt: skip
def test_report_writes_the_message_to_stderr_and_gives_the_status(capsys, error, status, text):
    assert report(error, debug=False) == status
    out, err = capsys.readouterr()
    assert (out, err) == ("", text)


def test_debug_adds_the_traceback(capsys):
    try:
        raise ValueError("bad")
    except ValueError as error:
        report(error, debug=True)
    err = capsys.readouterr().err
    assert "Traceback" in err and err.endswith("error: bad\n")


def test_a_long_list_is_cut():
    assert len(explain(ValueError("\n".join("x" * 100))).splitlines()) == 24


def test_messages_are_printable_short_and_no_rows_of_dashes(capsys):
    report(CommandError("\x1b[2J: " + "x" * 5000), debug=False)
    err = capsys.readouterr().err
    assert err.startswith(r"error: \x1b[2J: x") and len(err) < 2000 and err.endswith(" ...\n")
    reason = "-" * 60 + "\n- Memory of the graph\n" + "-" * 60
    assert explain(RuntimeError(reason)).startswith("RuntimeError: - Memory of the graph\n")
    assert explain(RuntimeError("-" * 60)).startswith("RuntimeError: RuntimeError")
    report(RuntimeError("y" * 5000), debug=False)
    assert len(capsys.readouterr().err) < 2000


def test_the_memory_planner_of_mindspore_is_named_with_its_usual_cause():
    text = explain(RuntimeError("-----\n- SOMAS Solving Failed.\n-----"))
    assert text.startswith("MindSpore's memory planner has failed (-") and "the system clock: was that set back?" in text
    assert "planner" not in explain(CommandError("images/somas.png: no such image file"))
