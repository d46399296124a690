"""MindSpore's graph mode and device: workarounds, each with a regression test in `tests/test_graph.py`; arrays as one vector."""

from __future__ import annotations

import atexit
import contextlib
import functools
import linecache
import logging
import math
import os
import re
import stat
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path

import mindspore as ms
import numpy as np
from mindspore import Tensor, ops
from mindspore.ops import constexpr

from yolox.convolutions import check_convolutions
from yolox.errors import CommandError

log = logging.getLogger("yolox")
tree_map = ops.HyperMap()
"""Maps a function over tuples in graph code; a Python loop over hundreds of parameters nests too deeply to compile."""


@constexpr
def constant_arange(count, dtype="int32"):  # -> [count]
    """Returns 0, 1, ..., count - 1 as a constant of the graph.

    ``ops.arange`` computes the same, but each call takes a tenth of a second to compile.

    Args:
        count: number of elements.
        dtype: name of the numpy dtype.

    Returns:
        ``[count]`` of `dtype`.

    Example:
        >>> constant_arange(3).asnumpy().tolist()
        [0, 1, 2]
    """
    return Tensor(np.arange(count, dtype=dtype))


def materialize(x: Tensor) -> Tensor:  # [...] -> [...]
    """Copies a tensor before it enters a loop or a branch of a compiled function.

    MindSpore 2.10 hands a view (``x[..., 4]`` made outside the compiled function) to loops and branches with the memory of
    its base, and computes wrong numbers. A kernel in between reads it correctly.

    Args:
        x: any tensor.

    Returns:
        The same values in memory of their own.
    """
    return ops.deepcopy(x)


