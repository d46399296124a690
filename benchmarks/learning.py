"""Trains nano from the same start with this library and with Megvii's code, and tests whether they learn the same.

    make peers
    python benchmarks/learning.py --data DATA --output RUNS                    both datasets, 5 seeds; hours
    python benchmarks/learning.py --data DATA --output RUNS --sets shapes --seeds 0 1 --systems megvii ours

The systems are `megvii` (pixeltable-yolox, benchmarks/learning_megvii.py), `ours` (`yolox train` with Megvii's recipe) and
`finetune` (`yolox train --finetune`). Two more run when they are named: `frozen` (`--finetune --freeze backbone`) and `random`
(`--finetune` from random weights). The datasets are `bccd` (205 photos of blood cells, 416 px) and `shapes`
(yolox.data.synthetic, drawn so that nano does not saturate, 192 px), and if named `bccd_eighth` (every eighth of the 205 photos);
all train 20 epochs at batch 8, the last 5 without mosaic. `--size` takes another input side, for a small machine, and `--epochs`
another number. A seed has one start for all systems: DATA's official weights at a healthy norm, with new class predictions. All
are evaluated by `yolox eval`, on the moving average of the weights.

DATA holds `bccd/instances_{train,val,test}.json`, `bccd/images` and `weights/yolox_nano_fused_megvii_keys.npz`. RUNS gets a
folder for each dataset, system and seed; runs that are there are not repeated, so that a stopped benchmark goes on. Arguments
after `--` go to `yolox train` of a fourth system, `tried`: for a search of settings, on the validation images only.

Prints a JSON line for each dataset: for each system mean and standard deviation of the AP on val and test and of each loss in
the last epoch, for each system but the first the difference of AP to the first with the p-value of Welch's t-test, and a
verdict.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import mean, stdev

import numpy as np
from attrs import evolve, frozen
from scipy.stats import ttest_ind

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.measure import print_json  # noqa: E402
from yolox.data.synthetic import SHAPE_NAMES, SyntheticConfig, write_synthetic  # noqa: E402
from yolox.training.history import read_history  # noqa: E402
from yolox.training.run_folder import HISTORY, LAST  # noqa: E402

PEER = ROOT / ".venv-megvii/bin/python"
WEIGHTS = "weights/yolox_nano_fused_megvii_keys.npz"
SYSTEMS, TRIED = ("megvii", "ours", "finetune"), "tried"
OPTIONS = {"ours": (), "finetune": ("--finetune",), "frozen": ("--finetune", "--freeze", "backbone"), "random": ("--finetune",)}
PARTS, LOSSES = ("val", "test"), ("total", "iou", "obj", "cls", "l1")
EPOCHS, WARMUP_EPOCHS, NO_AUG_EPOCHS, BATCH_SIZE = 20, 1, 5, 8
SIGNIFICANT = 0.05
HARD_SHAPES = SyntheticConfig(
    image_size=(192, 192), shapes=(2, 8), sides=(16.0, 88.0), noise=14.0, hue_jitter=50.0, contrast=55.0, most_hidden=0.4
)
SHAPE_IMAGES = {"train": (200, 1), "val": (100, 2), "test": (100, 3)}  # how many, and the seed that draws them


@frozen(kw_only=True)
class Dataset:
    """COCO files and image folders by part, the number of classes, and the side of the network's input in pixels."""

    annotations: Mapping[str, Path]
    images: Mapping[str, Path]
    num_classes: int
    size: int


def bccd(data: Path, output: Path) -> Dataset:  # noqa: ARG001
    """Returns the parts of BCCD in the data folder."""
    parts, folder = ("train", *PARTS), (data / "bccd").resolve()
    return Dataset(
        annotations={part: folder / f"instances_{part}.json" for part in parts},
        images=dict.fromkeys(parts, folder / "images"),
        num_classes=3,
        size=416,
    )


def bccd_eighth(data: Path, output: Path) -> Dataset:
    """Returns BCCD with every eighth of its training images, as a small dataset; the other parts are whole."""
    whole = bccd(data, output)
    content = json.loads(whole.annotations["train"].read_text())
    content["images"] = sorted(content["images"], key=lambda image: image["file_name"])[::8]
    kept = {image["id"] for image in content["images"]}
    content["annotations"] = [box for box in content["annotations"] if box["image_id"] in kept]
    path = (output / "bccd_eighth/instances_train.json").resolve()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))
    return evolve(whole, annotations={**whole.annotations, "train": path})


def shapes(data: Path, output: Path) -> Dataset:  # noqa: ARG001
    """Draws the parts of the second dataset into the output folder; the same seeds draw the same files."""
    folders = {part: (output / "shapes" / part).resolve() for part in SHAPE_IMAGES}
    files = {
        part: write_synthetic(folders[part], images=images, seed=seed, config=HARD_SHAPES)
        for part, (images, seed) in SHAPE_IMAGES.items()
    }
    return Dataset(
        annotations=files,
        images={part: folder / "images" for part, folder in folders.items()},
        num_classes=len(SHAPE_NAMES),
        size=HARD_SHAPES.image_size[0],
    )


