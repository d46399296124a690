"""Runs that are killed, stopped or run out of disk go on as if nothing had happened."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import time

import pytest

from benchmarks.leftovers import shared_memory
from tests.cli.runs import assert_gone, assert_same_run, changes, start, stop, wait_for
from tests.cli.tiny import EXPERIMENT, write_data
from tests.launch import children_of, name_of, worker_of
from yolox.cli import run
from yolox.errors import CheckpointError
from yolox.schedule import is_evaluated
from yolox.training import checkpoint as checkpoint_module
from yolox.training.checkpoint import load_checkpoint
from yolox.training.history import read_history

LONG = ("--epochs", "14", "--eval-interval", "4", "--plain-epochs", "2")


@pytest.fixture(scope="module")
def argv(tmp_path_factory):
    return write_data(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def whole(argv, tmp_path_factory):
    """A run that nothing disturbs."""
    folder = tmp_path_factory.mktemp("runs") / "whole"
    assert run(EXPERIMENT, ["train", *argv, *LONG, "--output", str(folder)]) == 0
    return folder


def process_started_by(process) -> int:
    """Returns the process that a restarting command has started."""
    return next(pid for pid in children_of(process.pid) if name_of(pid))


@pytest.mark.slow
@pytest.mark.parametrize("processes", [1, 2])
def test_restarts_go_on_after_kills_to_the_same_bits(argv, tmp_path, processes):
    """The training process is killed twice, or a rank of it, and the run ends by itself."""
    argv, folder = write_data(tmp_path / "data", images=16), tmp_path / "run"
    options = [*argv, "--epochs", 14, "--eval-interval", 4, "--save-steps", 2]
    process = start(*options, "--output", folder, "--restarts", 3, "--processes", processes)
    for kill in range(2):
        assert wait_for(changes(folder / "last.safetensors"), process)
        child = process_started_by(process)
        os.kill(child if processes == 1 else worker_of(process, kill), signal.SIGKILL)
        wait_for(lambda child=child: not name_of(child), process)
    out, _ = process.communicate(timeout=600)
    assert process.returncode == 0, out
    assert out.count("the run has ended with") == 2 and f"restart 2 of 3 from {folder / 'last.safetensors'}" in out
    assert_gone(process)
    whole = start(*options, "--output", tmp_path / "whole", "--processes", processes)
    assert whole.communicate(timeout=600)[1] is None and whole.returncode == 0
    assert_same_run(folder, tmp_path / "whole")


def test_restarts_end_with_a_signal_and_are_of_the_command_line_only(argv, tmp_path, capsys):
    assert run(EXPERIMENT, ["train", *argv, "--output", str(tmp_path / "a"), "--restarts", "3"]) == 2
    assert "of the command line only; in Python see yolox.processes.run_with_restarts" in capsys.readouterr().err
    assert run(EXPERIMENT, ["train", *argv, "--parallel", "--restarts", "3"]) == 2
    assert "leave out msrun and --parallel" in capsys.readouterr().err
    assert run(EXPERIMENT, ["train", *argv, "--processes", "0"]) == 2
    folder = tmp_path / "run"
    process = start(*argv, "--epochs", 500, "--output", folder, "--restarts", 3, "--save-steps", 1)
    assert wait_for(changes(folder / "last.safetensors"), process)
    code, out = stop(process, signal.SIGTERM)
    assert code == 143 and "stopped and saved" in out and "restart 1" not in out


def resume(folder, *more):
    return run(EXPERIMENT, ["train", "--resume", str(folder), *more])


def test_killed_twice_then_ctrl_c_then_sigterm_then_finished(argv, whole, tmp_path):
    """The first two at random times; the signals save and say so; no process and no shared memory is left behind."""
    folder, rng = tmp_path / "run", random.Random(1)
    last = folder / "last.safetensors"
    first = [*argv, *LONG, "--output", folder, "--save-steps", 2]
    shared = shared_memory()
    for arguments in (first, ["--resume", folder, "--workers", 2]):
        process = start(*arguments)
        assert wait_for(changes(last), process)
        time.sleep(rng.uniform(0, 0.3))
        stop(process, signal.SIGKILL)
        assert_gone(process)
    for number, workers in ((signal.SIGINT, 2), (signal.SIGTERM, 0)):
        process = start("--resume", folder, "--workers", workers)
        assert wait_for(changes(last), process), "the run was over too soon"
        code, out = stop(process, number)
        assert code in (128 + number, 143), out  # within a step, MindSpore makes a SIGTERM of a SIGINT
        assert "stopped and saved" in out and f"go on with: train --resume {folder}" in out
        assert_gone(process)
    assert not (shared_memory() - shared)
    assert resume(folder) == 0
    assert_same_run(folder, whole)


@pytest.mark.parametrize("fails", [False, True])
def test_a_run_that_ends_leaves_no_process_and_no_shared_memory(argv, tmp_path, fails):
    """Also one that ends with an error while its data workers live: an image that is gone, or is none."""
    if fails:
        argv = write_data(tmp_path / "data")
        next(path for path in sorted((tmp_path / "data/train/images").iterdir())).write_bytes(b"\x89PNG but no more")
    shared = shared_memory()
    options = ["--epochs", 2, "--warmup-epochs", 0, "--flat-epochs", 0, "--plain-epochs", 0, "--workers", 2]
    process = start(*argv, *options, "--output", tmp_path / "run")
    out, _ = process.communicate(timeout=300)
    assert process.returncode == int(fails), out
    assert_gone(process)
    assert not (shared_memory() - shared)


def evaluating(last) -> bool:
    """Returns whether the last checkpoint is that of an epoch's last step, and an evaluation follows it."""
    try:
        found = load_checkpoint(last)
    except CheckpointError:
        return False
    place = found.extra["position"]
    return place["step"] == 5 and is_evaluated(found.recipe, place["epoch"])