def with_gt_row(gt_boxes: Tensor, gt_classes: Tensor, valid: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    # [B,G,4],[B,G],[B,G] -> [B,max(G,1),4],[B,max(G,1)],[B,max(G,1)]
    """Returns ground truths with at least one row: one of padding where there are none.

    MindSpore's reductions and searches raise errors on tensors without elements, and its compiled slices end the process
    by a signal (SIGFPE). Batches of images without objects, as an importer makes them, are such tensors.

    Args:
        gt_boxes: ``[B, G, 4]``; G may be 0.
        gt_classes: ``[B, G]``.
        valid: ``[B, G]`` bool.

    Returns:
        The arguments, or for G = 0 a box of zeros, class 0, and False.

    Example:
        >>> boxes, classes, valid = with_gt_row(ops.zeros((2, 0, 4)), ops.zeros((2, 0)), ops.zeros((2, 0)))
        >>> boxes.shape, valid.asnumpy().tolist()
        ((2, 1, 4), [[False], [False]])
    """
    batch, rows = valid.shape
    if rows > 0:
        return gt_boxes, gt_classes, valid
    return ops.zeros((batch, 1, 4), ms.float32), ops.zeros((batch, 1), ms.int32), ops.zeros((batch, 1), ms.bool_)


def join_arrays(arrays: Iterable[np.ndarray]) -> np.ndarray:  # [...], [...], ... -> [N]
    """Concatenates arrays of any shapes into one vector.

    Args:
        arrays: float32, any shapes; may be none.

    Returns:
        [N] float32, a copy.
    """
    return np.concatenate([np.zeros(0, np.float32), *(array.reshape(-1) for array in arrays)])


def split_array(flat: np.ndarray, shapes: Iterable[tuple[int, ...]]) -> list[np.ndarray]:  # [N] -> [...], [...], ...
    """Splits a vector of `join_arrays` into the arrays again.

    Args:
        flat: [N].
        shapes: of the parts in their order, N elements together.

    Returns:
        Views of `flat` in these shapes.

    Example:
        >>> [part.tolist() for part in split_array(np.arange(5), [(2, 2), (1,)])]
        [[[0, 1], [2, 3]], [4]]
    """
    shapes = list(shapes)
    ends = np.cumsum([math.prod(shape) for shape in shapes])[:-1]
    return [part.reshape(shape) for part, shape in zip(np.split(flat, ends), shapes, strict=True)] if shapes else []


COMPILE_CACHE = "MS_COMPILER_CACHE_ENABLE"


def use_device(name: str | None = None) -> None:
    """Sets the device on which MindSpore runs from here on, CPU or Ascend.

    A device that is in use already stays as it is: MindSpore refuses every call of ``set_device`` after its first
    kernel, and a notebook has run many before it calls a command.
    On CPU, memory is planned for a whole graph, and convolutions are tested once (`yolox.convolutions`).

    Args:
        name: "CPU" or "Ascend"; None prepares the device in use.

    Raises:
        CommandError: if this machine or this MindSpore has no such device, or the process already runs on another; on
            CPU, if the environment turns MindSpore's compile cache on.
    """
    name = name or ms.get_context("device_target")
    if name == "CPU" and os.environ.get(COMPILE_CACHE) == "1":
        raise CommandError(f"{COMPILE_CACHE}=1: on CPU a cached training step gives wrong numbers; unset {COMPILE_CACHE}")
    if name != ms.get_context("device_target"):
        _set_device(name)
    if name == "CPU":
        _plan_memory()
        check_convolutions()  # after it: memory is planned before the first operation


def _set_device(name: str) -> None:
    try:
        ms.set_device(name)
    except (RuntimeError, ValueError) as error:
        reason = (str(error).strip() or type(error).__name__).split(". ")[0].splitlines()[0]
        raise CommandError(
            f"`device` {name}: not usable here; try `device` CPU\nMindSpore says: {reason}"
        ) from error


def _plan_memory() -> None:
    """Lets each graph plan its memory beforehand: a training step of nano takes 230 MB less, to the same bits."""
    with contextlib.suppress(RuntimeError):  # it can be set once: what the user has set stays
        ms.runtime.set_memory(optimize_level="O1")


def compile_function(function: Callable) -> Callable:
    """Compiles a function to a static graph, as ``ms.jit`` does, also where parts of it were typed into a notebook.

    Args:
        function: a function of Tensors; it is compiled at its first call and once more for each new shape.

    Returns:
        The compiled function. `write_cell_sources` runs before each call.
    """
    compiled = ms.jit(function)

    @functools.wraps(function)
    def call(*arguments):
        write_cell_sources()
        return compiled(*arguments)

    return call


DEFINITION = re.compile(r"\s*(?:def|class|async def)\s")
_written: set[str] = set()


def write_cell_sources() -> list[str]:
    """Writes the notebook cells that define functions or classes to the files that Python names for them.

    MindSpore looks for the file of each function that it compiles. Jupyter names files that do not exist, such as
    ``/tmp/ipykernel_7/123.py``; MindSpore then prints errors until the pipe to the kernel is full, and both wait for ever.
    `compile_function` and `export_detector` call it; call it yourself before ``ms.jit`` in a notebook.

    A file that exists stays as it is. Folder and files are readable by their owner only, and are removed when the process
    ends. A folder that belongs to another user, or that others may write, is left alone.

    Returns:
        Paths of the files that were written now.

    Example:
        >>> write_cell_sources()
        []
    """
    fresh = []
    for name, entry in list(linecache.cache.items()):
        if name in _written or len(entry) != 4 or entry[1] is not None or not os.path.isabs(name):
            continue  # a cell has no time of modification; names such as <attrs generated init> are no paths
        _written.add(name)
        if any(DEFINITION.match(line) for line in entry[2]) and not os.path.lexists(name):
            try:
                _write_new_file(Path(name), "".join(entry[2]))
                fresh.append(name)
            except OSError as error:
                log.warning("%s: the text of a notebook cell cannot be written for the compiler (%s)", name, error)
    return fresh


def _write_new_file(path: Path, text: str) -> None:
    """Writes a file at once, where none is, into a folder that is or becomes the user's own."""
    with contextlib.suppress(FileExistsError):
        path.parent.mkdir(mode=0o700)
        atexit.register(_remove, path.parent.rmdir, os.getpid())
    folder = path.parent.lstat()
    if not stat.S_ISDIR(folder.st_mode) or folder.st_uid != os.getuid() or folder.st_mode & 0o022:
        raise PermissionError(f"{path.parent} is not a folder that only this user can write")
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=".")
    try:
        with open(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
        os.link(temporary, path)  # unlike a rename it fails where a file is
        atexit.register(_remove, path.unlink, os.getpid())
    finally:
        os.unlink(temporary)


def _remove(remove: Callable[[], None], process: int) -> None:
    if os.getpid() == process:  # not when a forked data worker ends
        with contextlib.suppress(OSError):
            remove()
