"""Lists what an ended process has left behind: processes of its group, and unused shared memory."""

from __future__ import annotations

from pathlib import Path


def group_of(leader: int) -> list[int]:
    """Lists the running processes of a process group, without zombies."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[2]) == leader and fields[0] != "Z":
            found.append(int(stat.parent.name))
    return found


def shared_memory() -> set[str]:
    """Lists shared memory that no running process uses: POSIX files and System V segments."""
    rows = [line.split() for line in Path("/proc/sysvipc/shm").read_text().splitlines()[1:]]
    used = "".join(_maps(path) for path in Path("/proc").glob("[0-9]*/maps"))
    segments = {f"segment {row[1]}" for row in rows if row[6] == "0"}
    return segments | {path.name for path in Path("/dev/shm").iterdir() if str(path) not in used}


def _maps(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""
