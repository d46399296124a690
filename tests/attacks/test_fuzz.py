"""Some seconds of coverage-guided fuzzing of every reader, and known faults of the packages that `constraints.txt` names."""

from __future__ import annotations

import importlib.util
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SECONDS = 1  # for each of the 16 readers; libFuzzer takes one more
ACCEPTED: dict[str, str] = {}
"""Known faults that do not concern this library, by number, with the reason."""


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("atheris") is None, reason="atheris is not installed (pip install atheris)")
def test_no_reader_fails_on_inputs_that_follow_its_branches(tmp_path):
    command = [sys.executable, "-m", "tests.attacks.fuzz", "all", f"-max_total_time={SECONDS}", f"-artifact_prefix={tmp_path}/"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, errors="replace", timeout=500, check=False)
    runs = dict(re.findall(r"target (\w+)$.*?number_of_executed_units: (\d+)", done.stderr, re.MULTILINE | re.DOTALL))
    print(runs)
    assert done.returncode == 0, done.stderr[-5000:]
    assert len(runs) > 14 and all(int(number) > 5 for number in runs.values()), runs


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("pip_audit") is None, reason="pip-audit is not installed (pip install pip-audit)")
def test_no_locked_package_has_a_known_fault():
    files = ["-r", ROOT / "constraints.txt", "--no-deps", "--disable-pip", "--progress-spinner", "off", "--format", "json"]
    command = [sys.executable, "-m", "pip_audit", *files]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    except subprocess.TimeoutExpired:
        pytest.skip("no answer of the index in 5 minutes")
    if not done.stdout:
        pytest.skip(f"no answer of the index: {done.stderr.strip()[-200:]}")
    packages = json.loads(done.stdout)["dependencies"]
    known = [package for package in packages if "skip_reason" not in package]
    if not known:
        pytest.skip("the index of this machine has no list of known faults")
    faults = {fault["id"]: f"{package['name']} {package['version']}" for package in known for fault in package["vulns"]}
    assert not {name: package for name, package in faults.items() if name not in ACCEPTED}
