"""Mutates every kind of file that the library reads, and reads the result as a user would.

    python -m tests.attacks.mutate --seconds 60
    python -m tests.attacks.mutate --seconds 3600 --seed 7 --kinds images exports
    python -m tests.attacks.mutate --seed 7 --kinds images --first 123 --files 1

A file may be read or refused with a message. A file that runs code, ends the process by a signal, raises an error that is none
of this library's, takes more than 30 s or 2 GB, or gives a message of more than 2,000 characters is a failure. It is copied to
``attack-failures``, or to the folder of ``--keep``.

Files are read in children that are forked after the imports, many by one child. The parent measures time and memory.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import json
import os
import random
import resource
import select
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import psutil

from tests.attacks.mutations import SPECIAL, mutate, replace_by_special, tokens
from tests.attacks.templates import make_templates
from tests.cli.tiny import EXPERIMENT, TinyDetector
from yolox.cli.main import run
from yolox.cli.messages import explain
from yolox.data.image import image_size, read_image
from yolox.data.unread import unread_of
from yolox.errors import CheckpointError, CommandError, DataError, ExportError, RecipeError, UsageError, WeightsError
from yolox.eval.media import read_frames
from yolox.export import open_exported
from yolox.weights.load import load_weights

REFUSALS = (DataError, WeightsError, CheckpointError, ExportError, RecipeError, UsageError, CommandError, OSError)
MOST_SECONDS, MOST_MEGABYTES, MOST_CHARACTERS = 30.0, 2048, 2000
MOST_KEPT = 16 << 20  # bytes; a sparse file would fill the disk
PER_TURN, PER_SLOW_TURN = 20, 2  # files of a kind, one after the other, by one child


def read_weights_of(path: Path) -> None:
    """Loads weights into a detector."""
    load_weights(TinyDetector(3), path)


def read_exported(path: Path) -> None:
    """Opens an exported detector, and runs it on an image of the size that it states."""
    import numpy as np

    opened = open_exported(path if path.suffix != ".bin" else path.with_suffix(".xml"))
    spec = opened.metadata.input
    opened(np.zeros((1, *spec.input_size, spec.channels), spec.pixel_type))


def read_picture(path: Path) -> None:
    """Reads an image in every way."""
    with contextlib.suppress(*REFUSALS):
        image_size(str(path))
    with contextlib.suppress(*REFUSALS):
        read_image(str(path), channels=1, max_value=65535)
    if path.is_file():
        unread_of(str(path))
    read_image(str(path))


def read_video(path: Path) -> None:
    """Reads all frames."""
    for _ in read_frames(path, "a"):
        pass


def command(*argv: object) -> Callable[[Path], None]:
    """Returns what runs a command; the path takes the place of {}, its folder that of {folder}."""

    def read(path: Path) -> None:
        values = {"": str(path), "folder": str(path.parent), "top": str(top_of(path))}
        words = [str(word).replace("{}", values[""]).replace("{folder}", values["folder"]) for word in argv]
        words = [word.replace("{top}", values["top"]) for word in words]
        if run(EXPERIMENT, words, prog="yolox"):
            raise Refused

    return read


def top_of(path: Path) -> Path:
    """Returns the folder into which the template of a file was copied."""
    while path.name != "file":
        path = path.parent
    return path


class Refused(Exception):  # noqa: N818
    """A command has ended with a message."""


class Target(NamedTuple):
    """Which files of a template are mutated, as patterns, and what reads one."""

    template: str
    files: tuple[str, ...]
    read: Callable[[Path], None]
    slow: bool = False
    """Whether a file that is accepted takes seconds."""


OUT = ("--output", "{top}/out")
KINDS = {
    "weights": Target("weights", ("*",), read_weights_of),
    "exports": Target("exports", ("*.onnx", "*.mindir", "*.xml", "*.bin"), read_exported),
    "images": Target("images", ("*",), read_picture),
    "videos": Target("videos", ("*",), read_video),
    "coco": Target("coco", ("*.json",), command("check", "--train-json", "{}", "--train-images", "{folder}/images", *OUT)),
    "voc": Target("voc", ("Annotations/*", "ImageSets/Main/*"), command("check", "--data", "{top}", *OUT)),
    "yolo": Target("yolo", ("data.yaml", "labels/*", "train.txt"), command("check", "--data", "{top}/data.yaml", *OUT)),
    "runs": Target(
        "run", ("*.json", "*.csv", "last.safetensors", ".lock"), command("train", "--resume", "{folder}", "--workers", "0"),
        slow=True,
    ),
    "plots": Target("run", ("*.json", "*.csv"), command("plot", "{folder}", *OUT), slow=True),
    "recipes": Target("recipes", ("*",), command("info", "--recipe", "{}")),
    "predict": Target("sources", ("*",), command("predict", "--weights", "{top}/../../detector.onnx", "--source", "{}", *OUT)),
}


class Outcome(NamedTuple):
    """What became of a file."""

    number: int
    problem: str
    """Empty where all is well."""
    accepted: bool = False
    seconds: float = 0.0
    megabytes: float = 0.0


def build(kind: str, number: int, seed: int, root: Path) -> Path:
    """Writes the file of a number into the folder `file` below `root`, and returns its path."""
    target, rng = KINDS[kind], random.Random(f"{seed}:{kind}:{number}")
    template, top = root / "templates" / target.template, root / kind / "file"
    shutil.rmtree(root / kind, ignore_errors=True)
    shutil.copytree(template, top, symlinks=True)
    found = sorted({path for pattern in target.files for path in top.glob(pattern) if path.is_file()})
    path = found[number % len(found)]
    if rng.random() < 0.03:
        replace_by_special(path, rng.choice(SPECIAL))
        return path
    others = [other.read_bytes() for other in found]
    data = mutate(path.read_bytes(), path.suffix, rng, others, tokens(str(root / "canary")))
    path.write_bytes(data)
    return path


def attempt(kind: str, number: int, seed: int, root: Path, output: int) -> Outcome:
    """Reads one file in this process, whose standard output and error go to the file `output`."""
    path, accepted, problem = build(kind, number, seed, root), False, ""
    os.ftruncate(output, 0)
    os.lseek(output, 0, os.SEEK_SET)
    begin, own = time.monotonic(), psutil.Process()
    before = own.memory_info().rss
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
    try:
        KINDS[kind].read(path)
        accepted = True
    except Refused:
        pass
    except REFUSALS as error:
        problem = check_message(explain(error))
    except BaseException as error:
        problem = "".join(traceback.format_exception(error))
    sys.stdout.flush()
    sys.stderr.flush()
    seconds, peak = time.monotonic() - begin, peak_of_process()
    problem = problem or check_output(Path(f"/proc/self/fd/{output}").read_bytes().decode(errors="replace"))
    if (root / "canary").exists():
        problem = "code of the file was run"
    return Outcome(number, problem, accepted, seconds, (peak - before) / 2**20)


def peak_of_process() -> int:
    """Returns the peak of this process's memory in bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith("VmHWM"))


