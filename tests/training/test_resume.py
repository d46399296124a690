"""A training state to a checkpoint and back: every tensor, or a refusal before any is written."""

import json
import shutil

import attrs
import numpy as np
import pytest
from mindspore import Parameter, Tensor

from tests.cli.tiny import TinyDetector
from yolox.config import Recipe
from yolox.data.dataset import DetectionDataset
from yolox.distributed import Group
from yolox.errors import CheckpointError, CommandError
from yolox.training import sync
from yolox.training.checkpoint import Checkpoint, load_checkpoint
from yolox.training.progress import LossScale, TrainingProgress
from yolox.training.resume import (
    dataset_fingerprint,
    describe_data,
    pixel_checksum,
    restore_state,
    resume_run,
    run_changes,
    save_state,
    state_statistics,
    state_tensors,
)
from yolox.training.step import create_train_state

POSITION = TrainingProgress(epoch=3, step=2, applied=1, loss_sums={"total": 0.1, "iou": 0.2}, loss_scale=LossScale(4.0, 7))
PARTS = ("params", "buffers", "optimizer_state")


def state_of(seed, classes=3, optimizer="sgd"):
    """A state whose every number is random, with the backup of BN statistics as a step leaves it."""
    state, rng = create_train_state(TinyDetector(classes), optimizer=optimizer), np.random.default_rng(seed)
    for part in PARTS:
        for parameter in getattr(state, part):
            parameter.set_data(Tensor(rng.standard_normal(parameter.shape).astype(np.float32)))
    state.ema.write([rng.standard_normal(shape).astype(np.float32) for shape in state.ema.shapes])
    state.safe_buffers.write([buffer.asnumpy() for buffer in state.buffers])
    return state


def values(state):
    flat = (state.safe_buffers.value, state.ema.value)
    return [p.asnumpy().tobytes() for p in (*(p for part in PARTS for p in getattr(state, part)), *flat)]


@pytest.fixture
def saved(tmp_path):
    state = state_of(1)
    save_state(tmp_path / "a.safetensors", state, POSITION, recipe=Recipe(), class_names="abc", extra={"x": 1})
    return state, load_checkpoint(tmp_path / "a.safetensors")


def test_every_bit_comes_back(saved):
    state, checkpoint = saved
    other = state_of(2)
    assert restore_state(checkpoint, other) == POSITION and checkpoint.extra["x"] == 1
    assert values(other) == values(state) and values(state) != values(state_of(2))


def test_every_bit_of_adamw_comes_back_and_not_into_a_state_of_sgd(tmp_path):
    state, path = state_of(1, optimizer="adamw"), tmp_path / "a.safetensors"
    save_state(path, state, POSITION, recipe=Recipe(), class_names="abc")
    checkpoint, other = load_checkpoint(path), state_of(2, optimizer="adamw")
    assert {name.split(".")[0] for name in checkpoint.tensors} == {"params", "ema", "exp_avg", "exp_avg_sq", "optimizer_updates"}
    restore_state(checkpoint, other)
    assert values(other) == values(state) and values(state) != values(state_of(2, optimizer="adamw"))
    with pytest.raises(CheckpointError, match="tensors differ from the detector's, such as momentum"):
        restore_state(checkpoint, state_of(3))


def test_tensors_are_copies(saved):
    state, _ = saved
    tensors = state_tensors(state)
    tensors[f"params.{state.params[0].name}"][:] = 0
    assert state.params[0].asnumpy().any()


def without(checkpoint, name):
    return {key: value for key, value in checkpoint.tensors.items() if key != name}


def test_what_does_not_fit_is_refused_and_nothing_is_written(saved):
    _, checkpoint = saved
    name = next(iter(checkpoint.tensors))
    half = {**checkpoint.tensors, name: checkpoint.tensors[name].astype(np.float16)}
    wrong = [
        (attrs.evolve(checkpoint, tensors=without(checkpoint, name)), "1 of 57 tensors differ"),
        (attrs.evolve(checkpoint, tensors={**checkpoint.tensors, "more": np.ones(1)}), "such as more"),
        (attrs.evolve(checkpoint, tensors=half), name),
        (attrs.evolve(checkpoint, extra={}), "has no position"),
        (attrs.evolve(checkpoint, extra={"position": {"epoch": 1}}), "position: has the fields"),
        (attrs.evolve(checkpoint, extra={"position": 3}), "position"),
    ]
    for changed, message in wrong:
        other = state_of(2)
        with pytest.raises(CheckpointError, match=message):
            restore_state(changed, other)
        assert values(other) == values(state_of(2))
    with pytest.raises(CheckpointError, match="the number of classes"):
        restore_state(checkpoint, state_of(2, classes=4))


