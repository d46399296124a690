"""The workarounds of `yolox.graph`: each test fails when MindSpore's behaviour makes the workaround wrong or needless."""

import os

import mindspore as ms
import numpy as np
from mindspore import Tensor

from yolox import graph
from yolox.graph import constant_arange, materialize, tree_map, write_cell_sources


def _double(x):
    return x * 2


@ms.jit
def _mapped(tensors):
    return tree_map(_double, tensors)


@ms.jit
def _counted(x):
    return x + constant_arange(x.shape[0], "float32")


@ms.jit
def _looped(x, turns):
    x = materialize(x)
    total, i = x * 0, turns * 0
    while i < turns:
        total = total + x
        i = i + 1
    return total


def test_tree_map_keeps_the_order_of_a_tuple():
    one, two = _mapped((Tensor([1.0]), Tensor([2.0, 3.0])))
    assert one.asnumpy().tolist() == [2.0] and two.asnumpy().tolist() == [4.0, 6.0]


def test_constant_arange_in_graph_and_eager_code():
    assert _counted(Tensor([1.0, 1.0, 1.0])).asnumpy().tolist() == [1.0, 2.0, 3.0]
    assert constant_arange(2).dtype == ms.int32


def test_a_materialized_view_has_the_right_numbers_in_a_loop():
    base = np.arange(12, dtype=np.float32).reshape(2, 6)
    view = Tensor(base)[:, 4]
    assert _looped(view, Tensor(3)).asnumpy().tolist() == (base[:, 4] * 3).tolist()


def test_cells_are_written_where_python_says_they_are(tmp_path, monkeypatch):
    text = {name: [f"def {name}(x):\n", "    return x\n"] for name in ("new", "there", "file", "foreign")}
    text["plain"] = ["x = 1\n"]
    folder, foreign = tmp_path / "ipykernel_1", tmp_path / "writable"
    (tmp_path / "there.py").write_text("mine")
    foreign.mkdir()
    foreign.chmod(0o777)
    places = {"new": folder, "plain": folder, "file": folder, "there": tmp_path, "foreign": foreign}
    entries = {str(places[n] / f"{n}.py"): (9, 1.0 if n == "file" else None, lines, n) for n, lines in text.items()}
    entries["<attrs generated init a>"] = (9, None, text["new"], "<attrs generated init a>")
    monkeypatch.setattr(graph.linecache, "cache", entries)
    monkeypatch.setattr(graph, "_written", set())
    removed = []
    monkeypatch.setattr(graph.atexit, "register", lambda *call: removed.append(call))
    assert write_cell_sources() == [str(folder / "new.py")]
    assert [p.name for p in folder.iterdir()] == ["new.py"] and (folder / "new.py").read_text() == "".join(text["new"])
    assert folder.stat().st_mode & 0o077 == (folder / "new.py").stat().st_mode & 0o077 == 0
    assert (tmp_path / "there.py").read_text() == "mine" and not list(foreign.iterdir())
    (folder / "new.py").unlink()
    assert write_cell_sources() == [] and not list(folder.iterdir())  # each once
    assert [call[2] for call in removed] == [os.getpid()] * 2


def test_a_compiled_function_writes_cells_before_each_call(monkeypatch):
    order = []
    monkeypatch.setattr(graph, "write_cell_sources", lambda: order.append("write"))
    monkeypatch.setattr(graph.ms, "jit", lambda function: lambda x: order.append("call") or function(x))
    assert [graph.compile_function(abs)(x) for x in (-1, 2)] == [1, 2] and order == ["write", "call"] * 2


LOSS = "def loss(x):\n    return x * 2\n"


@pytest.fixture()
def type_cell(monkeypatch):
    """Registers the text of a cell as Jupyter does, and returns what it defines."""
    monkeypatch.setattr(graph, "_written", set())
    cells = []

    def run(path, text):
        cells.append(str(path))
        linecache.cache[str(path)] = (len(text), None, text.splitlines(True), str(path))
        names = {"__name__": "__main__"}
        exec(compile(text, str(path), "exec"), names)
        return names

    yield run
    for path in cells:
        linecache.cache.pop(path, None)


def test_a_cell_is_written_where_its_code_says_it_is(tmp_path, type_cell):
    path = tmp_path / "ipykernel_1" / "7.py"
    loss = type_cell(path, LOSS)["loss"]
    type_cell(tmp_path / "ipykernel_1" / "8.py", "password = 1\n")  # defines nothing that can be compiled
    assert loss.__code__.co_filename == str(path) and not path.exists()
    assert write_cell_sources() == [str(path)] and path.read_text() == LOSS
    assert stat.S_IMODE(path.stat().st_mode) == 0o600 and stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert os.listdir(path.parent) == ["7.py"]
    path.unlink()
    assert write_cell_sources() == []  # once


def test_a_cell_never_replaces_a_file(tmp_path, type_cell):
    path, link = tmp_path / "7.py", tmp_path / "8.py"
    path.write_text("mine")
    link.symlink_to(tmp_path / "nowhere")
    for each in (path, link):
        type_cell(each, LOSS)
    assert write_cell_sources() == [] and path.read_text() == "mine" and not (tmp_path / "nowhere").exists()


@pytest.mark.parametrize("kind", ["writable by others", "a link"])
def test_a_folder_that_is_not_private_is_left_alone(tmp_path, type_cell, kind, caplog):
    (tmp_path / "other").mkdir()
    if kind == "a link":
        (tmp_path / "cells").symlink_to(tmp_path / "other")
    else:
        (tmp_path / "cells").mkdir()
        (tmp_path / "cells").chmod(0o777)
    type_cell(tmp_path / "cells" / "7.py", LOSS)
    assert write_cell_sources() == [] and os.listdir(tmp_path / "cells") == []
    assert "is not a folder that only this user can write" in caplog.text


def test_names_that_are_no_paths_are_passed_over(type_cell, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    type_cell("<attrs generated init x>", LOSS)
    type_cell("Cell In[1]", LOSS)
    assert write_cell_sources() == [] and os.listdir(tmp_path) == []


def test_compiling_writes_the_cells_before_each_call(tmp_path, type_cell):
    double = compile_function(_double)  # made before the cell was typed
    type_cell(tmp_path / "cells" / "7.py", LOSS)
    assert double(Tensor([1.5])).asnumpy().tolist() == [3.0]
    assert (tmp_path / "cells" / "7.py").read_text() == LOSS
