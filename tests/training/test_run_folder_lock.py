"""One process owns the folder of a run, and the lock ends with it."""

from __future__ import annotations

import errno
import fcntl
import os
import signal
import socket
import time

import pytest

from yolox.errors import CommandError
from yolox.training.run_folder import LAST, LOCK, lock_run, prepare_run, remove_leftovers


def start_owner(folder):
    """A process that owns the folder, and a child of it that inherits its files and outlives it, as data workers may."""
    read, write = os.pipe()
    owner = os.fork()
    if owner == 0:
        with lock_run(folder):
            worker = os.fork()
            if worker:
                os.write(write, f"{worker}\n".encode())
            time.sleep(60)
        os._exit(0)
    os.close(write)
    worker = int(os.read(read, 20))
    os.close(read)
    return owner, worker


def test_a_second_owner_is_refused_until_the_first_was_killed(tmp_path):
    owner, worker = start_owner(tmp_path)
    try:
        want = rf"in use by process {owner} on host {socket.gethostname()}; wait"
        with pytest.raises(CommandError, match=want), lock_run(tmp_path):
            pass
        os.kill(owner, signal.SIGKILL)
        os.waitpid(owner, 0)
        with lock_run(tmp_path):  # what the owner left does not matter, nor that its child still has the file open
            assert str(os.getpid()) in (tmp_path / LOCK).read_text()
    finally:
        os.kill(worker, signal.SIGKILL)
    assert not list(tmp_path.iterdir())


def test_two_runs_of_one_process_are_refused_and_the_first_keeps_its_lock(tmp_path):
    with lock_run(tmp_path):
        with pytest.raises(CommandError, match="another run of this process"), lock_run(tmp_path):
            pass
        assert (tmp_path / LOCK).exists()
        other = os.fork()
        if other == 0:
            try:
                with lock_run(tmp_path):
                    os._exit(0)
            except CommandError:
                os._exit(7)
        assert os.waitstatus_to_exitcode(os.waitpid(other, 0)[1]) == 7
    with lock_run(tmp_path):
        pass


def test_a_link_or_a_folder_in_its_place_is_named(tmp_path):
    (tmp_path / "target").touch()
    (tmp_path / LOCK).symlink_to(tmp_path / "target")
    with pytest.raises(CommandError, match=f"{LOCK}: cannot be written"), lock_run(tmp_path):
        pass
    assert (tmp_path / "target").read_bytes() == b""


def test_a_file_system_without_locks_is_a_warning(tmp_path, monkeypatch, caplog):
    def refuse(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "lockf", refuse)
    with lock_run(tmp_path):
        pass
    assert "has no locks" in caplog.text


def test_the_lock_and_what_a_killed_run_left_do_not_make_a_folder_full(tmp_path):
    kept = ["notes.part", ".tmp", ".tmpfolder.txt", "my.images.cache"]
    left = [f".{LAST}.part", ".tmpAb3dE9", ".writable", "images.cache", "rank3.images.cache"]
    for name in (*left, *kept):
        (tmp_path / name).touch()
    remove_leftovers(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(kept)
    for name in kept:
        (tmp_path / name).unlink()
    with lock_run(tmp_path):
        prepare_run(tmp_path, overwrite=False)