SETS = {"bccd": bccd, "shapes": shapes}
DATASETS = SETS | {"bccd_eighth": bccd_eighth}


def write_start(weights: Path, path: Path, *, num_classes: int, seed: int) -> None:
    """Writes the tensors that every system starts from to an .npz, under Megvii's names.

    Args:
        weights: file of official weights of nano.
        path: the .npz.
        num_classes: of the dataset.
        seed: of the class predictions, which are new.
    """
    import yolox
    from yolox.weights.megvii import megvii_name

    detector = yolox.models.yolox_nano(num_classes=num_classes, seed=seed)
    yolox.load_weights(detector, weights)
    tensors = {name: parameter.asnumpy() for name, parameter in detector.parameters_and_names()}
    renamed = {name_of_megvii(name): value for name, value in tensors.items()}
    assert [megvii_name(name) for name in renamed] == list(tensors), "a name of Megvii's does not lead back"
    np.savez(path, **renamed)


def name_of_megvii(name: str) -> str:
    """Returns Megvii's name for a parameter of this library's detectors.

    Args:
        name: such as ``neck.C3_p4.conv1.bn.gamma``.
    """
    root, _, rest = name.partition(".")
    module, _, leaf = rest.rpartition(".")
    leaves = {"gamma": "weight", "beta": "bias", "moving_mean": "running_mean", "moving_variance": "running_var"}
    prefix = {"backbone": "backbone.backbone", "neck": "backbone", "head": "head"}[root]
    return f"{prefix}.{module}.{leaves.get(leaf, leaf)}"


def train_ours(
    dataset: Dataset, run: Path, start: Path | None, *, seed: int, extra: Sequence[str], epochs: int = EPOCHS
) -> list[str]:
    """Returns the arguments of `yolox` that train a run, from random weights where there is no start."""
    argv = ["train", "--model", "nano", "--output", run, "--seed", seed, "--input-size", dataset.size]
    argv += [] if start is None else ["--weights", start]
    for part in ("train", "val"):
        argv += [f"--{part}-json", dataset.annotations[part], f"--{part}-images", dataset.images[part]]
    argv += ["--epochs", epochs, "--warmup-epochs", WARMUP_EPOCHS, "--plain-epochs", NO_AUG_EPOCHS]
    argv += ["--flat-epochs", NO_AUG_EPOCHS - 1, "--batch-size", BATCH_SIZE, "--multiscale-sizes"]  # one size, the input's
    argv += ["--eval-interval", epochs, "--plain-eval-interval", epochs, "--workers", 0, "--overwrite", *extra]
    return list(map(str, argv))


def train_megvii(dataset: Dataset, run: Path, start: Path, *, seed: int, epochs: int = EPOCHS) -> list[str]:
    """Writes the settings of a run for benchmarks/learning_megvii.py; returns the command."""
    settings = {
        "start": str(start.resolve()), "annotations": str(dataset.annotations["train"]),
        "images": str(dataset.images["train"]), "num_classes": dataset.num_classes, "size": dataset.size,
        "batch_size": BATCH_SIZE, "epochs": epochs, "warmup_epochs": WARMUP_EPOCHS, "no_aug_epochs": NO_AUG_EPOCHS,
        "seed": seed,
    }  # fmt: skip
    run.mkdir(parents=True, exist_ok=True)
    path = run / "settings.json"
    path.write_text(json.dumps(settings, indent=2) + "\n")
    return [str(PEER), str(ROOT / "benchmarks/learning_megvii.py"), "--settings", str(path), "--output", str(run)]


def run_one(
    system: str, dataset: Dataset, run: Path, start: Path, *, seed: int, extra: Sequence[str] = (), epochs: int = EPOCHS
) -> dict:
    """Trains and evaluates one run.

    Returns:
        AP of each part, each loss of the last epoch, and the seconds that the epochs took.
    """
    if system == "megvii":
        _start(train_megvii(dataset, run, start, seed=seed, epochs=epochs))
        weights, history = run / "ema.npz", json.loads((run / "history.json").read_text())
    else:
        extra = tuple(extra) if system == TRIED else OPTIONS[system]
        begin = None if system == "random" else start
        _start([sys.executable, "-m", "yolox", *train_ours(dataset, run, begin, seed=seed, extra=extra, epochs=epochs)])
        weights, history = run / LAST, read_history(run / HISTORY)
    found = {name: history[-1][name] for name in LOSSES}
    for part in PARTS if system != TRIED else PARTS[:1]:
        found[part] = evaluate(weights, dataset, part, run / f"{part}.json")
    return found | {"seconds": sum(row["seconds"] for row in history)}


def evaluate(weights: Path, dataset: Dataset, part: str, path: Path) -> float:
    """Returns the AP of weights on a part of the dataset, as `yolox eval` writes it to `path`."""
    argv = ["eval", "--model", "nano", "--weights", weights, "--input-size", dataset.size, "--json", path]
    argv += ["--val-json", dataset.annotations[part], "--val-images", dataset.images[part]]
    _start([sys.executable, "-m", "yolox", *map(str, argv)])
    return json.loads(path.read_text())["AP"]


