"""The rows of history.csv."""

from __future__ import annotations

import pytest

from tests.training.test_run_folder import LOSS_NAMES, record, stored
from yolox.errors import CommandError
from yolox.eval.coco import METRIC_NAMES
from yolox.training.history import append_row, read_history, restore_history, stored_history


def test_history_reads_back_as_numbers(tmp_path):
    record(tmp_path, "skip", 0.25)
    first, second = read_history(tmp_path / "history.csv")
    times = ("images_per_second", "data_wait_share", "skipped", "seconds")
    assert tuple(first) == ("epoch", "lr", *LOSS_NAMES, *times, *METRIC_NAMES)
    assert (first["epoch"], first["total"], first["AP"]) == (1.0, 1.5, None)
    assert (second["epoch"], second["AP"], second["skipped"]) == (2.0, 0.25, 1.0)


@pytest.mark.parametrize("torn", ["", "3,0.1", "3,0.1\n", "3,0.1\n4,0.2\n"])
def test_history_is_cut_back_to_the_checkpoint(tmp_path, torn):
    path = tmp_path / "history.csv"
    history = stored(tmp_path, 0.1, 0.2)
    whole = path.read_text()
    path.write_text(whole + torn)
    assert not restore_history(path, history) and path.read_text() == whole
    assert not restore_history(path, {**history, "rows": history["rows"][:1]})
    assert [row["epoch"] for row in read_history(path)] == [1.0]
    for _ in range(2):
        assert not restore_history(path, {"columns": [], "rows": []}) and not path.exists()


@pytest.mark.parametrize("spoil", [lambda text: None, lambda text: text[:-1], lambda text: text.replace("0.2", "0.9"), len])
def test_a_missing_torn_or_changed_history_is_rebuilt(tmp_path, spoil):
    path = tmp_path / "history.csv"
    history = stored(tmp_path, 0.1, 0.2)
    whole, spoilt = path.read_text(), spoil(path.read_text())
    path.unlink()
    if spoilt is not None:
        path.write_text(str(spoilt))
    assert restore_history(path, history) and path.read_text() == whole


def test_line_ends_of_the_history_are_all_the_same(tmp_path):
    path = tmp_path / "history.csv"
    history = stored(tmp_path, 0.1, 0.2)
    whole = path.read_bytes()
    assert b"\r" not in whole
    path.write_bytes(whole.replace(b"\n", b"\r\n"))  # as a spreadsheet saves it
    assert not restore_history(path, history) and path.read_bytes() == whole
    record(tmp_path, 0.3)
    assert path.read_bytes().count(b"\n") == 4 and b"\r" not in path.read_bytes()


def test_a_checkpoint_without_history_takes_the_rows_of_the_file(tmp_path):
    history, path = stored(tmp_path, 0.1, 0.2), tmp_path / "history.csv"
    whole = path.read_text()
    path.write_text(whole + "3,0.")
    assert not restore_history(path, stored_history(path, 2)) and path.read_text() == whole
    assert stored_history(path, 0) == {"columns": [], "rows": []} and len(stored_history(path, 1)["rows"]) == 1
    path.write_text(whole[:-1])
    with pytest.raises(CommandError, match="has 1 epoch, the checkpoint has done 2"):
        stored_history(path, 2)
    assert history["columns"][0] == "epoch"


def test_rows_keep_the_order_of_the_first_and_other_columns_are_refused(tmp_path):
    path = tmp_path / "history.csv"
    append_row(path, {"epoch": 1, "total": 2.0, "cls": 0.5})
    append_row(path, {"cls": 0.25, "epoch": 2, "total": 1.0})
    assert read_history(path)[1] == {"epoch": 2.0, "total": 1.0, "cls": 0.25}
    with pytest.raises(CommandError, match="has the columns epoch, total, cls; want epoch, total, angle"):
        append_row(path, {"epoch": 3, "total": 1.0, "angle": 0.25})
    assert len(read_history(path)) == 2
