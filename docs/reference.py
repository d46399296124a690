"""Writes docs/reference.md from the public names: `python docs/reference.py`.

As a hook of mkdocs, adds the whole docstrings of these names to the page.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import re
import sys
from pathlib import Path
from types import ModuleType

from attrs import frozen

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs/reference.md"
NAMESPACES = (
    "yolox", "yolox.models", "yolox.assign", "yolox.nn", "yolox.data", "yolox.training", "yolox.eval", "yolox.visualize",
    "yolox.weights", "yolox.export",
)  # fmt: skip
INTRODUCTION = """# Reference

Find a public name. `import yolox` is enough for all of them: `yolox.simota_assign`, `yolox.assign.select_k_lowest`. A name that
two places export is listed once, under the part of the library that defines it. Names that are not listed may change without
notice.

This page is written by `python docs/reference.py`; `help(yolox.simota_assign)` shows arguments, shapes and an example.
"""


@frozen
class Entry:
    """One public name."""

    name: str
    places: tuple[str, ...]
    """Namespaces that export it."""
    source: str
    """Module that defines it."""
    summary: str
    """First sentence of its docstring."""


def public_names(namespace: str) -> list[str]:
    """Lists the names in `__all__` of a namespace; of one without it, the classes, functions and constants that it defines."""
    module = importlib.import_module(namespace)
    if hasattr(module, "__all__"):
        return list(module.__all__)
    return [name for name, value in vars(module).items() if _is_public(module, name, value)]


def _is_public(module: ModuleType, name: str, value: object) -> bool:
    own = getattr(value, "__module__", None) == module.__name__ or name.isupper()
    return own and not name.startswith("_") and not inspect.ismodule(value)


def entries() -> dict[str, list[Entry]]:
    """Returns the public names by the namespace that defines them, each in alphabetical order."""
    places: dict[tuple[str, str], list[str]] = {}
    for namespace in NAMESPACES:
        for name in public_names(namespace):
            value = getattr(importlib.import_module(namespace), name)
            if not inspect.ismodule(value) and name != "__version__":
                places.setdefault((defining_module(namespace, name), name), []).append(namespace)
    found: dict[str, list[Entry]] = {namespace: [] for namespace in NAMESPACES}
    for (source, name), spaces in sorted(places.items(), key=lambda item: item[0][1].lower()):
        home = max((space for space in NAMESPACES if f"{source}.".startswith(f"{space}.")), key=len)
        found[home].append(Entry(name, tuple(spaces), source, summary(source, name)))
    return found


def defining_module(namespace: str, name: str) -> str:
    """Returns the module in which a name is defined, following the imports of the namespaces."""
    module = importlib.import_module(namespace)
    for node in _tree(module).body:
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "yolox":
            for alias in node.names:
                if (alias.asname or alias.name) == name and not inspect.ismodule(getattr(module, name)):
                    return defining_module(node.module, alias.name)
    return namespace


def _tree(module: ModuleType) -> ast.Module:
    return ast.parse(Path(module.__file__).read_text(encoding="utf-8"))


def summary(source: str, name: str) -> str:
    """Returns the first sentence of the docstring of a name; that of a constant is the text below its assignment."""
    module = importlib.import_module(source)
    value = getattr(module, name)
    if inspect.isclass(value) or inspect.isroutine(value):
        text = inspect.getdoc(value) or ""
    else:
        body = _tree(module).body
        after = [b for a, b in zip(body, body[1:], strict=False) if name in _assigned(a)]
        text = ast.literal_eval(after[0].value) if after and _is_text(after[0]) else f"Constant, {type(value).__name__}."
    paragraph = " ".join(text.partition("\n\n")[0].split())
    return re.split(r"(?<=\.) (?=[A-Z`])", paragraph)[0].replace("|", "\\|").replace("``", "`")


def _assigned(node: ast.stmt) -> list[str]:
    targets = node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
    return [target.id for target in targets if isinstance(target, ast.Name)]


def _is_text(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


def reference_page() -> str:
    """Returns the text of docs/reference.md."""
    parts = [INTRODUCTION]
    for namespace, found in entries().items():
        about = " ".join((importlib.import_module(namespace).__doc__ or "").partition("\n\n")[0].split())
        rows = [f"| `{entry.name}` | {' '.join(f'`{place}`' for place in entry.places)} | {entry.summary} |" for entry in found]
        table = "\n".join(["| name | in | what it is |", "|---|---|---|", *rows]) if rows else "No public names of its own."
        parts.append(f"## {namespace}\n\n{about}\n\n{table}\n")
    return "\n".join(parts)


def on_page_markdown(markdown: str, *, page, **_) -> str:
    """Adds the docstrings of all names to the page in the site; called by mkdocs."""
    if page.file.src_uri != PAGE.name:
        return markdown
    blocks = [f"::: {entry.source}.{entry.name}" for found in entries().values() for entry in found]
    return "\n\n".join([markdown, "## Docstrings", *blocks])


if __name__ == "__main__":
    PAGE.write_text(reference_page(), encoding="utf-8")
    print(f"{PAGE}: {sum(map(len, entries().values()))} names", file=sys.stderr)
