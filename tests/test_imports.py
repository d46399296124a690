"""Which part of the library may import which: read from the code, without running it."""

from __future__ import annotations

import ast
import sys
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

# part of yolox: other parts of yolox that it may import | libraries. What is not named is refused.
TABLE = {
    "config": "| attrs",
    "errors": "| numpy",
    "graph": "convolutions errors | mindspore numpy",
    "convolutions": "environment | mindspore numpy",
    # the mathematics
    "boxes": "errors | mindspore",
    "losses": "| mindspore",
    "decode": "errors | mindspore numpy",
    "schedule": "config | mindspore",
    "assign": "boxes config errors graph | mindspore",  # nothing of a detector: SimOTA serves any
    "yolox_loss": "assign boxes config decode errors graph losses | mindspore",
    # the layers: never assignment, losses, data, evaluation or training
    "nn": "config native | mindspore numpy",
    "native": "errors | attrs mindspore",
    "models": "nn recipes | attrs",
    # a training run, which takes a Cell and a loss and knows neither layers nor data
    "training": "assign config config_io console data distributed errors eval graph native nn processes recipe_changes "
    "schedule wire yolox_loss | attrs mindspore mlflow numpy rich safetensors tensorboard",
    "processes": "|",
    "console": "| rich",
    "distributed": "config graph processes | attrs mindspore numpy",
    # recipes and files
    "recipes": "config | attrs",
    "recipe_changes": "config | attrs",
    "config_io": "config errors wire | attrs cattrs tomlkit",
    "wire": "errors |",
    "weights": "config environment errors training wire | attrs huggingface_hub mindspore numpy pooch requests urllib3",
    # the host
    "data": "config errors processes wire | attrs cv2 einops mindspore numpy PIL pillow_heif tifffile yaml",
    "eval": "config data decode distributed errors graph nn | attrs cv2 mindspore numpy pycocotools supervision",
    "export": "config config_io data decode environment errors eval graph nn weights wire | "
    "attrs cv2 mindspore numpy onnxruntime pooch",
    "visualize": "assign boxes config config_io data decode environment errors eval training "
    "| attrs cv2 einops jinja2 matplotlib mindspore numpy rich",
    "model": "config data distributed errors eval export models recipes weights | attrs mindspore numpy",
    "environment": "errors | cv2 numpy",  # to see whether they can be imported
}
# within these parts MindSpore stays in the modules named, so that the rest can be used and tested without it
MINDSPORE_ONLY_IN = {"native": {"operators"}, "data": {"loader"}, "eval": {"evaluate", "predict"}, "visualize": {"assignment"}}
# slow or extras: imported where used
OPTIONAL = {
    "huggingface_hub", "jinja2", "matplotlib", "mlflow", "onnx", "onnxruntime", "PIL", "pillow_heif", "supervision",
    "tensorboard", "tifffile",
}  # fmt: skip


def modules(folder: str):
    """Parsed files by dotted name; `a/__init__.py` is `a.__init__`."""
    return {".".join(path.relative_to(ROOT).with_suffix("").parts): ast.parse(path.read_text(encoding="utf-8"))
            for path in sorted((ROOT / folder).rglob("*.py"))}  # fmt: skip


def imports(name: str, tree: ast.AST) -> set[str]:
    """Dotted names that a module imports, wherever in it; relative ones made whole."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            package = name.split(".")[: -node.level] if node.level else []
            source = ".".join([*package, *([node.module] if node.module else [])])
            found |= {f"{source}.{alias.name}" for alias in node.names}
    return found - {"__future__.annotations"}


def part(name: str) -> str:
    """`yolox.data.coco` belongs to `data`, `numpy.linalg` to `numpy`."""
    parts = name.split(".")
    return parts[1] if parts[0] == "yolox" and len(parts) > 1 else parts[0]


LIBRARY = {name: imports(name, tree) for name, tree in modules("yolox").items()}


def used(of: str) -> set[str]:
    """Other parts of yolox (with `yolox.` before them) and libraries that a part imports."""
    names = set().union(*(found for name, found in LIBRARY.items() if part(name) == of))
    parts = {f"yolox.{part(name)}" if name.split(".")[0] == "yolox" else part(name) for name in names}
    return {name for name in parts if name not in sys.stdlib_module_names} - {f"yolox.{of}"}


def test_relative_imports_are_made_whole():
    tree = ast.parse("def f():\n    from .build import a\n    from .. import cli\n    import cv2.dnn")
    assert imports("yolox.data.coco", tree) == {"yolox.data.build.a", "yolox.cli", "cv2.dnn"}


def test_every_part_is_in_the_table():
    assert {part(name) for name in LIBRARY} == {*TABLE, "cli", "__init__", "__main__"}


@pytest.mark.parametrize("of", TABLE)
def test_a_part_imports_only_what_the_table_allows(of):
    inner, outer = TABLE[of].split("|")
    assert used(of) <= {*(f"yolox.{name}" for name in inner.split()), *outer.split()}


@pytest.mark.parametrize("of", TABLE)
def test_the_table_allows_nothing_that_is_not_used(of):
    inner, outer = TABLE[of].split("|")
    assert {*(f"yolox.{name}" for name in inner.split()), *outer.split()} <= used(of)


@pytest.mark.parametrize("of", MINDSPORE_ONLY_IN)
def test_mindspore_stays_in_few_modules(of):
    having = {name.split(".")[2] for name, found in LIBRARY.items()
              if part(name) == of and "mindspore" in map(part, found)}  # fmt: skip
    assert having == MINDSPORE_ONLY_IN[of]


def test_the_parts_form_no_circle():
    inner = {of: {name.removeprefix("yolox.") for name in used(of) if name.startswith("yolox.")} for of in TABLE}
    assert list(TopologicalSorter(inner).static_order())[-1] in TABLE
    with pytest.raises(CycleError):
        tuple(TopologicalSorter(inner | {"boxes": {"assign"}}).static_order())


def test_extras_are_not_needed_to_import():
    at_the_top = {name: imports(name, ast.Module([n for n in tree.body if isinstance(n, (ast.Import, ast.ImportFrom))], []))
                  for name, tree in modules("yolox").items()}  # fmt: skip
    assert {name: found for name, found in at_the_top.items() if OPTIONAL & set(map(part, found))} == {}


def test_the_library_imports_nothing_outside_of_it():
    assert {name for name, found in LIBRARY.items() if set(map(part, found)) & {"examples", "tests", "benchmarks"}} == set()


def test_examples_need_the_library_only():
    found = {name: set(map(part, imports(name, tree))) for name, tree in modules("examples").items()}
    assert len(found) >= 10 and {name for name in found if found[name] & {"tests", "benchmarks"}} == set()


def test_no_public_name_hides_a_module():
    import yolox

    hidden = {name for name in yolox.__all__ if (ROOT / f"yolox/{name}.py").exists() or (ROOT / f"yolox/{name}").is_dir()}
    assert hidden <= {"models"}  # the module itself
