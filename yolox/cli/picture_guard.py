"""Pictures of a run: worth a warning, never the run."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

log = logging.getLogger("yolox.cli")


def try_picture(path: Path, write: Callable[[], object]) -> None:
    """Call a function that draws and writes pictures; if that fails, log a warning and go on.

    Args:
        path: the picture or the folder of pictures, for the warning.
        write: draws and writes it.
    """
    try:
        write()
    except Exception as error:  # whatever a full disk or the drawing raises: hours of training matter more
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        log.warning("%s: not drawn (%s); the run is complete without it", path, reason.splitlines()[0])
