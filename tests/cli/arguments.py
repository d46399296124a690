"""Arguments of the command line for a scale's script and drawn images, and what such a command says when it fails."""

from __future__ import annotations

import json
import sys
from importlib import import_module
from pathlib import Path

from yolox.cli import run
from yolox.data.synthetic import SyntheticConfig, write_synthetic

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
SMALL = (
    "--input-size 64 --batch-size 2 --epochs 2 --warmup-epochs 0 --flat-epochs 1 --plain-epochs 1 "
    "--multiscale-sizes --workers 0 --max-truths 8"
).split()


def experiment_of(script: str):
    """Import a scale's script as its own folder sees it."""
    sys.path.insert(0, str(EXAMPLES))
    try:
        return import_module(script).EXPERIMENT
    finally:
        sys.path.remove(str(EXAMPLES))


def draw_both_sets(folder):
    """Draw a training and a validation set of four images each."""
    for seed, name in enumerate(("train", "val")):
        write_synthetic(
            folder / name, images=4, seed=seed, config=SyntheticConfig(image_size=(48, 64), sides=(12, 30))
        )
    return folder


def train_arguments(data, output, *more):
    """Returns the arguments of a run of two epochs at 64 px."""
    argv = ["train", "--output", output]
    for part in ("train", "val"):
        argv += [f"--{part}-json", data / part / "instances.json", f"--{part}-images", data / part / "images"]
    return [str(part) for part in (*argv, *SMALL, *more)]


def eval_arguments(data, weights, *more):
    """Returns the arguments of an evaluation of the validation images."""
    argv = ["eval", "--weights", weights, "--val-json", data / "val/instances.json", "--val-images"]
    return [str(part) for part in (*argv, data / "val/images", "--workers", "0", *more)]


def fails(capsys, experiment, argv, status):
    """Run a command that has to fail with one message; give the message."""
    assert run(experiment, [str(part) for part in argv]) == status
    out, err = capsys.readouterr()
    assert err.startswith("error: ") and "Traceback" not in err
    assert len(err.splitlines()) <= 2 or ("does not fit" in err and len(err.splitlines()) <= 5)  # that lists three tensors
    return err


def rewritten(data, tmp_path, change):
    """Returns the arguments for a changed copy of the validation annotations."""
    content = json.loads((data / "val/instances.json").read_text())
    change(content)
    (tmp_path / "changed.json").write_text(json.dumps(content))
    return ["--val-json", tmp_path / "changed.json"]
