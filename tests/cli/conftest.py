"""Nano and a drawn dataset for the tests of commands."""

from __future__ import annotations

import pytest

from tests.cli.arguments import draw_both_sets, experiment_of


@pytest.fixture(scope="package")
def nano():
    return experiment_of("yolox_nano")


@pytest.fixture(scope="package")
def data(tmp_path_factory):
    """Four images each for training and validation; tests change copies."""
    return draw_both_sets(tmp_path_factory.mktemp("data"))
