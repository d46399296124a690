"""The notebooks run from top to bottom in a real kernel, and hold the outputs of such a run."""

from __future__ import annotations

import os
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

ROOT = Path(__file__).resolve().parents[2]
NOTEBOOKS = sorted((ROOT / "examples").glob("*.ipynb"))


def outputs(notebook, kind):
    return [out for cell in notebook.cells for out in cell.get("outputs", []) if out.output_type == kind]


def pictures(notebook):
    found = outputs(notebook, "display_data") + outputs(notebook, "execute_result")
    return sum(any(kind.startswith("image/") for kind in out.data) for out in found)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_stored_outputs(path):
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    counts = [cell.execution_count for cell in notebook.cells if cell.cell_type == "code"]
    assert counts == list(range(1, len(counts) + 1))  # run once, in order
    assert path.stat().st_size < 300_000 and not outputs(notebook, "error")
    text = path.read_text()
    assert not any(place in text for place in ("/tmp/", "/home/", "/work/", "/root/"))


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs(path, tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]))
    stored = nbformat.read(path, as_version=4)
    notebook = nbformat.read(path, as_version=4)
    NotebookClient(notebook, timeout=900, kernel_name="python3", resources={"metadata": {"path": str(tmp_path)}}).execute()
    printed = "".join(out.text for out in outputs(notebook, "stream"))
    assert "realpath" not in printed and pictures(notebook) == pictures(stored)


def test_the_notebooks():
    assert [path.stem for path in NOTEBOOKS] == ["custom_loss", "train_shapes"]


@pytest.mark.slow
def test_functions_typed_into_cells_are_compiled(tmp_path, monkeypatch):
    """The layer, the loss and a function for `compile_function` are of cells; without their files the kernel hangs."""
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]))
    cells = [
        "import numpy as np\nfrom mindspore import Tensor, nn, ops\nimport yolox\nfrom yolox.graph import compile_function",
        "class Backbone(nn.Cell):\n"
        "    def __init__(self):\n"
        "        super().__init__()\n"
        "        self.levels = nn.CellList([nn.Conv2d(3, c, s, s, has_bias=True) for c, s in ((32, 8), (64, 16), (128, 32))])\n"
        "    def construct(self, x):\n"
        "        return self.levels[0](x), self.levels[1](x), self.levels[2](x)\n",
        "detector = yolox.Detector(Backbone(), yolox.PAFPN(0.33, 0.125), yolox.DecoupledHead(3, 0.125))\n"
        "model = yolox.Model(detector=detector, input=yolox.InputSpec(input_size=(32, 64)), class_names=('a', 'b', 'c'))\n"
        "print(len(model.predict([np.zeros((32, 64, 3), np.uint8)] * 2)))",
        "def double(x):\n    return helper(x) + x\n\ndef helper(x):\n    return x * 1.0",
        "print(compile_function(double)(Tensor([2.0])).asnumpy().tolist())",
    ]
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    NotebookClient(notebook, timeout=300, kernel_name="python3", resources={"metadata": {"path": str(tmp_path)}}).execute()
    printed = [out.text for out in outputs(notebook, "stream") if out.name == "stdout"]
    assert printed == ["2\n", "[4.0]\n"]
