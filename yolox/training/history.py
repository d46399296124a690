"""The rows of history.csv: made of an epoch, appended, read, and put back to what a checkpoint has of them."""

from __future__ import annotations

import csv
import io
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from yolox.data.build import read_text
from yolox.data.content import counted
from yolox.errors import CommandError, DataError
from yolox.eval.coco import METRIC_NAMES
from yolox.training.checkpoint import atomic_path
from yolox.wire import read_file

if TYPE_CHECKING:
    from yolox.training.callbacks import EpochEvent

MAX_HISTORY_BYTES = 4 << 20  # a thousand epochs have 0.4 MB; numbers take 20 times their text


def history_row(event: EpochEvent) -> dict:
    """Returns the row of history.csv for an epoch; every loss is a column.

    Cells are None where there is no number: metrics without an evaluation, losses where every step was skipped.

    Args:
        event: of the epoch.

    Returns:
        Number or None by name of the column.
    """
    metrics = event.metrics or {}
    return {
        "epoch": event.epoch + 1,
        "lr": event.lr,
        **{name: None if math.isnan(value) else value for name, value in event.losses.items()},
        "images_per_second": round(event.images_per_second, 2),
        "data_wait_share": round(event.data_wait_share, 4),
        "skipped": event.skipped,
        "seconds": round(event.seconds, 2),
        **{name: metrics.get(name) for name in METRIC_NAMES},
    }


def append_row(path: Path, row: Mapping) -> None:
    """Appends a row to history.csv and syncs it; the first row is preceded by the names of the columns.

    Args:
        path: history.csv.
        row: number or None by name of the column.

    Raises:
        OSError: it cannot be written; `restore_history` removes what is there of it.
        CommandError: the file has other columns, such as those of another loss.
    """
    columns = tuple(row)
    if new := not path.exists():
        header = columns
    else:  # the file's order counts: the losses of a checkpoint come back in the order of JSON's keys
        with path.open(newline="") as file:
            header = tuple(next(csv.reader(file), ()))
    if set(header) != set(columns):
        raise CommandError(f"{path}: has the columns {', '.join(header)}; want {', '.join(columns)}")
    with path.open("a", newline="") as file:
        writer = csv.DictWriter(file, header, lineterminator="\n")
        if new:
            writer.writeheader()
        writer.writerow(row)
        file.flush()
        os.fsync(file.fileno())


def read_history(path: Path) -> list[dict]:
    """Reads history.csv as numbers; empty cells are None.

    Args:
        path: history.csv.

    Returns:
        Rows by name of the column.

    Raises:
        DataError: it cannot be read, or has a row that is not as long as the first, or a cell that is no number.
    """
    try:
        columns, *rows = list(csv.reader(io.StringIO(read_text(str(path), most=MAX_HISTORY_BYTES), newline=""))) or [[]]
        if any(len(row) != len(columns) for row in rows):
            raise ValueError("rows of different lengths")
        return [{key: float(cell) if cell else None for key, cell in zip(columns, row, strict=True)} for row in rows]
    except DataError:
        raise
    except (ValueError, csv.Error) as error:
        raise DataError(f"{path}: damaged ({str(error)[:200]})") from None


def stored_history(path: Path, epochs: int) -> dict[str, list]:
    """Reads the first rows of history.csv as a checkpoint holds them, for checkpoints that hold none.

    Args:
        path: history.csv; its last line may be torn, and it may be missing.
        epochs: epochs that are done at the checkpoint.

    Returns:
        `columns` and `rows`, as text.

    Raises:
        CommandError: there are fewer rows, or it is damaged or too large.
    """
    try:
        text = read_file(path, most=MAX_HISTORY_BYTES, error=DataError).decode(errors="replace") if path.is_file() else ""
        lines = list(csv.reader(io.StringIO(text[: text.rfind("\n") + 1])))
    except (DataError, csv.Error) as error:
        raise CommandError(f"{path}: {error}") from None
    if len(lines) < epochs + 1 and epochs:
        raise CommandError(f"{path}: has {counted(max(len(lines) - 1, 0), 'epoch')}, the checkpoint has done {epochs}")
    return {"columns": lines[0] if epochs else [], "rows": lines[1 : epochs + 1]}


def restore_history(path: Path, history: Mapping[str, list]) -> bool:
    """Makes history.csv what a checkpoint has of it: rows that a killed run wrote after the checkpoint go.

    Args:
        path: history.csv; it may be missing, torn or changed. Ends of lines become LF.
        history: `columns` and `rows`, as `RunRecorder` stores them.

    Returns:
        True where rows of the checkpoint were missing or differed, and were written again.
    """
    columns, rows = history["columns"], history["rows"]
    if not rows:
        path.unlink(missing_ok=True)
        return False
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\n").writerows([columns, *rows])
    wanted, before = text.getvalue().encode(), b""
    if path.is_file() and path.stat().st_size <= MAX_HISTORY_BYTES:
        before = path.read_bytes()
    if before != wanted:
        with atomic_path(path) as temporary:
            temporary.write_bytes(wanted)
    return not before.replace(b"\r\n", b"\n").startswith(wanted)
