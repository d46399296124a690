"""Weights by name, from a cache or the network: those that the authors of YOLOX and MindYOLO publish, and Hugging Face's."""

from __future__ import annotations

import fcntl
import logging
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

import pooch
from attrs import frozen

from yolox.environment import cache_folder
from yolox.errors import WeightsError
from yolox.weights.download import Downloader, DownloadPolicy, Progress, shorten
from yolox.weights.load import file_kind

log = logging.getLogger("yolox.weights")
_MEGVII = "https://github.com/Megvii-BaseDetection/YOLOX/releases/download/0.1.1rc0/"
_MINDYOLO = "https://download.mindspore.cn/toolkits/mindyolo/yolox/"
_MINDYOLO_910B = "https://download-mindspore.osinfra.cn/toolkits/mindyolo/yolox/"


@frozen
class PublishedFile:
    """Address of a checkpoint and the expected beginning of its SHA-256.

    Megvii states no hash. The eight hex digits in the names of MindYOLO's files look like one; that they are the
    start of the SHA-256 was not verified, so that a difference is a warning.
    """

    url: str
    hash_start: str | None = None


def _megvii(file: str) -> PublishedFile:
    return PublishedFile(_MEGVII + file)


def _mindyolo(file: str, folder: str = _MINDYOLO) -> PublishedFile:
    return PublishedFile(folder + file, re.search(r"-([0-9a-f]{8})[-.]", file)[1])


PUBLISHED = {
    "megvii:nano": _megvii("yolox_nano.pth"),
    "megvii:tiny": _megvii("yolox_tiny.pth"),
    "megvii:s": _megvii("yolox_s.pth"),
    "megvii:m": _megvii("yolox_m.pth"),
    "megvii:l": _megvii("yolox_l.pth"),
    "megvii:x": _megvii("yolox_x.pth"),
    "megvii:darknet53": _megvii("yolox_darknet.pth"),
    "mindyolo:nano": _mindyolo("yolox-n_300e_map241-ec9815e3.ckpt"),
    "mindyolo:tiny": _mindyolo("yolox-tiny_300e_map333-e5ae3a2e.ckpt"),
    "mindyolo:s": _mindyolo("yolox-s_300e_map407-0983e07f.ckpt"),
    "mindyolo:m": _mindyolo("yolox-m_300e_map467-1db321ee.ckpt"),
    "mindyolo:l": _mindyolo("yolox-l_300e_map492-52a4ab80.ckpt"),
    "mindyolo:x": _mindyolo("yolox-x_300e_map516-52216d90.ckpt"),
    "mindyolo:darknet53": _mindyolo("yolox-darknet53_300e_map477-b5fcaba9.ckpt"),
    "mindyolo:s-910v2": _mindyolo("yolox-s_300e_map407-cebd0183-910v2.ckpt", _MINDYOLO_910B),
}
"""Name to file, such as ``megvii:s``; the last one was trained on an Ascend 910*."""


def is_published_name(text: str) -> bool:
    """Returns whether a text names a published file rather than a path.

    Args:
        text: a name or a path.

    Returns:
        True where it begins with a system and a colon, known or not.

    Example:
        >>> is_published_name("megvii:s"), is_published_name("weights/yolox_s.pth")
        (True, False)
    """
    return text.partition(":")[0] in ("megvii", "mindyolo") and ":" in text


def published_file(name: str) -> PublishedFile:
    """Returns the published file of a name.

    Args:
        name: such as ``megvii:s``.

    Returns:
        Where the file is and what is known of its content.

    Raises:
        WeightsError: there is no such name; those of its system are listed.

    Example:
        >>> published_file("mindyolo:s").hash_start
        '0983e07f'
    """
    if name not in PUBLISHED:
        system = name.partition(":")[0]
        known = [other for other in PUBLISHED if other.startswith(f"{system}:")] or list(PUBLISHED)
        raise WeightsError(f"{name[:80]!r}: no published checkpoint; known are {', '.join(known)}")
    return PUBLISHED[name]