def _start(command: list[str]) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}  # the packages share a name
    if command[0] == sys.executable:
        environment["PYTHONPATH"] = str(ROOT)
    subprocess.run(command, check=True, stdout=sys.stderr, env=environment)


def compare(runs: Mapping[str, Sequence[Mapping[str, float]]]) -> dict:
    """Compares the runs of each system with those of the first.

    Args:
        runs: by system the numbers of each seed, at least two.

    Returns:
        By system the mean and the standard deviation of each number; for each but the first `against` with, for each part,
        the difference of the means and Welch's p-value; and `verdict`, a sentence.

    Source: B. L. Welch, The generalization of "Student's" problem, 1947; scipy.stats.ttest_ind(equal_var=False).
    """
    first, *others = runs
    table = {system: {"seeds": len(rows), "numbers": _spread(rows)} for system, rows in runs.items()}
    for system in others:
        table[system]["against"] = {
            part: _difference([row[part] for row in runs[first]], [row[part] for row in runs[system]])
            for part in PARTS
            if all(part in row for row in runs[system])
        }
    return table | {"verdict": _verdict(first, {system: table[system]["against"] for system in others})}


def _spread(rows: Sequence[Mapping[str, float]]) -> dict[str, list[float]]:
    return {name: [round(f([row[name] for row in rows]), 4) for f in (mean, stdev)] for name in rows[0]}


def _difference(first: Sequence[float], other: Sequence[float]) -> dict[str, float]:
    p = float(ttest_ind(other, first, equal_var=False).pvalue)
    return {"difference": round(mean(other) - mean(first), 4), "p": round(p, 4)}


def _verdict(first: str, against: Mapping[str, Mapping[str, dict]]) -> str:
    sentences = []
    for system, parts in against.items():
        for part, found in parts.items():
            beyond = "beyond noise" if found["p"] < SIGNIFICANT else "within noise"
            sentences.append(f"{system} - {first} on {part}: {found['difference']:+.4f} AP, {beyond} (p = {found['p']:.2g})")
    return "; ".join(sentences)


def measure(
    data: Path,
    output: Path,
    name: str,
    *,
    systems: Sequence[str],
    seeds: Sequence[int],
    size: int | None = None,
    extra: Sequence[str] = (),
    epochs: int = EPOCHS,
) -> dict:
    """Trains what is not there yet of a dataset's runs, and compares them; the answer is the line that is printed."""
    dataset, runs = DATASETS[name](data, output), {}
    if size is not None:
        dataset = evolve(dataset, size=size)
    for seed in seeds:  # the systems of a seed one after the other, so that a stopped benchmark has whole pairs
        start = output / name / f"start{seed}.npz"
        start.parent.mkdir(parents=True, exist_ok=True)
        if not start.exists():
            write_start(data / WEIGHTS, start, num_classes=dataset.num_classes, seed=seed)
        for system in systems:
            run = output / name / system / f"seed{seed}"
            result = run / "result.json"
            if not result.exists():
                found = run_one(system, dataset, run, start, seed=seed, extra=extra, epochs=epochs)
                result.write_text(json.dumps(found, indent=2) + "\n")
            runs.setdefault(system, []).append(json.loads(result.read_text()))
    return {"dataset": name, "size": dataset.size, "epochs": epochs, "systems": compare(runs)}


def main() -> None:
    """Reads the command line, measures and prints."""
    cut = sys.argv.index("--") if "--" in sys.argv else len(sys.argv)
    extra = sys.argv[cut + 1 :]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with bccd and weights")
    parser.add_argument("--output", type=Path, required=True, help="folder for the runs")
    parser.add_argument("--sets", nargs="+", choices=DATASETS, default=list(SETS))
    systems, default = list(dict.fromkeys((*SYSTEMS, *OPTIONS, TRIED))), [*SYSTEMS, *([TRIED] if extra else [])]
    parser.add_argument("--systems", nargs="+", choices=systems, default=default)
    parser.add_argument("--seeds", type=int, nargs="+", default=list(range(5)))
    parser.add_argument("--size", type=int, help="input side in pixels; each dataset has its own by default")
    parser.add_argument("--epochs", type=int, default=EPOCHS, help="of every run; name another output folder for each number")
    options = parser.parse_args(sys.argv[1:cut])
    if len(options.seeds) < 2:
        parser.error("--seeds: got one, want at least two, as one seed shows no spread")
    if "megvii" in options.systems and not PEER.exists():
        parser.error(f"no {PEER}; run: make peers")
    for name in options.sets:
        print_json(
            measure(
                options.data, options.output, name,
                systems=options.systems, seeds=options.seeds, size=options.size, extra=extra,
                epochs=options.epochs,
            )
        )  # fmt: skip


if __name__ == "__main__":
    main()