def check_output(text: str) -> str:
    """Returns what is wrong with the output of a command."""
    if "Traceback (most recent call last)" in text or "--debug shows" in text or "\x1b" in text:
        return f"printed: {text[-3000:]}"
    place = text.find("error: ")
    return check_message(text[place:]) if place >= 0 else ""


def check_message(text: str) -> str:
    """Returns what is wrong with a message: too long, or about memory, which a file must not take."""
    if len(text) > MOST_CHARACTERS:
        return f"a message of {len(text)} characters: {text[:300]}"
    return f"message: {text[:300]}" if "out of memory" in text else ""


def child(kind: str, numbers: range, seed: int, root: Path, pipe: int) -> None:
    """Reads files one after the other and writes a line before and after each."""
    os.setsid()
    most = resource.getrlimit(resource.RLIMIT_DATA)[1]
    resource.setrlimit(resource.RLIMIT_DATA, (psutil.Process().memory_info().vms + (8 << 30), most))
    output = os.open(root / f"{kind}.out", os.O_RDWR | os.O_CREAT | os.O_APPEND)
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    for number in numbers:
        os.write(pipe, f"{json.dumps(number)}\n".encode())
        outcome = attempt(kind, number, seed, root, output)
        os.write(pipe, f"{json.dumps(outcome._replace(problem=outcome.problem[-3000:]))}\n".encode())


def outcomes(kind: str, numbers: range, seed: int, root: Path) -> Iterator[Outcome]:
    """Yields what became of each file of some numbers; a child that ends or is ended is followed by another."""
    while numbers:
        begun = None
        for outcome in outcomes_of_child(kind, numbers, seed, root):
            begun = outcome.number
            yield outcome
        numbers = numbers[numbers.index(begun) + 1 :] if begun is not None else numbers[1:]


def outcomes_of_child(kind: str, numbers: range, seed: int, root: Path) -> Iterator[Outcome]:
    """Yields what became of the files that one child has read."""
    reading, writing = os.pipe()
    if not (pid := os.fork()):
        try:
            os.close(reading)
            child(kind, numbers, seed, root, writing)
        except BaseException:
            (root / "child.log").write_text(traceback.format_exc())
            os._exit(3)
        os._exit(0)
    os.close(writing)
    number, begin, text, problem = None, time.monotonic(), b"", ""
    base, most = psutil.Process(pid).memory_info().rss, 0.0
    try:
        while not problem:
            if select.select([reading], [], [], 0.1)[0]:
                if not (data := os.read(reading, 1 << 16)):
                    break
                *lines, text = (text + data).split(b"\n")
                for line in lines:
                    value = json.loads(line)
                    if isinstance(value, int):
                        number, begin, most = value, time.monotonic(), 0.0
                    else:
                        yield judged(Outcome(*value), most)
                        number = None
            with contextlib.suppress(psutil.Error):
                most = max(most, (memory_of_tree(pid) - base) / 2**20)
            if number is not None and time.monotonic() - begin > MOST_SECONDS:
                problem = f"took more than {MOST_SECONDS:g} s"
            elif most > 2 * MOST_MEGABYTES:
                problem = f"took {most:.0f} MB"
        if not problem:
            status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
            pid, problem = 0, f"the process has ended with {status}"
            if status == 3:
                problem = (root / "child.log").read_text()
    finally:
        os.close(reading)
        if pid:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
    if number is not None:
        yield Outcome(number, problem, seconds=time.monotonic() - begin, megabytes=most)


