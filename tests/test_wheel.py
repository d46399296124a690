"""A wheel in an environment of its own, away from the repository, has the models and every command."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SMALL = (
    "--input-size 64 --batch-size 2 --epochs 1 --warmup-epochs 0 --flat-epochs 0 --plain-epochs 0 --workers 0 "
    "--multiscale-sizes"
).split()


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """Installs the wheel; packages that it depends on are those of the running environment."""
    home = tmp_path_factory.mktemp("wheel")
    # From a copy: setuptools leaves build/ and *.egg-info beside pyproject.toml.
    copy = home / "source"
    shutil.copytree(ROOT / "yolox", copy / "yolox", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, copy)
    build = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    subprocess.run([*build, "--wheel-dir", str(home), str(copy)], check=True)
    venv.create(home / "env", with_pip=False)
    site = sysconfig.get_path("purelib", "venv", {"base": str(home / "env"), "platbase": str(home / "env")})
    wheel = next(home.glob("*.whl"))
    install = [sys.executable, "-m", "pip", "--python", str(home / "env"), "install", "--quiet", "--no-deps", "--no-index"]
    subprocess.run([*install, str(wheel)], check=True)
    # A .pth in the running environment would be read by addsitedir, and with it an editable install of the repository.
    Path(site, "packages.pth").write_text(sysconfig.get_path("purelib") + "\n")
    (home / "work").mkdir()
    return home


def command(home: Path, *argv, **variables: str) -> subprocess.CompletedProcess:
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")} | variables
    done = subprocess.run(
        [str(home / "env/bin/yolox"), *map(str, argv)], cwd=home / "work", env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done


@pytest.mark.slow
def test_every_command_runs_from_the_wheel(home):
    where = [str(home / "env/bin/python"), "-c", "import yolox; print(yolox.__file__, yolox.__version__)"]
    draw = "from yolox.data.synthetic import write_synthetic; write_synthetic('data', images=4, seed=0)"
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    found = subprocess.run(where, cwd=home / "work", env=environment, capture_output=True, text=True, check=True).stdout
    assert found.startswith(str(home / "env"))
    subprocess.run([where[0], "-c", draw], cwd=home / "work", env=environment, check=True)
    train = ["--train-json", "data/instances.json", "--train-images", "data/images"]
    val = ["--val-json", "data/instances.json", "--val-images", "data/images"]
    nano = ["--model", "nano"]
    info = json.loads(command(home, "info", *nano, "--json").stdout)
    assert info["parameters"] == 912_159
    assert info["native_kernels"]["active"] or "compiler" in info["native_kernels"]["reason"]
    installed = Path(found.split()[0]).parent
    sources = sorted(path.name for path in (ROOT / "yolox/native/src").iterdir())
    assert sorted(path.name for path in (installed / "native/src").iterdir()) == sources
    command(home, "check", *nano, *train)
    slow = command(home, "train", *nano, *train, *val, "--output", "run", *SMALL, CXX="none")
    assert "slower than it could be: no C++ compiler is installed (looked for none)" in slow.stderr + slow.stdout
    best = ["--weights", "run/best.safetensors"]
    command(home, "eval", *nano, *best, *val, "--workers", "0", "--json", "metrics.json")
    command(home, "export", *nano, *best, "--output", "nano.onnx")
    command(home, "predict", "--weights", "nano.onnx", "--source", "data/images", "--output", "found")
    assert len(json.loads((home / "work/found/predictions.json").read_text())) == 4
