"""Docstrings of public functions have the sections that design and style ask for."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
FILES = [path for path in sorted((ROOT / "yolox").rglob("*.py")) if "cli" not in path.parts]


def missing(function: ast.FunctionDef) -> list[str]:
    """Name the sections that a docstring lacks; one that refers to another's arguments has them."""
    text = ast.get_docstring(function) or ""
    arguments = function.args.posonlyargs + function.args.args + function.args.kwonlyargs
    returns = any(isinstance(node, ast.Return) and node.value is not None for node in ast.walk(function))
    raises = any(isinstance(node, ast.Raise) and node.exc is not None for node in ast.walk(function))
    wanted = {"Args": bool(arguments), "Returns": returns, "Raises": raises}
    if "Arguments, result and errors as" in text:
        return []
    return sorted(section for section, needed in wanted.items() if needed and f"{section}:\n" not in text)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_public_functions_say_what_goes_in_and_comes_out(path):
    body = ast.parse(path.read_text(encoding="utf-8")).body
    public = [node for node in body if isinstance(node, ast.FunctionDef) and not node.name.startswith("_")]
    assert {node.name: missing(node) for node in public if missing(node)} == {}


def test_a_docstring_without_sections_is_found():
    (function,) = ast.parse("def f(a):\n    '''Do.'''\n    if a: raise ValueError(a)\n    return a").body
    assert missing(function) == ["Args", "Raises", "Returns"]
