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


def start_msrun(world: int, logs: Path, script: str, *argv, **pipes) -> subprocess.Popen:
    """Begin a script of the repository in `world` processes; their output goes to logs/worker_*.log."""
    paths = {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT), "GLOG_v": "3"}
    options = [f"--worker_num={world}", f"--local_worker_num={world}", f"--master_port={free_port()}", "--join=True"]
    command = ["msrun", *options, f"--log_dir={logs}", "--cluster_time_out=120", str(ROOT / script), *map(str, argv)]
    return subprocess.Popen(command, env={**os.environ, **paths}, text=True, **pipes)


def msrun(world: int, logs: Path, script: str, *argv) -> subprocess.CompletedProcess:
    """Run a script of the repository in `world` processes to its end."""
    process = start_msrun(world, logs, script, *argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    out, err = process.communicate(timeout=400)
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)


def children_of(pid: int) -> list[int]:
    """Finds the processes that a process started, and those that they started."""
    try:
        own = [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []
    return [*own, *(each for child in own for each in children_of(child))]


def name_of(pid: int) -> str:
    """Reads the name of a process; an empty text when it has ended, whether or not its parent has noticed."""
    try:
        name, _, rest = Path(f"/proc/{pid}/stat").read_text().partition("(")[2].rpartition(")")
    except OSError:
        return ""
    return "" if rest.split()[0] in "ZX" else name


def worker_of(process: subprocess.Popen, rank: int) -> int:
    """Finds the number of the process with this rank among those that msrun started."""
    for child in children_of(process.pid):
        environment = Path(f"/proc/{child}/environ").read_bytes().split(b"\0")
        if {b"MS_ROLE=MS_WORKER", f"RANK_ID={rank}".encode()} <= set(environment):
            return child
    raise AssertionError(f"no process has rank {rank}")


def logs_of(folder: Path) -> dict[str, str]:
    """Read what the processes printed."""
    return {path.name: path.read_text() for path in sorted(folder.glob("worker_*.log"))}
