"""Processes that train together, for tests: msrun on this machine's CPU."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import psutil

ROOT = Path(__file__).resolve().parents[1]


def free_port() -> int:
    """Find a port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def start_msrun(world: int, logs: Path, script: str, *words, **pipes) -> subprocess.Popen:
    """Begin a script of the repository in `world` processes; their output goes to logs/worker_*.log."""
    paths = {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT), "GLOG_v": "3"}
    options = [f"--worker_num={world}", f"--local_worker_num={world}", f"--master_port={free_port()}", "--join=True"]
    command = ["msrun", *options, f"--log_dir={logs}", "--cluster_time_out=120", str(ROOT / script), *map(str, words)]
    return subprocess.Popen(command, env={**os.environ, **paths}, text=True, **pipes)


def msrun(world: int, logs: Path, script: str, *words) -> subprocess.CompletedProcess:
    """Run a script of the repository in `world` processes to its end."""
    process = start_msrun(world, logs, script, *words, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    out, err = process.communicate(timeout=400)
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)


def worker_of(process: subprocess.Popen, rank: int) -> psutil.Process:
    """Find the process with this rank among those that msrun started."""
    for child in psutil.Process(process.pid).children():
        environment = child.environ()
        if environment.get("MS_ROLE") == "MS_WORKER" and environment.get("RANK_ID") == str(rank):
            return child
    raise AssertionError(f"no process has rank {rank}")


def logs_of(folder: Path) -> dict[str, str]:
    """Read what the processes printed."""
    return {path.name: path.read_text() for path in sorted(folder.glob("worker_*.log"))}
