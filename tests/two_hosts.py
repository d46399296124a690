"""Two hosts on one machine: two network namespaces, joined by a virtual link, with two processes of a run in each.

    sudo env PATH="$PATH" python tests/two_hosts.py              trains to the end
    sudo env PATH="$PATH" python tests/two_hosts.py --kill 3     kills that rank, and waits for the end of both hosts

Needs Linux, root and `ip` (Debian's iproute2). Runs the lines of docs/scaling.md with the detector of tests/cli/tiny.py, says
in one JSON line what came out, and takes the namespaces away again. Exit status 1 if something is not as it should be.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from tests.cli.tiny import write_data  # noqa: E402
from tests.launch import logs_of, name_of, worker_of  # noqa: E402
from yolox.training.history import read_history  # noqa: E402

LOCAL, WORLD, EPOCHS, MINUTES = 2, 4, 6, 600.0
NAMES = tuple(f"yolox{os.getpid()}{letter}" for letter in "ab")
ADDRESSES, PORT = ("10.213.77.1", "10.213.77.2"), 8118


def ip(argv: str) -> str:
    """Run a command of iproute2."""
    return subprocess.run(["ip", *argv.split()], check=True, capture_output=True, text=True).stdout


@contextmanager
def two_hosts() -> Iterator[None]:
    """Make the namespaces and the link between them; at the end, kill what still runs there, and take them away."""
    try:
        for name in NAMES:
            ip(f"netns add {name}")
        ip(f"link add {NAMES[0][-12:]} netns {NAMES[0]} type veth peer name {NAMES[1][-12:]} netns {NAMES[1]}")
        for name, address in zip(NAMES, ADDRESSES, strict=True):
            ip(f"-n {name} address add {address}/24 dev {name[-12:]}")
            ip(f"-n {name} link set {name[-12:]} up")
            ip(f"-n {name} link set lo up")
        yield
    finally:
        for name in NAMES:
            with suppress(subprocess.CalledProcessError):
                for pid in map(int, ip(f"netns pids {name}").split()):
                    with suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)
                ip(f"netns delete {name}")  # the link goes with it


def start_host(number: int, folder: Path, argv: list[str]) -> subprocess.Popen:
    """Begin the processes of a host."""
    options = [f"--worker_num={WORLD}", f"--local_worker_num={LOCAL}", f"--master_addr={ADDRESSES[0]}"]
    options += [f"--master_port={PORT}", f"--node_rank={number}", "--join=True", f"--log_dir={folder / f'logs{number}'}"]
    paths = {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT), "GLOG_v": "3"}
    command = ["msrun", *options, "--cluster_time_out=240", str(ROOT / "tests/cli/tiny.py"), "train", *argv]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    return subprocess.Popen(["ip", "netns", "exec", NAMES[number], *command], env={**os.environ, **paths}, **quiet)


def logs_of_all(folder: Path) -> dict[str, str]:
    """Read what the processes of both hosts printed."""
    return logs_of(folder / "logs0") | logs_of(folder / "logs1")


def run(folder: Path, kill: int | None) -> dict:
    """Train on both hosts, to the end or to the death of a rank; give what is to be told, with `problems`."""
    epochs = EPOCHS if kill is None else 500
    argv = [*write_data(folder / "data", images=24), "--parallel", "--epochs", str(epochs), "--eval-interval", "3"]
    argv += ["--plain-epochs", "2", "--workers", "2", "--output", str(folder / "run")]
    history, result = folder / "run/history.csv", {"work": "two hosts", "killed": kill}
    hosts = [start_host(number, folder, argv) for number in range(len(NAMES))]
    if kill is not None:
        _seconds(history.exists, "no epoch was done")
        os.kill(worker_of(hosts[kill // LOCAL], kill), signal.SIGKILL)
    begun = time.monotonic()
    for host in hosts:
        _seconds(lambda host=host: host.poll() is not None, "a host runs on")
        result.setdefault("seconds", []).append(round(time.monotonic() - begun, 1))
    logs = logs_of_all(folder)
    left = [pid for name in NAMES for pid in ip(f"netns pids {name}").split() if name_of(int(pid)) not in ("", "tail")]
    problems = [f"processes {left} are left"] if left else []
    if sorted(logs) != [f"worker_{rank}.log" for rank in range(WORLD)]:
        problems.append(f"the logs are {sorted(logs)}")
    problems += _of_the_end(hosts, logs, history) if kill is None else _of_the_death(hosts)
    return {**result, "status": [host.returncode for host in hosts], "problems": problems}


def _of_the_end(hosts: list, logs: dict[str, str], history: Path) -> list[str]:
    rows = len(read_history(history)) if history.exists() else 0
    checks = {
        f"the hosts ended with {[host.returncode for host in hosts]}": not any(host.returncode for host in hosts),
        f"{rows} epochs are in the history, want {EPOCHS}": rows == EPOCHS,
        f"the first log says nothing of {WORLD} devices": f"on {WORLD} devices" in logs.get("worker_0.log", ""),
        "a log has an error": not any("error:" in text for text in logs.values()),
    }
    return [problem for problem, good in checks.items() if not good]


def _of_the_death(hosts: list) -> list[str]:
    return ["a host ended with 0"] if not all(host.returncode for host in hosts) else []


def _seconds(condition, problem: str) -> float:
    """Wait, and give the seconds that it took."""
    begun = time.monotonic()
    while not condition():
        if time.monotonic() - begun > MINUTES:
            raise TimeoutError(problem)
        time.sleep(0.1)
    return round(time.monotonic() - begun, 1)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kill", type=int, choices=range(WORLD))
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, two_hosts():
        result = run(Path(folder), options.kill)
        if result["problems"]:
            for name, text in logs_of_all(Path(folder)).items():
                print(name, text, sep="\n", file=sys.stderr)
    print(json.dumps(result))
    return int(bool(result["problems"]))


if __name__ == "__main__":
    sys.exit(main())