def fetch_weights(
    name: str,
    *,
    folder: str | os.PathLike | None = None,
    policy: DownloadPolicy | None = None,
    on_progress: Progress | None = None,
) -> Path:
    """Returns the path of published weights, and downloads them the first time.

    The SHA-256 of every download is written beside it and compared at each use. Processes that ask at the same time
    wait for the one that downloads.

    Args:
        name: such as ``megvii:s``, see `PUBLISHED`; ``megvii:s@<64 hex digits>`` also pins the SHA-256.
        folder: where files are kept; None takes `cache_folder`.
        policy: limits of the download.
        on_progress: called with the bytes that are there and the bytes of the file.

    Returns:
        The file; hand it to `load_weights`.

    Raises:
        WeightsError: no such name; a download that fails, or yields no weights file; a file that is not the pinned
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
                _download(published, path, pin, policy, on_progress)
            else:
                _check_cached(path, pin)
    except OSError as error:
        raise WeightsError(f"{folder}: cannot be used to keep weights ({error.strerror or error})") from None
    return path


HUGGING_FACE = "hf:"
_HUB_NAME = re.compile(r"hf:(?P<repo>[\w.-]+/[\w.-]+)/(?P<file>[^@]+?)(@(?P<revision>[\w./-]+))?")


def fetch_hub_file(name: str) -> Path:
    """Returns the path of a file of Hugging Face's hub, and downloads it the first time.

    The package huggingface_hub downloads and keeps it, by its own settings: HF_TOKEN for private repositories, HF_HOME for the
    cache, HF_ENDPOINT for another server, HF_HUB_OFFLINE=1 for the cache alone.

    Args:
        name: ``hf:ORG/REPO/FILE``, the file with its folders; ``hf:ORG/REPO/FILE@REVISION`` takes a branch, a tag or a commit.

    Returns:
        The file; hand it to `load_weights`.

    Raises:
        WeightsError: another form of name, the package is missing, the download fails, or it is no weights file.

    Example:
        >>> fetch_hub_file("hf:nano.pth")
        Traceback (most recent call last):
        yolox.errors.WeightsError: 'hf:nano.pth': want hf:ORG/REPO/FILE, or hf:ORG/REPO/FILE@REVISION
    """
    parts = _HUB_NAME.fullmatch(name)
    if parts is None or ".." in parts["file"].split("/"):
        raise WeightsError(f"{name[:80]!r}: want hf:ORG/REPO/FILE, or hf:ORG/REPO/FILE@REVISION")
    try:
        from huggingface_hub import hf_hub_download
    except ImportError:
        raise WeightsError(f"{name}: needs huggingface_hub: pip install 'yolox-mindspore[huggingface]'") from None
    try:
        path = Path(hf_hub_download(parts["repo"], parts["file"], revision=parts["revision"]))
    except Exception as error:  # of the hub, its HTTP client, or the disk
        reason = " ".join(str(error).split()) or type(error).__name__
        raise WeightsError(f"{name}: cannot be downloaded ({shorten(reason)})") from error
    if path.suffix.lower() not in (".onnx", ".mindir", ".xml"):  # an export is checked where it is opened
        _check_kind(path)
    return path


@contextmanager
def _one_at_a_time(path: Path) -> Iterator[None]:
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _hash_file(path: Path) -> Path:
    return path.with_name(f"{path.name}.sha256")


def _download(
    published: PublishedFile, path: Path, pin: str, policy: DownloadPolicy | None, on_progress: Progress | None
) -> None:
    """Downloads to `path`: pooch writes a temporary file beside it, compares the hash and renames it."""
    downloader = Downloader(policy or DownloadPolicy(), on_progress=on_progress, check=_check_kind)
    try:
        pooch.retrieve(published.url, pin or None, fname=path.name, path=path.parent, downloader=downloader)
    except WeightsError:
        raise
    except ValueError as error:  # pooch's error for another hash
        raise WeightsError(f"{published.url}: its SHA-256 is not the one that is pinned, {pin}; not kept") from error
    found = pooch.file_hash(str(path))
    if not pin and published.hash_start and not found.startswith(published.hash_start):
        log.warning(
            "%s: its SHA-256 does not begin with the %s of its name; it is %s. Pin it: name@%s",
            *(published.url, published.hash_start, found, found),
        )
    _hash_file(path).write_text(f"{found}  {path.name}\n")


def _check_kind(fresh: Path) -> None:
    """Refuses what is no weights file, such as a page to log in that a proxy sends with status 200."""
    try:
        file_kind(fresh)
    except WeightsError as error:
        reason = shorten(str(error).removeprefix(f"{fresh}: "))
        raise WeightsError(f"what came is no weights file, it {reason}; not kept") from None


def _check_cached(path: Path, pin: str) -> None:
    found, beside = pooch.file_hash(str(path)), _hash_file(path)
    wanted = pin or (beside.read_text().split(" ")[0] if beside.is_file() else "")
    if not wanted:
        beside.write_text(f"{found}  {path.name}\n")
    elif found != wanted:
        what = "pinned is" if pin else "when it was downloaded it was"
        raise WeightsError(f"{path}: has SHA-256 {found}, {what} {wanted}; delete it to download it again")
