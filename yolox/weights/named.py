"""Published weights by name, from the cache or the network."""

from __future__ import annotations

import fcntl
import logging
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from yolox.errors import WeightsError
from yolox.weights.download import DownloadPolicy, Progress, download, file_sha256
from yolox.weights.load import file_kind
from yolox.weights.published import PublishedFile, published_file

log = logging.getLogger("yolox.weights")


def cache_folder() -> Path:
    """Give the folder of downloaded weights: YOLOX_CACHE, else `yolox` in the user's cache folder.

    Returns:
        The path; the folder may not be there yet.
    """
    if folder := os.environ.get("YOLOX_CACHE"):
        return Path(folder)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "yolox"


def fetch_weights(
    name: str,
    *,
    folder: str | os.PathLike | None = None,
    policy: DownloadPolicy | None = None,
    on_progress: Progress | None = None,
) -> Path:
    """Give the path of published weights, and download them the first time.

    The SHA-256 of every download is written beside it and compared at each use. Processes that ask at the same time
    wait for the one that downloads.

    Args:
        name: such as ``megvii:s``, see `published.PUBLISHED`; ``megvii:s@<64 hex digits>`` also pins the SHA-256.
        folder: where files are kept; None takes `cache_folder`.
        policy: limits of the download.
        on_progress: called with the bytes that are there and the bytes of the file.

    Returns:
        The file; hand it to `load_weights`.

    Raises:
        WeightsError: no such name; a download that fails, or gives no weights file; a file that is not the pinned
            one, or has changed since it was downloaded.
    """
    name, _, pin = name.partition("@")
    if pin and not re.fullmatch("[0-9a-f]{64}", pin):
        raise WeightsError(f"{name}@{pin[:80]}: want the 64 hex digits of a SHA-256 after the @")
    published, folder = published_file(name), Path(folder) if folder is not None else cache_folder()
    path = folder / f"{name.partition(':')[0]}-{PurePosixPath(published.url).name}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with _one_at_a_time(folder / f".{path.name}.lock"):
            if not path.is_file():
                _download_checked(published, path, pin, policy, on_progress)
            else:
                _check_cached(path, pin)
    except OSError as error:
        raise WeightsError(f"{folder}: cannot be used to keep weights ({error.strerror or error})") from None
    return path


@contextmanager
def _one_at_a_time(path: Path) -> Iterator[None]:
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _hash_file(path: Path) -> Path:
    return path.with_name(f"{path.name}.sha256")


def _download_checked(
    published: PublishedFile, path: Path, pin: str, policy: DownloadPolicy | None, on_progress: Progress | None
) -> None:
    fresh = path.with_name(f"{path.name}.unchecked")
    download(published.url, fresh, policy=policy, on_progress=on_progress)
    _check_kind(published, fresh)
    found = file_sha256(fresh)
    if pin and found != pin:
        fresh.unlink()
        raise WeightsError(f"{published.url}: has SHA-256 {found}, pinned is {pin}; not kept")
    if not pin and published.hash_start and not found.startswith(published.hash_start):
        log.warning(
            "%s: its SHA-256 does not begin with the %s of its name; it is %s. Pin it: name@%s",
            *(published.url, published.hash_start, found, found),
        )
    _hash_file(path).write_text(f"{found}  {path.name}\n")
    os.replace(fresh, path)


def _check_kind(published: PublishedFile, fresh: Path) -> None:
    """Refuse what is no weights file, such as a page to log in that a proxy sends with status 200."""
    try:
        file_kind(fresh)
    except WeightsError as error:
        fresh.unlink()
        reason = str(error).removeprefix(f"{fresh}: ")
        raise WeightsError(f"{published.url}: what came is no weights file, it {reason}; not kept") from None


def _check_cached(path: Path, pin: str) -> None:
    found, beside = file_sha256(path), _hash_file(path)
    wanted = pin or (beside.read_text().split(" ")[0] if beside.is_file() else "")
    if not wanted:
        beside.write_text(f"{found}  {path.name}\n")
    elif found != wanted:
        what = "pinned is" if pin else "when it was downloaded it was"
        raise WeightsError(f"{path}: has SHA-256 {found}, {what} {wanted}; delete it to download it again")
