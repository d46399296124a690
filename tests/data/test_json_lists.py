"""Lists of a JSON file read one element at a time: what `json.loads` reads, at any size of the window."""

from __future__ import annotations

import json
import tracemalloc
from io import StringIO

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from yolox.data import json_lists
from yolox.data.json_lists import read_lists
from yolox.errors import DataError

quiet = settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
leaves = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=6)
values = st.recursive(leaves, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=3))
chunks = st.integers(1, 40)


def collect(path, text: str, *keys: str, chunk: int = 1 << 20):
    path.write_text(text, encoding="utf-8")
    found = {key: [] for key in keys}
    handlers = {key: lambda place, element, k=key: found[k].append((place, element)) for key in keys}
    return read_lists(str(path), handlers, chunk=chunk), found


@given(st.dictionaries(st.sampled_from(["a", "b", "é", "\n"]), values), chunks, st.sampled_from([None, 1]))
@quiet
def test_elements_are_those_of_json(tmp_path, content, chunk, indent):
    lengths, found = collect(tmp_path / "a.json", json.dumps(content, indent=indent), "a", "é", chunk=chunk)
    assert lengths == {key: len(value) for key, value in content.items() if isinstance(value, list)}
    for key in ("a", "é"):
        value = content.get(key)
        assert found[key] == (list(enumerate(value)) if isinstance(value, list) else [])


@given(st.lists(values, max_size=4), chunks, st.data())
@quiet
def test_a_cut_file_is_refused(tmp_path, value, chunk, data):
    text = json.dumps({"a": value, "b": 1})
    with pytest.raises(DataError, match="a.json: .*(is not a JSON file|holds a)"):
        collect(tmp_path / "a.json", text[: data.draw(st.integers(0, len(text) - 1))], "a", chunk=chunk)


@pytest.mark.parametrize("chunk", [1, 2, 3, 5, 100])
def test_numbers_that_a_window_cuts_are_whole(tmp_path, chunk):
    text = '{"a": [12.5e-3, -7, 1E+2, 10000000000000000000000, Infinity, -Infinity, 0.0, 3]}'
    _, found = collect(tmp_path / "a.json", text, "a", chunk=chunk)
    assert [value for _, value in found["a"]] == json.loads(text)["a"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is not a JSON file .the file ends, at its start, from character 0"),
        ("7", "holds a int, want an object with lists"),
        ("[1, 2]", "holds a list"),
        ('{"a": [{"b": 1}, {"b" 2}]}', r"Expecting ':' delimiter, in a\[1\], from character 17"),
        ('{"a": [1 2]}', r"want ',' or '\]', in a\[0\], from character 9"),
        ('{"a": [1,]}', r"Expecting value, in a\[1\], from character 9"),
        ('{"c": 1 "a": []}', "want ',' or '}', in 'c', from character 8"),
        ('{"c": nul}', "Expecting value, in 'c'"),
        ('{"a": []} x', "something follows, in 'a', from character 10"),
        ('{"a" []}', "want a name in quotes and a colon"),
        ("{1: []}", "want a name in quotes and a colon"),
        ('{"a": [], "a": []}', "has 'a' twice"),
        ('{"b": [], "a": [], "b": 1}', "has 'b' twice"),
        ('{"a": [{"id": 1}, {"id": 2, "x": {"id": 1, "id": 2}}]}', r"in a\[1\]: has the key 'id' twice"),
        ('{"a": [' + "9" * 5000 + "]}", r"digits.*, in a\[0\]"),
        ('{"a": [' + "[" * 100_000, "recursion"),
    ],
)
@pytest.mark.parametrize("chunk", [1, 1 << 20])
def test_what_is_wrong_is_told_with_its_place(tmp_path, text, message, chunk):
    with pytest.raises(DataError, match=f"a.json: .*{message}"):
        collect(tmp_path / "a.json", text, "a", chunk=chunk)


def test_a_long_list_takes_the_memory_of_an_element(tmp_path):
    text = json.dumps({"a": [{"outline": [0.5] * 100, "id": i} for i in range(5000)]})  # 2.6 million characters
    (tmp_path / "a.json").write_text(text)
    tracemalloc.start()
    read_lists(str(tmp_path / "a.json"), {}, chunk=10_000)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < len(text) / 10


def test_a_broken_element_is_not_read_to_the_end_of_the_file(tmp_path, monkeypatch):
    monkeypatch.setattr(json_lists, "_LONGEST", 1000)
    text, read = StringIO('{"a": [{"b" 1}, ' + "1, " * 100_000 + "1]}"), []
    text.read = lambda count: read.append(count) or StringIO.read(text, count)
    monkeypatch.setattr(json_lists, "open", lambda *_, **__: text, raising=False)
    with pytest.raises(DataError, match=r"Expecting ':' delimiter, in a\[0\]"):
        read_lists("a.json", {}, chunk=100)
    assert sum(read) < 5000


def test_a_byte_order_mark_is_no_content(tmp_path):
    (tmp_path / "a.json").write_text('{"a": [1]}', encoding="utf-8-sig")
    assert read_lists(str(tmp_path / "a.json"), {}) == {"a": 1}