class Kills:
    """Where a run was killed, how often, and where it is to be killed next.

    A fifth each at random times, within the writing of a checkpoint, in an evaluation, in the start of a new run before
    its first checkpoint, and in the opening of ``--resume`` before its first.
    """

    STARTS = {False: "in the start", True: "in the opening of --resume"}

    def __init__(self, last, kills: int) -> None:
        self.kills, self.last, self.part = kills, last, last.parent / f".{last.name}.part"
        self.count = dict.fromkeys(("at random", "in a write", "in an evaluation", *self.STARTS.values()), 0)
        self.usual = 5.0  # seconds from the start of a process to its first checkpoint

    def next(self) -> str:
        """Choose the kind that came least; a start with nothing there is rare, and is used."""
        exists, start, opening = self.last.exists(), *self.STARTS.values()
        if not exists and self.count[start] < self.kills // len(self.count):
            return start
        return min((kind for kind in self.count if kind != (start if exists else opening)), key=self.count.get)

    def kill(self, process, where: str, rng) -> str:
        """Wait for the place and kill there; give the kind of place that it has become, or "" where the run is over."""
        changed, begun = changes(self.last), time.monotonic()
        if where in self.STARTS.values():
            time.sleep(rng.uniform(0, self.usual))
            process.kill()
            return "at random" if changed() else where
        if not wait_for(changed, process):
            return ""
        self.usual = time.monotonic() - begun
        time.sleep(rng.uniform(0, 1))
        places = {"in a write": self.part.exists, "in an evaluation": lambda: evaluating(self.last)}
        wait_for(places.get(where, lambda: True), process, pause=0.0)
        process.kill()
        return where


