"""What stands in the way of the first command is said in one or two lines, by the scripts as processes."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.runs import ROOT
from tests.cli.tiny import write_data

OPENCV = """error: OpenCV cannot be loaded (libGL.so.1: cannot open); this library needs the headless build:
pip uninstall -y opencv-python; pip install --force-reinstall 'opencv-python-headless<4.12'
"""


def type_in(*argv, before=(), packages: Path | None = None) -> subprocess.CompletedProcess:
    """Run Python with these arguments in the repository; packages in `packages` hide the installed ones."""
    environment = {name: value for name, value in os.environ.items() if name != "GLOG_v"}
    environment["PYTHONPATH"] = os.pathsep.join([str(packages or ROOT), str(ROOT)])
    command = [*before, sys.executable, *map(str, argv)]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)


def test_numpy_2_is_seen_where_it_is_imported_and_refused(tmp_path):
    (tmp_path / "numpy").mkdir()
    (tmp_path / "numpy/__init__.py").write_text("__version__ = '2.1.3'")
    done = type_in("examples/yolox_nano.py", "info", packages=tmp_path)
    assert done.stderr == "error: MindSpore fails with numpy 2.1.3: pip install 'numpy<2' 'opencv-python-headless<4.12'\n"
    assert (done.returncode, done.stdout) == (1, "")


def test_an_opencv_without_its_libraries_is_explained(tmp_path):
    (tmp_path / "cv2.py").write_text("raise ImportError('libGL.so.1: cannot open')")
    done = type_in("examples/yolox_nano.py", "info", packages=tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (1, "", OPENCV)
    done = type_in("examples/yolox_nano.py", "info", "--debug", packages=tmp_path)
    assert done.returncode == 1 and done.stderr.startswith("Traceback") and "yolox.errors.UnusableEnvironment" in done.stderr


def test_a_program_may_catch_it_and_other_errors_keep_their_traceback(tmp_path):
    (tmp_path / "cv2.py").write_text("raise ImportError('libGL.so.1: cannot open')")
    program = "try:\n    import yolox\nexcept ImportError:\n    print('caught')\n1 / 0"
    done = type_in("-c", program, packages=tmp_path)
    assert done.stdout == "caught\n" and done.stderr.startswith("Traceback") and "ZeroDivisionError" in done.stderr


def test_ascend_on_a_machine_without_it_takes_two_lines():
    done = type_in("examples/yolox_nano.py", "info", "--device", "Ascend")
    lines = done.stderr.splitlines()
    assert done.returncode == 1 and lines[0] == "error: --device Ascend: not usable here; try --device CPU", done.stderr
    assert len(lines) == 2 and lines[1].startswith("MindSpore says: ")


@pytest.fixture(scope="module")
def argv(tmp_path_factory):
    return write_data(tmp_path_factory.mktemp("data"))


@pytest.mark.parametrize("command", ["train", "check"])
def test_a_folder_that_may_not_be_written_is_named(argv, tmp_path, command):
    folder = tmp_path / "locked"
    folder.mkdir(mode=0o555)
    before = []
    if os.access(folder, os.W_OK):  # root is asked for its privilege
        if shutil.which("setpriv") is None:
            pytest.skip("root may write everywhere, and there is no setpriv")
        before = ["setpriv", "--bounding-set=-dac_override", "--inh-caps=-dac_override"]
    done = type_in("-m", "tests.cli.tiny", command, *argv, "--output", folder / "run", before=before)
    assert done.stderr.splitlines()[-1] == f"error: --output {folder / 'run'}: cannot be written (Permission denied)"
    assert done.returncode == 1 and "Traceback" not in done.stderr
