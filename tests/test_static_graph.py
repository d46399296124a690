"""The training step compiles to one graph of static shapes without host code, as Ascend's whole-graph mode needs.

The detector is a small one: what could be dynamic is the loss, the check and the update, and they are the real ones.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).with_name("graphs.py")
DYNAMIC = re.compile(r"Tensor\[\w+\], \([^)]*-\d")  # a shape such as (-1, 4); -2 stands for an unknown rank
CONTROL = re.compile(r"\b(Switch|SwitchLayer|Partial)\(")  # loops are switches of partial functions
HOST = re.compile(r"\b(PyExecute|PyInterpret)\b")


def dump(kind: str, folder: Path) -> str:
    """Compile a graph and read it as it goes to the backend."""
    environment = {**os.environ, "MS_DEV_SAVE_GRAPHS": "1", "MS_DEV_SAVE_GRAPHS_PATH": str(folder), "GLOG_v": "3"}
    subprocess.run([sys.executable, str(SCRIPT), kind], env=environment, capture_output=True, timeout=400, check=False)
    files = sorted(folder.rglob("[0-9]*validate*.ir"), key=lambda path: path.stat().st_mtime)
    assert files, f"MindSpore left no graph: {sorted(p.name for p in folder.rglob('*'))[:20]}"
    return "\n".join(path.read_text() for path in files)


@pytest.mark.slow
@pytest.mark.parametrize("device", ["CPU", "Ascend"])
def test_the_training_step_is_static(tmp_path, device):
    text = dump(device, tmp_path)
    assert "SGD(" in text and "Lerp(" in text  # it is the whole step, update and average too
    assert not DYNAMIC.findall(text)
    assert not HOST.findall(text)
    assert bool(CONTROL.findall(text)) == (device == "CPU")  # on Ascend each loop and branch goes back to the host


@pytest.mark.parametrize(("kind", "pattern"), [("dynamic", DYNAMIC), ("fallback", HOST)])
def test_the_search_finds_what_it_looks_for(tmp_path, kind, pattern):
    assert pattern.findall(dump(kind, tmp_path))