def kill_often(argv, whole, folder, *, kills, seed):
    """Kill and resume until so many kills were survived and every run is done."""
    rng, finished, killed = random.Random(seed), 0, Kills(folder / "last.safetensors", kills)
    while (done := sum(killed.count.values())) < kills or folder.exists():
        where, last = killed.next(), killed.last
        fresh = [*argv, *LONG, "--output", folder, "--overwrite"]
        steps = 1 if where == "in an evaluation" else rng.choice([1, 3, 7])
        process = start(*(["--resume", folder] if last.exists() else fresh), "--save-steps", steps)
        if done < kills:
            where = killed.kill(process, where, rng)
        out, _ = process.communicate(timeout=300)
        if process.returncode == 0:
            assert_same_run(folder, whole)
            shutil.rmtree(folder)
            finished += 1
        else:
            assert process.returncode == -signal.SIGKILL, out
            killed.count[where] += 1
        print(f"kills {killed.count}; {finished} runs the same to the bit", flush=True)
    return f"survived {killed.count}; {finished} runs the same to the bit"


@pytest.mark.slow
def test_killed_often(argv, whole, tmp_path):
    """25 times; YOLOX_KILLS=100 and another YOLOX_SEED are the long form."""
    kills, seed = int(os.environ.get("YOLOX_KILLS", 25)), int(os.environ.get("YOLOX_SEED", 2))
    said = kill_often(argv, whole, tmp_path / "run", kills=kills, seed=seed)
    print(said)
    assert " 0" not in said  # of every kind one at least


def test_a_full_disk_is_a_message_and_the_last_good_checkpoint_stays(argv, tmp_path, capsys, monkeypatch):
    folder, original, saves = tmp_path / "run", checkpoint_module.save_file, []

    def full(tensors, temporary, **options):
        saves.append(temporary)
        if len(saves) == 3:
            temporary.write_bytes(b"half")
            raise OSError(28, "No space left on device")
        original(tensors, temporary, **options)

    monkeypatch.setattr(checkpoint_module, "save_file", full)
    assert run(EXPERIMENT, ["train", *argv, *LONG, "--output", str(folder)]) == 1
    err = capsys.readouterr().err
    assert "last.safetensors: not written, the file before is untouched" in err and "No space left" in err
    assert load_checkpoint(folder / "last.safetensors").extra["epoch"] == 1
    assert len(read_history(folder / "history.csv")) == 2  # written before the checkpoint; --resume cuts it
    assert not list(folder.glob(".*"))


def test_a_finished_run_is_left_alone(whole, capsys):
    before = (whole / "last.safetensors").read_bytes()
    assert resume(whole) == 0
    assert "all 14 epochs are done" in capsys.readouterr().out
    assert (whole / "last.safetensors").read_bytes() == before


def test_a_best_checkpoint_that_was_not_copied_is_copied(whole, tmp_path):
    """Killed between the two files: the last checkpoint knows that it is also the best, and the evaluation is made again."""
    shutil.copytree(whole, tmp_path / "run")
    last = load_checkpoint(whole / "last.safetensors")
    extra = {**last.extra, "best": True}
    checkpoint_module.save_checkpoint(
        tmp_path / "run/last.safetensors", last.tensors, recipe=last.recipe, class_names=last.class_names, extra=extra
    )
    assert resume(tmp_path / "run") == 0
    assert (tmp_path / "run/best.safetensors").read_bytes() == (tmp_path / "run/last.safetensors").read_bytes()
    evaluation = json.loads((tmp_path / "run/evaluation.json").read_text())
    assert evaluation["epoch"] == 14 and evaluation["AP"] == read_history(whole / "history.csv")[-1]["AP"]


@pytest.mark.parametrize(
    ("more", "status", "message"),
    [
        (["--lr", "0.5"], 2, "--lr: a resumed run keeps the recipe"),
        (["--recipe", "best"], 2, "--recipe: got 'best', want one of megvii, or a file"),
        (["--momentum", "0.5", "--seed", "3"], 2, "--momentum, --seed: a resumed run"),
        (["--overwrite"], 2, "--overwrite: a resumed run"),
        (["--weights", "a.pth"], 2, "--weights: a resumed run"),
        (["--output", "elsewhere"], 2, "--output elsewhere: --resume goes on in"),
        (["--workers", "1"], 0, None),
    ],
)
def test_options_that_would_make_it_another_run_are_refused(whole, capsys, more, status, message):
    assert resume(whole, *more) == status
    assert message is None or message in capsys.readouterr().err


