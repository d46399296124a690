"""Fine-tuning nano on BCCD with the settings of the recorded runs of Megvii's code.

    python benchmarks/bccd.py --data DATA --output RUNS

`--data` holds `bccd/instances_{train,val,test}.json`, `bccd/images` and the official weights
`weights/yolox_nano_fused_megvii_keys.npz`. Starts `examples/yolox_nano.py train` once for each seed, 40 epochs of 205 images
(15 to 40 minutes on two cores), then `eval` of its last checkpoint on both parts that training did not see. Arguments after
`--` go to `train`: `-- --hsv-prob 0` trains without the change of colours. Prints one JSON line: for each seed the losses of
the epochs 1, 10 and 40 and the AP and AP50 of both parts, and the means over the seeds.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from statistics import mean

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.measure import print_json  # noqa: E402
from yolox.training.history import read_history  # noqa: E402
from yolox.training.run_folder import HISTORY, LAST  # noqa: E402

SCRIPT = ROOT / "examples/yolox_nano.py"
WEIGHTS = "weights/yolox_nano_fused_megvii_keys.npz"
SETTINGS = (
    "--epochs 40 --batch-size 8 --warmup-epochs 1 --plain-epochs 6 --flat-epochs 5 --multiscale-sizes "
    "--eval-interval 40 --plain-eval-interval 40 --workers 1"
)  # --multiscale-sizes without a size: one size, the input's
PARTS, EPOCHS = ("val", "test"), (1, 10, 40)


def train_arguments(data: Path, run: Path, *, seed: int, extra: Sequence[str] = ()) -> list[str]:
    """Returns the arguments of the training command.

    Args:
        data: folder of weights and images.
        run: output of the run.
        seed: of the run.
        extra: arguments that come last.
    """
    argv = [*_part(data, "train", "train"), *_part(data, "val", "val")]
    argv += ["--weights", data / WEIGHTS, *SETTINGS.split(), "--seed", seed, *extra, "--output", run]
    return ["train", *map(str, argv)]


def eval_arguments(data: Path, run: Path, part: str) -> list[str]:
    """Returns the arguments that evaluate the last checkpoint of a run on a part of the data."""
    argv = ["--weights", run / LAST, *_part(data, "val", part), "--json", run / f"{part}.json"]
    return ["eval", *map(str, argv)]


def _part(data: Path, option: str, part: str) -> list:
    bccd = data / "bccd"
    return [f"--{option}-json", bccd / f"instances_{part}.json", f"--{option}-images", bccd / "images"]


def summary(run: Path) -> dict[str, float]:
    """Reads losses and metrics of a run that was trained and evaluated."""
    losses = {row["epoch"]: row["total"] for row in read_history(run / HISTORY)}
    found = {f"loss_{epoch}": round(losses[epoch], 3) for epoch in EPOCHS if epoch in losses}
    for part in PARTS:
        metrics = json.loads((run / f"{part}.json").read_text())
        found |= {f"{part}_{name}": round(metrics[name], 4) for name in ("AP", "AP50")}
    return found


def measure(data: Path, output: Path, seeds: Sequence[int], extra: Sequence[str] = ()) -> dict:
    """Train and evaluate once for each seed; the answer is the line that is printed."""
    runs = {}
    for seed in seeds:
        run = output / f"seed{seed}"
        for argv in (train_arguments(data, run, seed=seed, extra=extra), *(eval_arguments(data, run, part) for part in PARTS)):
            subprocess.run([sys.executable, str(SCRIPT), *argv], check=True, stdout=sys.stderr)
        runs[seed] = summary(run)
    means = {name: round(mean(row[name] for row in runs.values()), 4) for name in runs[seeds[0]]}
    return {"options": list(extra), "seeds": runs, "mean": means}


def main() -> None:
    """Reads the command line, measures and prints."""
    cut = sys.argv.index("--") if "--" in sys.argv else len(sys.argv)
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with bccd and weights")
    parser.add_argument("--output", type=Path, required=True, help="folder for the runs, one a seed")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    options = parser.parse_args(sys.argv[1:cut])
    print_json(measure(options.data, options.output, options.seeds, sys.argv[cut + 1 :]))


if __name__ == "__main__":
    main()
