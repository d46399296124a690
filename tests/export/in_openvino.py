"""Run a file in OpenVINO, in a process of its own: the cap on oneDNN that MindSpore needs breaks OpenVINO's pools."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

PROGRAM = """
import sys, numpy as np, openvino
settings = {"INFERENCE_PRECISION_HINT": "f32"}  # its choice is bfloat16 where the processor has it
answer = openvino.Core().compile_model(sys.argv[1], "CPU", settings)(np.load(sys.argv[2]))
np.savez(sys.argv[3], **{name: value for port, value in answer.items() for name in port.get_names()})
"""


def in_openvino(path, planes: np.ndarray) -> dict[str, np.ndarray]:
    environment = {k: v for k, v in os.environ.items() if k != "ONEDNN_MAX_CPU_ISA"}
    with tempfile.TemporaryDirectory() as folder:
        given, answer = Path(folder, "in.npy"), Path(folder, "out.npz")
        np.save(given, planes)
        command = [sys.executable, "-c", PROGRAM, str(path), str(given), str(answer)]
        subprocess.run(command, check=True, env=environment)
        return dict(np.load(answer))
