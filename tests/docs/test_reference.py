"""The reference has every public name, and what the pages import or name with `yolox.` exists."""

from __future__ import annotations

import ast
import importlib
import re

import pytest

import yolox
from docs.reference import NAMESPACES, PAGE, entries, public_names, reference_page
from tests.docs.commands import PAGES

NOT_NAMES = {"yolox.git", "yolox.cli"}  # parts of addresses, packages that are imported on their own


def python_blocks(text: str) -> list[str]:
    return re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL)


def imports_of(code: str) -> list[tuple[str, str | None]]:
    """Lists the modules of the library that a block imports, and the names that it takes from them."""
    found: list[tuple[str, str | None]] = []
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Import):
            found += [(alias.name, None) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            found += [(node.module, alias.name) for alias in node.names]
    return [(module, name) for module, name in found if module.split(".")[0] == "yolox"]


def exists(path: str) -> bool:
    """Whether a dotted name is a module of the library or an attribute that can be reached from one."""
    parts = path.split(".")
    for length in range(len(parts), 0, -1):
        try:
            value = importlib.import_module(".".join(parts[:length]))
        except ImportError:
            continue
        for part in parts[length:]:
            if not hasattr(value, part):
                return False
            value = getattr(value, part)
        return True
    return False


def dotted_names(text: str) -> list[str]:
    """Lists the names that a page writes as `yolox.name` between backquotes or in Python."""
    codes = [*re.findall(r"`([^`\n]+)`", re.sub(r"```.*?```", "", text, flags=re.DOTALL)), *python_blocks(text)]
    return sorted({name for code in codes for name in re.findall(r"(?<![\w/.\-])yolox(?:\.[A-Za-z_]\w*)+", code)})


def test_the_page_is_up_to_date():
    assert PAGE.read_text(encoding="utf-8") == reference_page(), "run: python docs/reference.py"


@pytest.mark.parametrize("namespace", NAMESPACES)
def test_every_public_name_is_in_the_reference(namespace):
    text = PAGE.read_text(encoding="utf-8")
    names = [name for name in public_names(namespace) if name != "__version__" and not exists_as_module(namespace, name)]
    assert [name for name in names if f"| `{name}` |" not in text] == []


def exists_as_module(namespace: str, name: str) -> bool:
    return f"{namespace}.{name}" in NAMESPACES


def test_every_name_of_the_reference_can_be_imported_and_has_a_summary():
    for entry in [entry for found in entries().values() for entry in found]:
        assert all(hasattr(importlib.import_module(place), entry.name) for place in entry.places)
        assert entry.summary, f"{entry.source}.{entry.name} has no docstring"


def test_import_yolox_is_enough():
    for namespace in NAMESPACES[1:]:
        assert hasattr(yolox, namespace.partition(".")[2])


@pytest.mark.parametrize("page", [page for page in PAGES if python_blocks(page.read_text())], ids=lambda page: page.stem)
def test_imports_of_a_page_work(page):
    for block in python_blocks(page.read_text(encoding="utf-8")):
        for module, name in imports_of(block):
            assert exists(module if name is None else f"{module}.{name}"), f"{page.name}: {module}, {name}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_names_on_a_page_exist(page):
    names = [name for name in dotted_names(page.read_text(encoding="utf-8")) if name not in NOT_NAMES]
    assert [name for name in names if not name.endswith(".py") and not exists(name)] == []


def test_names_that_do_not_exist_are_found():
    text = "`yolox.nothing(x)`\n```python\nfrom yolox.boxes import area, nothing\nyolox.models.yolox_huge()\n```"
    assert [name for name in dotted_names(text) if not exists(name)] == ["yolox.models.yolox_huge", "yolox.nothing"]
    assert [exists(f"{module}.{name}") for module, name in imports_of(python_blocks(text)[0])] == [True, False]