def test_an_interval_of_no_steps_is_refused(argv, tmp_path, capsys):
    assert run(EXPERIMENT, ["train", *argv, "--output", str(tmp_path / "run"), "--save-steps", "0"]) == 2
    assert "--save-steps 0: want 1 or more" in capsys.readouterr().err


def fails(folder, capsys, *more):
    assert resume(folder, *more) == 1
    return capsys.readouterr().err


def test_folders_that_are_no_runs_are_refused(whole, tmp_path, capsys):
    assert "not the folder of a run" in fails(tmp_path / "nothing", capsys)
    folder = tmp_path / "run"
    shutil.copytree(whole, folder)
    (folder / "last.safetensors").unlink()
    assert "stopped before its first" in fails(folder, capsys)
    (folder / "last.safetensors").write_bytes((whole / "last.safetensors").read_bytes()[:-1])
    assert "last.safetensors: " in fails(folder, capsys)
    (folder / "options.json").write_text("{")
    assert "damaged" in fails(folder, capsys)
    shutil.copy(whole / "options.json", folder)
    (folder / "recipe.json").write_text('{"epoch": 3}')
    assert "did you mean 'epochs'" in fails(folder, capsys)


def test_other_data_are_refused(argv, whole, tmp_path, capsys):
    content = json.loads(open(argv[1]).read())
    content["annotations"][0]["bbox"][0] += 1
    (tmp_path / "changed.json").write_text(json.dumps(content))
    err = fails(whole, capsys, "--train-json", str(tmp_path / "changed.json"))
    assert "was trained on 10 images" in err and "want the same annotations" in err


def test_a_torn_history_is_rebuilt(whole, tmp_path, capsys):
    shutil.copytree(whole, tmp_path / "run")
    path = tmp_path / "run/history.csv"
    before = path.read_text()
    path.write_text("".join(before.splitlines(keepends=True)[:-1]))
    assert resume(tmp_path / "run") == 0
    assert "history.csv: rows were missing or changed" in capsys.readouterr().out and path.read_text() == before


def test_a_recipe_that_was_edited_is_refused_and_more_epochs_are_an_option(whole, tmp_path, capsys):
    folder = tmp_path / "run"
    shutil.copytree(whole, folder)
    edited = json.loads((folder / "recipe.json").read_text())
    edited["optim"]["momentum"], edited["epochs"] = 0.5, 15
    (folder / "recipe.json").write_text(json.dumps(edited))
    err = fails(folder, capsys)
    assert "epochs was 14, now it is 15; optim.momentum was 0.9, now it is 0.5" in err and "or --allow-changed" in err
    shutil.copy(whole / "recipe.json", folder)
    assert resume(folder, "--epochs", "15") == 0
    assert "changed: epochs was 14, now it is 15" in capsys.readouterr().out
    assert len(read_history(folder / "history.csv")) == 15
    best = load_checkpoint(folder / "best.safetensors").extra["epoch"]
    assert json.loads((folder / "evaluation.json").read_text())["epoch"] == best
    assert resume(folder) == 0 and "all 15 epochs are done" in capsys.readouterr().out
    (folder / "options.json").write_text((folder / "options.json").read_text().replace('"patience": null', '"patience": "3"'))
    assert 'options.json: patience: got "3", want a whole number' in fails(folder, capsys)


def test_allowing_changes_is_for_a_resumed_run(argv, tmp_path, capsys):
    assert run(EXPERIMENT, ["train", *argv, "--output", str(tmp_path / "run"), "--allow-changed"]) == 2
    assert "--allow-changed: belongs to --resume" in capsys.readouterr().err
