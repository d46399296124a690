"""What training refuses before its first step, and what it announces."""

from __future__ import annotations

import pytest

from tests.cli.tiny import EXPERIMENT, write_data
from yolox.cli import run
from yolox.config import LoaderConfig, Recipe
from yolox.training.trainer import describe_sizes


@pytest.mark.parametrize("name", ["net.onnx", "net.MINDIR"])
def test_exported_files_do_not_train(tmp_path, capsys, name):
    (tmp_path / name).write_bytes(b"exported")
    words = ["--weights", tmp_path / name, "--output", tmp_path / "run"]
    assert run(EXPERIMENT, ["train", *write_data(tmp_path / "data", 2), *map(str, words)]) == 2
    assert f"{name}: an exported file cannot be trained; give the weights it was made of" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("sizes", "words"),
    [
        ((), ""),
        ((640,), ""),
        ((320,), " (training at height 320 px)"),
        ((704, 320, 640, 320), " (training at 3 heights, 320 to 704 px)"),
    ],
)
def test_training_sizes_are_named_where_they_are_not_the_input_size(sizes, words):
    assert describe_sizes(Recipe(loader=LoaderConfig(multiscale_sizes=sizes))) == "640 x 640 px" + words


def test_a_run_announces_its_training_sizes(tmp_path, capsys):
    data = write_data(tmp_path / "data", 2)
    argv = ["train", *data, "--output", str(tmp_path / "run"), "--input-size", "96", "--multiscale-sizes", "32", "64"]
    assert run(EXPERIMENT, [*argv, "--epochs", "2", "--plain-epochs", "0", "--flat-epochs", "0"]) == 0
    assert "tiny, 96 x 96 px (training at 2 heights, 32 to 64 px): 2 images, " in capsys.readouterr().out
