"""The checkpoints that the authors of YOLOX and of MindYOLO publish, by name."""

from __future__ import annotations

import re

from attrs import frozen

from yolox.errors import WeightsError

_MEGVII = "https://github.com/Megvii-BaseDetection/YOLOX/releases/download/0.1.1rc0/"
_MINDYOLO = "https://download.mindspore.cn/toolkits/mindyolo/yolox/"
_MINDYOLO_910B = "https://download-mindspore.osinfra.cn/toolkits/mindyolo/yolox/"


@frozen
class PublishedFile:
    """Where a checkpoint lies, and how its SHA-256 is thought to begin.

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
    """Tell whether an option for weights names a published file rather than a path.

    Args:
        text: what was given for weights.

    Returns:
        True where it begins with a system and a colon, known or not.

    Example:
        >>> is_published_name("megvii:s"), is_published_name("weights/yolox_s.pth")
        (True, False)
    """
    return text.partition(":")[0] in ("megvii", "mindyolo") and ":" in text


def published_file(name: str) -> PublishedFile:
    """Look a name up.

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
