"""Curves as pictures: in colour where a value is, white elsewhere."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.cli.test_plot import HISTORY_COLUMNS
from yolox.cli.curves import COLOURS, draw_curves, draw_history, nice_ticks


@given(low=st.floats(0, 100), span=st.floats(1e-3, 1e4))
def test_ticks_cover_the_range_in_few_round_steps(low, span):
    ticks = nice_ticks(low, low + span)
    steps = np.diff(ticks)
    assert ticks[0] <= low + 1e-9 * span and ticks[-1] >= low + span - 1e-6 * span
    assert 1 <= len(steps) <= 8
    np.testing.assert_allclose(steps, steps[0], rtol=1e-4)


def test_a_falling_curve_falls():
    panel = draw_curves("loss", [1, 2, 3], {"total": [3.0, 2.0, 1.0]})
    rows, columns = np.nonzero((panel[40:260, 70:] == COLOURS[0]).all(axis=2))
    left, right = rows[columns < 20].mean(), rows[columns > columns.max() - 20].mean()
    assert left < right  # rows count downwards


def test_curves_that_are_the_same_are_both_seen():
    panel = draw_history([{**dict.fromkeys(HISTORY_COLUMNS, 0.0), "epoch": epoch} for epoch in (1.0, 2.0)])[40:, 544:936]
    for colour in COLOURS[:2]:
        assert (panel == colour).all(axis=2).any(axis=0).mean() > 0.9  # along the whole axis


def test_the_axis_of_curves_at_zero_ends_at_the_least_value():
    flat = {"AP": [0.0, 0.0]}
    one, other = draw_curves("AP", [1, 2], flat, least=0.1), draw_curves("AP", [1, 2], {"AP": [0.0, 0.1]})
    assert (one[:260, :60] == other[:260, :60]).all() and (one[:260, :60] < 255).any()  # the same numbers beside the axis
    assert (one != draw_curves("AP", [1, 2], flat)).any()


@pytest.mark.parametrize("values", [[None, None], [float("nan"), 1.0], [0.0, 0.0]])
def test_missing_and_constant_values_are_drawn_without_an_error(values):
    assert draw_curves("AP", [1, 2], {"AP": values}).dtype == np.uint8


def test_a_history_of_one_epoch_has_two_panels():
    assert draw_history([dict.fromkeys(HISTORY_COLUMNS, 1.0)]).shape == (320, 960, 3)


def test_lengths_must_agree():
    with pytest.raises(ValueError, match="total has 1 values for 2 epochs"):
        draw_curves("loss", [1, 2], {"total": [1.0]})