def test_parameters_keep_their_memory(saved):
    """A compiled step holds the memory of its Parameters: they are written in place, never replaced."""
    _, checkpoint = saved
    other = state_of(2)
    before = [id(p) for p in other.params]
    restore_state(checkpoint, other)
    assert [id(p) for p in other.params] == before and all(isinstance(p, Parameter) for p in other.params)


def test_other_data_have_another_fingerprint():
    fields = {
        "image_dir": "/a", "file_names": ("1.jpg",), "image_ids": np.array([1]), "sizes": np.array([[4, 4]]),
        "offsets": np.array([0, 1]), "boxes": np.array([[0, 0, 2, 2]], np.float32), "classes": np.array([0]),
        "crowd": np.array([False]), "areas": np.array([4.0]), "annotation_ids": np.array([1]),
        "class_names": ("cat",), "category_ids": (1,),
    }  # fmt: skip
    dataset = DetectionDataset(**fields)
    fingerprint = dataset_fingerprint(dataset)
    assert (fingerprint["images"], fingerprint["boxes"]) == (1, 1)
    assert dataset_fingerprint(attrs.evolve(dataset, image_dir="/moved")) == fingerprint
    changes = {"boxes": dataset.boxes + 1, "file_names": ("2.jpg",), "class_names": ("dog",), "classes": np.array([1])}
    for name, value in changes.items():
        assert dataset_fingerprint(attrs.evolve(dataset, **{name: value})) != fingerprint, name


def frozen_state(seed):
    """A state of a detector with one parameter that is not trained."""
    detector = TinyDetector(3)
    detector.preds[0].weight.requires_grad = False
    state, rng = create_train_state(detector), np.random.default_rng(seed)
    for buffer in state.buffers:
        buffer.set_data(Tensor(rng.standard_normal(buffer.shape).astype(np.float32)))
    return state


def test_each_device_gets_its_own_statistics_back(tmp_path):
    states, path = [frozen_state(seed) for seed in (1, 2)], tmp_path / "a.safetensors"
    names = list(state_statistics(states[1]))
    assert len(names) == 12 and all("moving_" in name for name in names)  # three BN, two of each, and their averages
    others = {f"rank1.{name}": value for name, value in state_statistics(states[1]).items()}
    save_state(path, states[0], POSITION, recipe=Recipe(), class_names="abc", others=others)
    for rank, wanted in enumerate(states):
        found = frozen_state(3)
        assert restore_state(load_checkpoint(path), found, rank=rank) == POSITION
        got, want, shared = (state_tensors(state) for state in (found, wanted, states[0]))
        for name in got:
            np.testing.assert_array_equal(got[name], (want if name in names else shared)[name], err_msg=f"rank {rank}: {name}")
        for buffer, backup in zip(found.buffers, found.safe_buffers.arrays(), strict=True):
            np.testing.assert_array_equal(buffer.asnumpy(), backup)


def test_sharing_changes_the_statistics_and_no_bit_of_frozen_parameters(monkeypatch):
    """A mean over three devices may round what is the same on all of them."""
    monkeypatch.setattr(sync, "share_statistics", lambda arrays, group, *, average: [array + 1 for array in arrays])
    state = frozen_state(1)
    before = state_tensors(state)
    sync.sync_batch_norm(state, Group(rank=0, world=3), average=True)
    for name, value in state_tensors(state).items():
        np.testing.assert_array_equal(value, before[name] + 1 if "moving_" in name else before[name], err_msg=name)
    for buffer, backup in zip(state.buffers, state.safe_buffers.arrays(), strict=True):
        assert "moving_" not in buffer.name or (buffer.asnumpy() == backup).all()


@pytest.mark.parametrize("average", [True, False])
def test_sharing_hands_on_whether_to_average(monkeypatch, average):
    seen = []
    monkeypatch.setattr(
        sync, "share_statistics", lambda arrays, group, *, average: seen.append((group.world, average)) or arrays
    )
    sync.sync_batch_norm(frozen_state(1), Group(rank=0, world=2), average=average)
    assert seen == [(2, average)]


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """A dataset of four image files."""
    folder = tmp_path_factory.mktemp("images")
    names = tuple(f"{number}.png" for number in range(4))
    for number, name in enumerate(names):
        (folder / name).write_bytes(bytes([number]) * 1000)
    empty = np.zeros((0, 4), np.float32)
    return DetectionDataset(
        image_dir=str(folder), file_names=names, image_ids=np.arange(4), sizes=np.full((4, 2), 8), offsets=np.zeros(5, np.int64),
        boxes=empty, classes=empty[:, 0].astype(int), crowd=empty[:, 0] > 0, areas=empty[:, 0], annotation_ids=empty[:, 0],
        class_names=("cat",), category_ids=(1,),
    )  # fmt: skip


