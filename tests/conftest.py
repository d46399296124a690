"""Fixtures: where reference numbers and real data lie. Tests that need them are skipped without them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import wraps
from pathlib import Path

import pytest

from yolox.native import build
from yolox.visualize import run_pictures

_SHARED = Path(__file__).resolve().parents[2] / "shared"


def _folder(variable: str, default: Path) -> Path:
    folder = Path(os.environ.get(variable, default))
    if not folder.is_dir():
        pytest.skip(f"no folder {folder}; set {variable}")
    return folder


@pytest.fixture(scope="session")
def golden_dir() -> Path:
    """Folder of reference numbers: YOLOX_GOLDEN, else ../shared/golden, else the part of them that is kept beside this file."""
    larger = _SHARED / "golden"
    return _folder("YOLOX_GOLDEN", larger if larger.is_dir() else Path(__file__).with_name("golden"))


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """Folder of real weights and images: YOLOX_DATA, else ../shared/data."""
    return _folder("YOLOX_DATA", _SHARED / "data")


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory) -> Iterator[None]:
    """Keeps weights and engines of the tests out of the user's cache, but not compiled kernels, which take 20 s to build."""
    folder, kernels = tmp_path_factory.mktemp("cache"), build.cache_folder()
    kernels.mkdir(parents=True, exist_ok=True)
    (folder / "native").symlink_to(kernels)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("YOLOX_CACHE", str(folder))
        yield


@pytest.fixture(scope="session", autouse=True)
def without_charts() -> Iterator[None]:
    """Leaves out the charts and the report at the end of a run, and its curves, which become an empty file.

    They take longer than the runs of these tests; tests/visualize/test_run_pictures.py draws them.
    """

    @wraps(run_pictures.write_curves)
    def no_curves(folder: Path, target: Path | None = None) -> Path:
        path = (target or folder) / run_pictures.CURVES
        path.touch()
        return path

    nothing = wraps(run_pictures.write_charts)(lambda folder, evaluation: [])
    no_report = wraps(run_pictures.write_run_report)(lambda context, evaluation, **options: None)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run_pictures, "write_charts", nothing)
        patch.setattr(run_pictures, "write_run_report", no_report)
        patch.setattr(run_pictures, "write_curves", no_curves)
        yield
