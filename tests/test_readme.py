"""The README's Python blocks run as they stand, and its relative links lead somewhere."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
TEXT = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", TEXT, flags=re.DOTALL)


@pytest.mark.parametrize("index", range(len(BLOCKS)))
def test_python_blocks_run(index, tmp_path):
    path = tmp_path / "block.py"  # MindSpore compiles functions only from files
    path.write_text(BLOCKS[index], encoding="utf-8")
    names = {"__name__": "block", "__file__": str(path)}
    exec(compile(BLOCKS[index], str(path), "exec"), names)
    if "owner" in names:
        owner, iou = names["owner"].asnumpy(), names["iou"].asnumpy()
        assert owner.shape == (1, 84) and owner.max() == 0 and (iou[owner < 0] == 0).all()
    else:
        assert callable(names["step"])


def test_there_are_two_blocks_and_the_promised_commands():
    assert len(BLOCKS) == 2
    assert "    make demo\n    make test\n" in TEXT


def test_relative_links_lead_to_files():
    for target in re.findall(r"\]\((?!http|#)([^)]+)\)", re.sub(r"```.*?```", "", TEXT, flags=re.DOTALL)):
        assert (ROOT / target).exists(), target
