"""The self-test of convolutions: its measurement, the choice between two settings, and what is kept."""

import json
import os

import numpy as np
import pytest
from mindspore import Tensor, ops

from yolox import convolutions, environment
from yolox.convolutions import SLOW_RATIO, check_convolutions, convolution_ratio
from yolox.environment import DEFAULT_SETTING, MEASURED, ONEDNN_VARIABLE, known_setting, remember_setting, use_fast_convolutions

VERSION = "2.10.0"


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("YOLOX_CACHE", str(tmp_path))
    monkeypatch.setenv(ONEDNN_VARIABLE, "AVX2")
    monkeypatch.setattr(convolutions, "installed_mindspore", lambda: VERSION)
    return tmp_path


def measured(monkeypatch, own, other):
    """Stands for both measurements; lists the settings that were tried elsewhere."""
    tried = []
    monkeypatch.setattr(convolutions, "convolution_ratio", lambda: own)
    monkeypatch.setattr(convolutions, "_ratio_with", lambda setting: tried.append(setting) or other)
    return tried


def test_both_parts_of_the_ratio_have_as_many_multiplications(monkeypatch):
    counted = {}

    def conv2d(image, weight, pad_mode):
        output = ops.ones((1, weight.shape[0], *image.shape[2:]))
        counted["conv"] = np.prod(output.shape) * np.prod(weight.shape[1:])
        return output

    def matmul(rows, columns):
        counted["product"] = rows.shape[0] * rows.shape[1] * columns.shape[1]
        return Tensor(np.zeros(1, np.float32))

    monkeypatch.setattr(convolutions.ops, "conv2d", conv2d)
    monkeypatch.setattr(convolutions.ops, "matmul", matmul)
    assert convolution_ratio() > 0 and counted["conv"] == counted["product"]


def test_a_fast_setting_is_measured_once(cache, monkeypatch):
    tried = measured(monkeypatch, SLOW_RATIO - 1, 0.0)
    assert check_convolutions() is None and known_setting(VERSION) == "AVX2" and tried == []
    monkeypatch.setattr(convolutions, "convolution_ratio", lambda: pytest.fail("measured again"))
    assert check_convolutions() is None


def test_the_other_setting_is_kept_for_the_next_start_where_it_is_fast(cache, monkeypatch):
    tried = measured(monkeypatch, SLOW_RATIO + 1, 2.0)
    assert "ONEDNN_MAX_CPU_ISA=DEFAULT is fast, and is used from the next start on" in check_convolutions()
    assert tried == [DEFAULT_SETTING] and known_setting(VERSION) == DEFAULT_SETTING
    next_start = {}
    assert not use_fast_convolutions(next_start, VERSION) and next_start == {}


def test_a_capped_start_follows_a_slow_one_without_a_cap(cache, monkeypatch):
    monkeypatch.delenv(ONEDNN_VARIABLE)
    tried = measured(monkeypatch, SLOW_RATIO + 1, 2.0)
    assert "ONEDNN_MAX_CPU_ISA=AVX2 is fast" in check_convolutions() and tried == ["AVX2"]
    next_start = {}
    assert use_fast_convolutions(next_start, "2.10.0") and next_start == {ONEDNN_VARIABLE: "AVX2"}


def test_where_no_setting_is_fast_every_start_says_so_and_the_version_decides(cache, monkeypatch):
    measured(monkeypatch, SLOW_RATIO + 1, SLOW_RATIO + 1)
    message = "convolutions of MindSpore 2.10.0 are slow on this processor, whatever ONEDNN_MAX_CPU_ISA is: try another"
    assert check_convolutions() == message and check_convolutions() == message
    next_start = {}
    assert use_fast_convolutions(next_start, VERSION) and next_start == {ONEDNN_VARIABLE: "AVX2"}


def test_a_value_of_the_user_is_neither_measured_nor_changed(cache, monkeypatch):
    monkeypatch.setenv(ONEDNN_VARIABLE, "AVX512_CORE")
    monkeypatch.setattr(convolutions, "convolution_ratio", lambda: pytest.fail("measured"))
    assert check_convolutions() is None and not (cache / MEASURED).exists()


def test_versions_and_processors_are_kept_apart(cache, monkeypatch):
    remember_setting("2.10.0", "AVX2")
    remember_setting("2.11.0", DEFAULT_SETTING)
    assert (known_setting("2.10.0"), known_setting("2.11.0"), known_setting("2.7.0")) == ("AVX2", DEFAULT_SETTING, None)
    monkeypatch.setattr(environment, "_machine", lambda version: f"{version} on another processor")
    assert known_setting("2.10.0") is None


@pytest.mark.parametrize("content", ["", "{", "[1]", '{"x": 1}'])
def test_a_damaged_file_is_measured_again(cache, monkeypatch, content):
    (cache / MEASURED).write_text(content)
    measured(monkeypatch, 1.0, 1.0)
    assert check_convolutions() is None and known_setting(VERSION) == "AVX2"
    json.loads((cache / MEASURED).read_text())


def test_a_folder_that_cannot_be_written_is_no_error(cache, monkeypatch):
    (cache / "file").write_text("")
    monkeypatch.setenv("YOLOX_CACHE", str(cache / "file"))
    measured(monkeypatch, 1.0, 1.0)
    assert check_convolutions() is None and known_setting(VERSION) is None


@pytest.mark.slow
def test_convolutions_are_fast_here_and_a_process_of_its_own_measures_them(monkeypatch):
    assert convolution_ratio() < SLOW_RATIO
    assert 0 < convolutions._ratio_with(os.environ.get(ONEDNN_VARIABLE, DEFAULT_SETTING)) < SLOW_RATIO
