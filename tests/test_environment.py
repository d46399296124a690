"""The choice of oneDNN's instruction set, as a function and in a fresh process."""

import os
import subprocess
import sys

import pytest

from yolox.environment import (
    ONEDNN_VARIABLE,
    check_numpy,
    installed_mindspore,
    needs_cap,
    parse_version,
    use_fast_convolutions,
)

PROGRAM = f"import os, yolox; print(os.environ.get('{ONEDNN_VARIABLE}'))"


@pytest.mark.parametrize(("version", "slow"), [("2.7.0", False), ("2.8.0", False), ("2.9.0", True), ("2.10.0rc1", True)])
def test_only_slow_versions_are_capped(version, slow):
    environment = {}
    assert use_fast_convolutions(environment, version) is slow
    assert environment == ({ONEDNN_VARIABLE: "AVX2"} if slow else {})


def test_a_value_of_the_user_stays():
    environment = {ONEDNN_VARIABLE: "AVX512_CORE"}
    assert not use_fast_convolutions(environment, "2.10.0")
    assert environment == {ONEDNN_VARIABLE: "AVX512_CORE"}


@pytest.mark.parametrize("text", ["", "2", "two.ten"])
def test_versions_that_are_none_are_refused(text):
    with pytest.raises(ValueError, match="parse_version: got"):
        parse_version(text)


@pytest.mark.parametrize("given", [None, "DEFAULT"])
def test_importing_the_library_is_enough(given):
    environment = {k: v for k, v in os.environ.items() if k != ONEDNN_VARIABLE}
    environment |= {} if given is None else {ONEDNN_VARIABLE: given}
    run = subprocess.run(
        [sys.executable, "-c", PROGRAM], env=environment, capture_output=True, text=True, check=True
    )
    expected = given or ("AVX2" if needs_cap(installed_mindspore()) else "None")
    assert run.stdout.split()[-1] == expected


def test_numpy_2_is_refused_with_the_command_that_mends_it():
    check_numpy("1.26.4")
    with pytest.raises(ImportError, match="MindSpore fails with numpy 2.1.0: pip install 'numpy<2'"):
        check_numpy("2.1.0")


@pytest.mark.parametrize("given", [None, "2"])
def test_warnings_of_mindspore_are_silenced_before_its_import_unless_the_user_asks_for_them(given):
    environment = {name: value for name, value in os.environ.items() if name != "GLOG_v"} | ({"GLOG_v": given} if given else {})
    lines = "from mindspore import log; log.warning('w-line'); log.error('e-line')"
    program = f"import yolox, os; {lines}; print(os.environ['GLOG_v'])"
    run = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)
    assert run.stdout.split()[-1] == (given or "3")
    assert "e-line" in run.stderr and ("w-line" in run.stderr) == (given == "2")
