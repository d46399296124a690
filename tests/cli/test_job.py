"""What training refuses before its first step."""

from __future__ import annotations

import pytest

from tests.cli.tiny import EXPERIMENT, write_data
from yolox.cli import run


@pytest.mark.parametrize("name", ["net.onnx", "net.MINDIR"])
def test_exported_files_do_not_train(tmp_path, capsys, name):
    (tmp_path / name).write_bytes(b"exported")
    words = ["--weights", tmp_path / name, "--output", tmp_path / "run"]
    assert run(EXPERIMENT, ["train", *write_data(tmp_path / "data", 2), *map(str, words)]) == 2
    assert f"{name}: an exported file cannot be trained; give the weights it was made of" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