def test_other_pixels_under_the_same_names_are_seen(images, tmp_path):
    whole = pixel_checksum(images)
    shutil.copytree(images.image_dir, tmp_path / "moved")
    moved = attrs.evolve(images, image_dir=str(tmp_path / "moved"))
    assert pixel_checksum(moved) == whole and dataset_fingerprint(moved) == dataset_fingerprint(images)
    (tmp_path / "moved/2.png").write_bytes(b"\2" * 999 + b"\3")
    assert pixel_checksum(moved) != whole
    sampled = pixel_checksum(images, budget=2000)  # every third file
    assert sampled == pixel_checksum(moved, budget=2000) != whole
    (tmp_path / "moved/2.png").write_bytes(b"\2" * 1001)  # its size is seen without reading it
    assert pixel_checksum(moved, budget=2000) != sampled
    (tmp_path / "moved/2.png").unlink()
    assert pixel_checksum(moved) != whole


RUN = Recipe(epochs=40)


@pytest.mark.parametrize(
    ("change", "names"),
    [
        ({}, []),
        ({"recipe": Recipe(epochs=60)}, ["epochs"]),
        ({"recipe": attrs.evolve(RUN, optim=attrs.evolve(RUN.optim, momentum=0.8))}, ["optim.momentum"]),
        ({"recipe": attrs.evolve(RUN, loader=attrs.evolve(RUN.loader, workers=7))}, []),
        ({"train": {"boxes": 3}}, ["train_set"]),
        ({"train": {"pixels": 3}}, ["train_images"]),
        ({"train": {"devices": 2}}, ["devices"]),
        ({"val": {"images": 3}}, ["val_set"]),
        ({"val": {"pixels": 3}}, ["val_images"]),
        ({"val": None}, ["val_set"]),
    ],
)
def test_what_changed_since_the_checkpoint_is_named(images, change, names):
    data = json.loads(json.dumps(describe_data(images, images, Group())))
    checkpoint = Checkpoint(tensors={}, recipe=RUN, class_names=("cat",), extra=data)
    now = describe_data(images, images, Group())
    now["data"].update(change.get("train", {}))
    now["val_data"] = None if "val" in change and change["val"] is None else {**now["val_data"], **change.get("val", {})}
    assert list(run_changes(checkpoint, now, change.get("recipe", RUN))) == names


def test_changes_are_refused_unless_they_are_allowed(images, tmp_path):
    state, data = state_of(1, classes=1), describe_data(images, None, Group())
    extra = {**data, "best_AP": 0.5}
    save_state(tmp_path / "last.safetensors", state, TrainingProgress(), recipe=RUN, class_names=("cat",), extra=extra)
    longer = Recipe(epochs=60, eval_interval=5)
    for allowed in (False, ("epochs",)):
        with pytest.raises(CommandError, match="eval_interval was 10, now it is 5; want .* or `allow_changed`"):
            resume_run(tmp_path, state, data, recipe=longer, allow_changed=allowed)
    found = resume_run(tmp_path, state, data, recipe=longer, allow_changed=True)
    assert found.best_ap == 0.5 and found.changes == ("epochs was 40, now it is 60", "eval_interval was 10, now it is 5")
    assert resume_run(tmp_path, state, data, recipe=Recipe(epochs=60), allow_changed=("epochs",)).changes
    other = describe_data(images, images, Group())  # the best AP was of no or of other images
    assert resume_run(tmp_path, state, other, recipe=RUN, allow_changed=True).best_ap is None
    two = describe_data(images, None, Group(rank=1, world=2))
    with pytest.raises(CommandError, match="on 1 device.s., now there are 2; want .* number of devices$"):
        resume_run(tmp_path, state, two, recipe=RUN, allow_changed=True)
    save_state(
        tmp_path / "last.safetensors", state, TrainingProgress(), recipe=RUN, class_names=("cat",), extra={**data, "best_AP": "x"}
    )
    with pytest.raises(CheckpointError, match='best_AP: got "x", want a number or null'):
        resume_run(tmp_path, state, data, recipe=RUN)
