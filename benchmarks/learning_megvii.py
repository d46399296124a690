"""Trains nano with pixeltable-yolox, a copy of Megvii's code, on a CPU: the peer's half of benchmarks/learning.py.

    PEER/bin/python benchmarks/learning_megvii.py --settings SETTINGS.json --output RUN

PEER is an environment with the packages of benchmarks/peer_megvii.txt; benchmarks/learning.py writes the settings and starts
this file. The peer's own trainer needs CUDA, so that its loop is repeated here, in the order of its steps: the rate is set
after each step, the first step has the warm-up's first rate, the average follows the update, and mosaic ends one epoch
earlier than `no_aug_epochs` says. Network, losses, optimizer, schedule, average, samples and their order are the peer's.
RUN gets `ema.npz`, the averaged weights under Megvii's names, and `history.json`, the mean of each loss in each epoch.
"""

from __future__ import annotations

import argparse
import json
import random
import time
from pathlib import Path

import numpy as np
import torch
from peer_megvii import CONFIGS  # declares the operators that torchvision may lack before the peer imports it
from yolox.utils import ModelEMA

LOSSES = {"total": "total_loss", "iou": "iou_loss", "obj": "conf_loss", "cls": "cls_loss", "l1": "l1_loss"}
EMA_DECAY = 0.9998


def make_config(settings: dict):
    """Returns the peer's configuration of nano with the dataset, the size and the epochs of the settings."""
    config = CONFIGS["nano"]()
    config.num_classes, config.seed = settings["num_classes"], settings["seed"]
    config.data_num_workers, config.multiscale_range = 0, 0
    config.input_size = config.test_size = (settings["size"], settings["size"])
    config.data_dir, config.train_ann, config.train_img_dir = "/", settings["annotations"], settings["images"]
    config.max_epoch, config.warmup_epochs = settings["epochs"], settings["warmup_epochs"]
    config.no_aug_epochs = settings["no_aug_epochs"] - 1  # mosaic ends one epoch before the last `no_aug_epochs`
    return config


def load_start(model: torch.nn.Module, path: str) -> None:
    """Fills a model with the arrays of an .npz under Megvii's names."""
    with np.load(path) as arrays:
        state = {name: torch.from_numpy(arrays[name]) for name in arrays.files}
    missing, unexpected = model.load_state_dict(state, strict=False)
    missing = [name for name in missing if not name.endswith("num_batches_tracked")]
    if missing or unexpected:
        raise SystemExit(f"{path}: lacks {missing[:3]}, has {unexpected[:3]} that the peer does not know")


def save_state(model: torch.nn.Module, path: Path) -> None:
    """Writes the floating-point tensors of a model to an .npz."""
    state = {name: value.numpy() for name, value in model.state_dict().items() if value.dtype.is_floating_point}
    np.savez(path, **state)


def train(settings: dict, output: Path) -> None:
    """Trains as the peer's trainer does and writes the averaged weights and the losses.

    Args:
        settings: `start`, `annotations`, `images`, `num_classes`, `size`, `batch_size`, `epochs`, `warmup_epochs`,
            `no_aug_epochs` and `seed`.
        output: folder that is there.
    """
    random.seed(settings["seed"])
    np.random.seed(settings["seed"])
    torch.manual_seed(settings["seed"])
    config = make_config(settings)
    model, batch_size = config.get_model(), settings["batch_size"]
    optimizer = config.get_optimizer(batch_size)
    load_start(model, settings["start"])
    loader = config.get_data_loader(batch_size=batch_size, is_distributed=False)
    steps = len(loader)
    schedule = config.get_lr_scheduler(config.basic_lr_per_img * batch_size, steps)
    ema, batches, history = ModelEMA(model, EMA_DECAY), iter(loader), []
    for epoch in range(config.max_epoch):
        if epoch + 1 == config.max_epoch - config.no_aug_epochs:
            loader.close_mosaic()
            model.head.use_l1 = True
        sums, start = dict.fromkeys(LOSSES, 0.0), time.perf_counter()
        for step in range(steps):
            images, labels = next(batches)[:2]
            losses = model(images.float(), labels.float())
            optimizer.zero_grad()
            losses["total_loss"].backward()
            optimizer.step()
            ema.update(model)
            for group in optimizer.param_groups:
                group["lr"] = schedule.update_lr(epoch * steps + step + 1)
            for name, key in LOSSES.items():
                sums[name] += float(torch.as_tensor(losses[key]).detach()) / steps
        history.append({"epoch": epoch + 1, **sums, "seconds": time.perf_counter() - start})
        print(json.dumps(history[-1]), flush=True)
    save_state(ema.ema, output / "ema.npz")
    (output / "history.json").write_text(json.dumps(history, indent=2) + "\n")


def main() -> None:
    """Reads the settings and trains."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--settings", type=Path, required=True, help="JSON file, see train()")
    parser.add_argument("--output", type=Path, required=True, help="folder of the run")
    options = parser.parse_args()
    train(json.loads(options.settings.read_text()), options.output)


if __name__ == "__main__":
    main()
