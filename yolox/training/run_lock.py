"""The lock of a run folder: one process owns it, and the lock ends with that process."""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from yolox.errors import CommandError

LOCK = ".lock"
_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL)

log = logging.getLogger("yolox.training")
_owned: set[tuple[int, int]] = set()  # device and inode of the folders that this process owns


@contextmanager
def lock_run(folder: Path) -> Iterator[None]:
    """Locks the folder of a run while the body runs; the operating system releases the lock when the process ends.

    The lock is a POSIX record lock on the file ``.lock`` of the folder: unlike that of ``flock``, it does not pass to forked
    data workers, which may outlive a killed process. It also holds between hosts on NFS. Where the file system has no
    locks, a warning is logged and the body runs without one.

    Args:
        folder: of the run; it exists.

    Raises:
        CommandError: another run owns it (the message has its process and host), or the file cannot be written.
    """
    try:
        status = os.stat(folder)
        key, descriptor = (status.st_dev, status.st_ino), None
        if key in _owned:  # the lock does not hold within a process, and closing the file again would end it
            raise CommandError(f"{folder}: in use by another run of this process; want one run at a time in a folder")
        descriptor = _lock(folder)
    except OSError as error:
        raise CommandError(f"{folder / LOCK}: cannot be written ({error.strerror})") from None
    _owned.add(key)
    try:
        yield
    finally:
        _owned.discard(key)
        if descriptor is not None:
            with suppress(OSError):  # before the lock ends: whoever has the file open sees that it is another one now
                os.unlink(folder / LOCK)
            os.close(descriptor)


def _lock(folder: Path) -> int | None:
    """Returns the descriptor of the locked file; None where the file system has no locks."""
    path = folder / LOCK
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, 0o666)
        try:
            fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.path.samestat(os.fstat(descriptor), os.stat(path)):  # not removed by its owner in between
                os.ftruncate(descriptor, 0)
                os.write(descriptor, f"process {os.getpid()} on host {socket.gethostname()}\n".encode())
                return descriptor
        except FileNotFoundError:
            pass
        except OSError as error:
            if error.errno in (errno.EACCES, errno.EAGAIN):
                owner = os.read(descriptor, 200).decode(errors="replace").strip() or "another process"
                os.close(descriptor)
                message = f"in use by {''.join(c if c.isprintable() else '?' for c in owner)}; wait for its end or stop it"
                raise CommandError(f"{folder}: {message}") from None
            os.close(descriptor)
            if error.errno not in _NO_LOCKS:
                raise
            log.warning("%s: the file system has no locks; nothing keeps a second run out of the folder", folder)
            return None
        os.close(descriptor)
