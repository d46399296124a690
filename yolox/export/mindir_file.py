"""A Cell as a MINDIR file with a description inside."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import mindspore as ms
import numpy as np
from mindspore import Tensor, nn

from yolox.errors import ExportError
from yolox.export.onnx_file import lax_syntax


def write_mindir(cell: nn.Cell, path: Path, *, shape: tuple[int, ...], text: Mapping[str, str]) -> None:
    """Writes a Cell of one input and one output as MINDIR.

    Args:
        cell: float32 tensor of `shape` to one tensor.
        path: the file, ending in `.mindir`.
        shape: of the input; MINDIR files take no other.
        text: entries for the file's `user_info`.
    """

    def describe(model) -> None:
        for name, value in text.items():
            if _is_list(model.user_info):
                model.user_info.add(key=name, value=value)
            else:
                model.user_info[name] = value

    with lax_syntax():
        images = Tensor(np.zeros(shape, np.float32))
        ms.export(cell, images, file_name=str(path), file_format="MINDIR", custom_func=describe)


def read_mindir_text(path: Path) -> tuple[dict[str, str], tuple[int, ...]]:
    """Reads description and input shape of a MINDIR file.

    Args:
        path: of the file.

    Returns:
        Entries by name, and the shape of the first input, (B, 3, H, W).

    Raises:
        ExportError: the file is no MINDIR.
    """
    from mindspore.train.mind_ir_pb2 import ModelProto

    model = ModelProto()
    try:
        model.ParseFromString(path.read_bytes())
        shape = tuple(model.graph.input[0].tensor[0].dims)
    except Exception as error:  # protobuf's own types, and IndexError for an empty graph
        raise ExportError(f"{path}: damaged or no MINDIR file ({type(error).__name__})") from error
    entries = model.user_info
    return ({entry.key: entry.value for entry in entries} if _is_list(entries) else dict(entries)), shape


def _is_list(user_info) -> bool:
    """Returns whether this MindSpore reads the entries as a list of pairs (2.7), not as a map; the file is the same."""
    return hasattr(user_info, "add")
