"""Choice of the device, with a message where it is not there."""

from __future__ import annotations

import mindspore as ms

from yolox.cli.messages import CommandError


def use_device(name: str) -> None:
    """Run MindSpore's graphs on CPU or Ascend from here on.

    Raises:
        CommandError: if this machine or this MindSpore has no such device.
    """
    try:
        ms.set_device(name)
    except (RuntimeError, ValueError) as error:
        reason = (str(error).strip() or type(error).__name__).split(". ")[0].splitlines()[0]
        raise CommandError(f"--device {name}: not usable here; try --device CPU\nMindSpore says: {reason}") from error