def memory_of_tree(pid: int) -> int:
    """Returns the memory of a process and its descendants in bytes."""
    process = psutil.Process(pid)
    return sum(each.memory_info().rss for each in [process, *process.children(recursive=True)])


def judged(outcome: Outcome, megabytes: float) -> Outcome:
    """Returns an outcome with the memory that the parent has seen, and a problem where that or the time is too much."""
    most = max(outcome.megabytes, megabytes)
    problem = outcome.problem or ("" if most < MOST_MEGABYTES else f"took {most:.0f} MB")
    problem = problem or ("" if outcome.seconds < MOST_SECONDS else f"took {outcome.seconds:.0f} s")
    return outcome._replace(megabytes=most, problem=problem)


def attack(kinds: list[str], *, seconds: float, files: int, first: int, seed: int, keep: Path) -> tuple[dict, list[str]]:
    """Attacks the kinds in turns, until the time or the number of files of each is over.

    Returns:
        Counts by kind, and a line for each failure.
    """
    place = "/dev/shm" if os.path.isdir("/dev/shm") else None
    counts, failures, end = {kind: Counter() for kind in kinds}, [], time.monotonic() + seconds
    with tempfile.TemporaryDirectory(dir=place) as folder:
        root = Path(folder)
        make_templates(root)
        import_all()
        for turn in range(files):
            for kind in kinds:
                size = PER_SLOW_TURN if KINDS[kind].slow else PER_TURN
                numbers = range(first, first + files)[turn * size : (turn + 1) * size]
                for outcome in outcomes(kind, numbers, seed, root):
                    tell(kind, outcome, counts[kind])
                    if outcome.problem:
                        failures.append(f"{kind} {outcome.number}: {outcome.problem}")
                        print(f"FAILURE {failures[-1]}\n{keep_file(kind, outcome.number, seed, root, keep)}", flush=True)
                        (root / "canary").unlink(missing_ok=True)
                    if time.monotonic() > end:
                        return counts, failures
    return counts, failures


def keep_file(kind: str, number: int, seed: int, root: Path, keep: Path) -> str:
    """Copies the file of a failure and returns a line that says where to, or, of large and special ones, how to make it again."""
    path = build(kind, number, seed, root)
    if path.is_file() and path.stat().st_size < MOST_KEPT:
        keep.mkdir(parents=True, exist_ok=True)
        return f"kept as {shutil.copy(path, keep / f'{kind}-{seed}-{number}{path.suffix}')}"
    return f"made again by --seed {seed} --kinds {kind} --first {number} --files 1"


def import_all() -> None:
    """Imports what commands import when they need it, so that the children have it."""
    for name in ("matplotlib.pyplot", "yolox.visualize.report", "onnxruntime", "openvino", "PIL.Image", "pillow_heif"):
        with contextlib.suppress(ImportError):
            importlib.import_module(name)


def tell(kind: str, outcome: Outcome, counts: Counter) -> None:
    """Adds an outcome to the counts of its kind."""
    counts["files"] += 1
    counts["accepted"] += outcome.accepted
    counts["failures"] += bool(outcome.problem)
    counts["slowest_ms"] = max(counts["slowest_ms"], int(1000 * outcome.seconds))
    counts["largest_MB"] = max(counts["largest_MB"], int(outcome.megabytes))


def main(argv: list[str] | None = None) -> int:
    """Reads the options, attacks, prints the counts, and returns whether there was a failure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--files", type=int, default=10**6, help="most files of each kind")
    parser.add_argument("--first", type=int, default=0, help="number of the first file of each kind")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS))
    parser.add_argument("--keep", type=Path, default=Path("attack-failures"))
    options = vars(parser.parse_args(argv))
    counts, failures = attack(options.pop("kinds"), **options)
    for kind, count in counts.items():
        columns = ("files", "accepted", "failures", "slowest_ms", "largest_MB")
        print(f"{kind:10}", *(f"{name} {count[name]:6}" for name in columns))
    return int(bool(failures))


if __name__ == "__main__":
    sys.exit(main())
