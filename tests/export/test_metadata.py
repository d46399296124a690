"""The description in an exported file: there and back, and messages for what is no description."""

from __future__ import annotations

import pytest

from yolox.config import InputSpec, PostprocessConfig
from yolox.errors import ExportError
from yolox.export.metadata import ExportMetadata, metadata_from_text, metadata_to_text
from yolox.export.runner import open_exported

METADATA = ExportMetadata(
    class_names=("a b", "ä"),
    input=InputSpec(input_size=(64, 96), channel_order="rgb", pixel_scale=1 / 255, letterbox="center"),
    postprocess=PostprocessConfig(score_threshold=0.4, multi_label=True),
    nms=True,
)


def test_text_and_back():
    text = metadata_to_text(METADATA)
    assert all(isinstance(value, str) for value in text.values())
    assert metadata_from_text({**text, "else": "x"}) == METADATA


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"yolox_format": "2"}, "f: format 2, this version reads up to 1"),
        ({"yolox_format": None}, "f: has no description of its classes and pixels"),
        ({"input": None}, "f: its description is damaged"),
        ({"input": "{"}, "f: its description is damaged"),
        ({"input": '{"input_size": [64, 64], "hue": 1}'}, "f: its description is damaged"),
    ],
)
def test_damage_is_named(changes, message):
    text = {name: value for name, value in {**metadata_to_text(METADATA), **changes}.items() if value is not None}
    with pytest.raises(ExportError, match=message):
        metadata_from_text(text, path="f")


@pytest.mark.parametrize(
    ("name", "message"), [("a.onnx", "no ONNX file"), ("a.mindir", "no MINDIR file"), ("a.txt", "want a name")]
)
def test_files_that_are_not_exports(tmp_path, name, message):
    (tmp_path / name).write_bytes(b"\xff\xff nothing")
    with pytest.raises(ExportError, match=message):
        open_exported(tmp_path / name)
