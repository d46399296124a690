"""Weights that options name: a path, or a published checkpoint that is downloaded the first time."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

from yolox.weights.hub import fetch_weights, is_published_name


def local_weights(path: Path) -> Path:
    """Give the file for an option ``--weights``, with a bar on stderr while it is downloaded.

    Args:
        path: a path, or a name such as ``megvii:s``; a file of that name comes first.

    Returns:
        The path itself, or that of the downloaded file.

    Raises:
        WeightsError: no such name, or the download failed.
    """
    name = str(path)
    if path.exists() or not is_published_name(name):
        return path
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(name, total=None, visible=False)

        def show(done: int, total: int) -> None:
            progress.update(task, completed=done, total=total, visible=True)

        return fetch_weights(name, on_progress=show)
