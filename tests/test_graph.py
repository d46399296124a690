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
    text = {name: [f"def {name}(x):\n", "    return x\n"] for name in ("new", "there", "file", "foreign", "linked", "dangling")}
    text["plain"] = ["x = 1\n"]
    folder, foreign = tmp_path / "ipykernel_1", tmp_path / "writable"
    (tmp_path / "there.py").write_text("mine")
    foreign.mkdir()
    foreign.chmod(0o777)
    (tmp_path / "link").symlink_to(tmp_path / "private")
    (tmp_path / "private").mkdir(mode=0o700)
    (tmp_path / "dangling.py").symlink_to(tmp_path / "nowhere")
    places = {"new": folder, "plain": folder, "file": folder, "there": tmp_path, "dangling": tmp_path, "foreign": foreign}
    places["linked"] = tmp_path / "link"
    entries = {str(places[n] / f"{n}.py"): (9, 1.0 if n == "file" else None, lines, n) for n, lines in text.items()}
    entries["<attrs generated init a>"] = (9, None, text["new"], "<attrs generated init a>")
    monkeypatch.setattr(graph.linecache, "cache", entries)
    monkeypatch.setattr(graph, "_written", set())
    removed = []
    monkeypatch.setattr(graph.atexit, "register", lambda *call: removed.append(call))
    assert write_cell_sources() == [str(folder / "new.py")]
    assert [p.name for p in folder.iterdir()] == ["new.py"] and (folder / "new.py").read_text() == "".join(text["new"])
    assert folder.stat().st_mode & 0o077 == (folder / "new.py").stat().st_mode & 0o077 == 0
    assert (tmp_path / "there.py").read_text() == "mine" and not (tmp_path / "nowhere").exists()
    assert not list(foreign.iterdir()) and not list((tmp_path / "private").iterdir())
    (folder / "new.py").unlink()
    assert write_cell_sources() == [] and not list(folder.iterdir())  # each once
    assert [call[2] for call in removed] == [os.getpid()] * 2


def test_a_compiled_function_writes_cells_before_each_call(monkeypatch):
    order = []
    monkeypatch.setattr(graph, "write_cell_sources", lambda: order.append("write"))
    monkeypatch.setattr(graph.ms, "jit", lambda function: lambda x: order.append("call") or function(x))
    assert [graph.compile_function(abs)(x) for x in (-1, 2)] == [1, 2] and order == ["write", "call"] * 2
