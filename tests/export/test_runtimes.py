"""Exported nano in ncnn, MNN, OpenCV and OpenVINO, each in a process of its own, beside ONNX Runtime."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys

import numpy as np
import onnxruntime
import pytest

from tests.nn.scales import build_detector, fill_by_rule
from yolox.config import InputSpec
from yolox.data.classes import COCO_NAMES
from yolox.export import export_detector
from yolox.export.compare import largest_difference

pytestmark = pytest.mark.slow
SPEC = InputSpec(input_size=(160, 192))

NCNN = """
import sys, subprocess, numpy as np, ncnn, pathlib, importlib.util
model, given, answer = sys.argv[1:]
folder = pathlib.Path(model).parent
package = pathlib.Path(importlib.util.find_spec("pnnx").origin).parent
program = next(path for path in (package / "pnnx", package / "bin" / "pnnx") if path.is_file())
program.chmod(0o755)
shape = "inputshape=[1,3,160,192]"
subprocess.run([str(program), model, "fp16=0", shape], cwd=folder, check=True, stdout=subprocess.DEVNULL)
net = ncnn.Net()
net.opt.use_fp16_packed = net.opt.use_fp16_storage = net.opt.use_fp16_arithmetic = net.opt.use_bf16_storage = False
net.load_param(model.replace(".onnx", ".ncnn.param"))
net.load_model(model.replace(".onnx", ".ncnn.bin"))
extractor = net.create_extractor()
images = np.load(given)  # a Mat does not keep its array alive
extractor.input("in0", ncnn.Mat(images[0]).clone())
_, result = extractor.extract("out0")
np.save(answer, np.array(result)[None])
"""
MNN = """
import sys, numpy as np, MNN, MNN.nn, MNN.expr as expr, _tools
model, given, answer = sys.argv[1:]
converted = model.replace(".onnx", ".mnn")
arguments = ["-f", "ONNX", "--modelFile", model, "--MNNModel", converted, "--bizCode", "yolox"]
_tools.mnnconvert(["mnnconvert", *arguments])  # MNN.tools.mnnconvert would install a package and report its use
module = MNN.nn.load_module_from_file(converted, ["images"], ["predictions"])
images = np.load(given)
result = module.forward(expr.convert(expr.const(images, list(images.shape), expr.NCHW), expr.NC4HW4))
np.save(answer, np.array(expr.convert(result, expr.NCHW).read()))
"""
OPENCV = """
import sys, numpy as np, cv2
net = cv2.dnn.readNetFromONNX(sys.argv[1])
net.setInput(np.load(sys.argv[2]))
np.save(sys.argv[3], net.forward())
"""
OPENVINO = """
import sys, numpy as np, openvino
settings = {"INFERENCE_PRECISION_HINT": "f32"}
result = openvino.Core().compile_model(sys.argv[1], "CPU", settings)(np.load(sys.argv[2]))
np.save(sys.argv[3], list(result.values())[0])
"""
RUNTIMES = {"ncnn": (("ncnn", "pnnx"), NCNN), "MNN": (("MNN",), MNN), "OpenCV": (("cv2",), OPENCV),
            "OpenVINO": (("openvino",), OPENVINO)}  # fmt: skip


@pytest.fixture(scope="module")
def nano(tmp_path_factory):
    """The file, its input, and ONNX Runtime's answer."""
    folder = tmp_path_factory.mktemp("runtimes")
    detector = build_detector("nano", 80).set_train(False)
    fill_by_rule(detector, seed=0)
    export_detector(detector, folder / "nano.onnx", spec=SPEC, class_names=COCO_NAMES)
    images = np.random.default_rng(1).integers(0, 256, (1, 3, *SPEC.input_size)).astype(np.float32)
    np.save(folder / "in.npy", images)
    session = onnxruntime.InferenceSession(str(folder / "nano.onnx"), providers=["CPUExecutionProvider"])
    return folder, session.run(None, {"images": images})[0]


@pytest.mark.parametrize("name", RUNTIMES)
def test_runtime_agrees_with_onnx_runtime(nano, name):
    packages, program = RUNTIMES[name]
    missing = [package for package in packages if importlib.util.find_spec(package) is None]
    if missing:
        pytest.skip(f"not installed: {', '.join(missing)} (pip install -c constraints.txt -e '.[runtimes]'; for pnnx --no-deps)")
    folder, wanted = nano
    environment = {k: v for k, v in os.environ.items() if k != "ONEDNN_MAX_CPU_ISA"}
    paths = [str(folder / file) for file in ("nano.onnx", "in.npy", "out.npy")]
    subprocess.run([sys.executable, "-c", program, *paths], check=True, env=environment, timeout=300, stdout=subprocess.DEVNULL)
    difference = largest_difference(np.load(folder / "out.npy"), wanted)
    print(f"{name}: {difference:.1e}")
    assert difference < 1e-3
