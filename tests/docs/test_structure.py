"""The functions and files of docs/structure.md exist, and the numbers in its text are those of its table."""

from __future__ import annotations

import ast
import re

from tests.docs.commands import ROOT

TEXT = (ROOT / "docs/structure.md").read_text(encoding="utf-8")
ROWS = [line.strip("| ").split(" | ") for line in TEXT.splitlines() if line.startswith("| ")]
CALLS = [row for row in ROWS if row[0].isdigit()]
FORMULAS = [row for row in ROWS if re.fullmatch(r"(`\w+`(, )?)+", row[1]) and not row[0].isdigit()]


def definitions(path: str) -> set[str]:
    kinds = (ast.FunctionDef, ast.ClassDef)
    return {node.name for node in ast.walk(ast.parse((ROOT / path).read_text(encoding="utf-8"))) if isinstance(node, kinds)}


def missing(names: str, files: str) -> set[str]:
    """Returns the names between backquotes that none of the files defines."""
    known = set().union(*(definitions(path) for path in re.findall(r"`([\w/]+\.py)`", files)))
    return set(re.findall(r"`(\w+)`", names)) - known


def test_functions_are_in_the_files_of_their_rows():
    assert len(FORMULAS) > 15 and len(CALLS) > 10
    assert [row for row in FORMULAS + CALLS if missing(row[1], row[2])] == []


def test_functions_within_the_text_are_in_the_files_that_follow_them():
    pairs = re.findall(r"((?:`\w+`(?:, )?)+) in (`yolox/[\w/]+\.py`)", TEXT)
    assert len(pairs) > 10
    assert [pair for pair in pairs if missing(*pair)] == []


def test_files_and_folders_exist():
    paths = re.findall(r"`((?:yolox|tests|examples|benchmarks)/[\w/.]*)`", TEXT)
    assert [path for path in paths if not (ROOT / path).exists()] == []


def test_the_numbers_of_the_text_are_those_of_the_table():
    whole, python = CALLS, CALLS[4:]
    numbers = [str(number) for rows in (whole, python) for number in (len(rows), len({row[2] for row in rows}))]
    found = re.search(r"(\d+) functions in (\d+) files.*?(\d+) functions in (\d+) files", TEXT, re.DOTALL)
    assert list(found.groups()) == numbers
    assert [int(row[0]) for row in CALLS] == list(range(1, len(CALLS) + 1))
