"""Processes that train together, for tests: msrun on this machine's CPU."""

import os
import socket
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def free_port() -> int:
    """Find a port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def msrun(world: int, logs: Path, script: str, *words) -> subprocess.CompletedProcess:
    """Run a script of the repository in `world` processes; their output goes to logs/worker_*.log."""
    paths = {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT), "GLOG_v": "3"}
    options = [f"--worker_num={world}", f"--local_worker_num={world}", f"--master_port={free_port()}", "--join=True"]
    command = ["msrun", *options, f"--log_dir={logs}", "--cluster_time_out=120", str(ROOT / script), *map(str, words)]
    return subprocess.run(command, env={**os.environ, **paths}, capture_output=True, text=True, timeout=400, check=False)
