"""The web page of an export: its JavaScript beside the library, its runtime, and the page used in Chromium."""

from __future__ import annotations

import io
import json
import shutil
import subprocess
import tarfile
from types import SimpleNamespace

import attrs
import cv2
import numpy as np
import pytest

from tests.browser import browse, serve
from tests.weights.servers import Server, serving
from yolox.cli.main import run_model
from yolox.config import InputSpec, PostprocessConfig
from yolox.data.letterbox import boxes_from_letterbox, letterbox
from yolox.errors import ExportError
from yolox.eval.postprocess import postprocess
from yolox.export import export_detector, web
from yolox.export.metadata import ExportMetadata
from yolox.export.runner import to_planes
from yolox.export.write import check_form
from yolox.weights.download import DownloadPolicy

NODE = """
import fs from "node:fs";
const { fit, toPlanes, select } = await import(process.argv[1]);
const cases = JSON.parse(fs.readFileSync(0));
const answers = cases.map(({ width, height, spec, pixels, rows, names, postprocess }) => {
  if (pixels) return [...toPlanes(pixels, width, height, spec).planes];
  return select(Float32Array.from(rows), fit(width, height, spec), width, height, names, postprocess);
});
console.log(JSON.stringify(answers));
"""
SPECS = (
    InputSpec(input_size=(32, 64)),
    InputSpec(input_size=(64, 32), channel_order="rgb", pixel_scale=1 / 255, letterbox="center", shrink_interpolation="area"),
    InputSpec(input_size=(32, 32), mean=(0.4, 0.5, 0.6), std=(0.2, 0.3, 0.4), pixel_scale=1 / 255, pad_value=7),
)


def in_node(cases: list[dict], tmp_path) -> list:
    """Returns the answers of yolox.js."""
    if shutil.which("node") is None:
        pytest.skip("node is not installed")
    script = tmp_path / "yolox.mjs"  # node takes a .js for CommonJS
    shutil.copy(web.PAGE / "yolox.js", script)
    command = ["node", "--input-type=module", "-e", NODE, script.as_uri()]
    return json.loads(subprocess.run(command, input=json.dumps(cases), capture_output=True, text=True, check=True).stdout)


def test_pixels_in_the_browser_are_those_of_the_library(tmp_path):
    rng = np.random.default_rng(0)
    sizes = ((50, 70), (9, 40), (32, 64), (7, 5), (71, 133))
    images = [rng.integers(0, 256, (*size, 3), np.uint8) for size in sizes for _ in SPECS]
    cases = []
    for image, spec in zip(images, SPECS * len(sizes), strict=True):
        rgba = np.dstack([image[..., ::-1], np.full(image.shape[:2], 255, np.uint8)])
        height, width = image.shape[:2]
        cases.append({"height": height, "width": width, "spec": attrs.asdict(spec), "pixels": rgba.ravel().tolist()})
    for image, spec, planes in zip(images, SPECS * len(sizes), in_node(cases, tmp_path), strict=True):
        canvas, _ = letterbox(image, spec.input_size, spec=spec)
        wanted = to_planes(canvas[None], spec=spec).ravel()
        level = spec.pixel_scale / min(spec.std)  # OpenCV interpolates in whole numbers, and rounds otherwise
        np.testing.assert_allclose(planes, wanted, atol=1.01 * level)
        assert np.mean(np.abs(planes - wanted) > 0.01 * level) < 0.2


def random_rows(rng, count: int, classes: int, size) -> np.ndarray:
    centers = rng.uniform(0, size[::-1], (6, 2))[rng.integers(0, 6, count)] + rng.normal(0, 1, (count, 2))
    return np.hstack([centers, rng.uniform(4, 12, (count, 2)), rng.uniform(0, 1, (count, 1 + classes))]).astype(np.float32)


def test_detections_in_the_browser_are_those_of_the_library(tmp_path):
    rng, names, size = np.random.default_rng(1), ("cat", "dog", "cow"), (48, 40)
    cases, wanted = [], []
    for spec in SPECS:
        for config in (
            PostprocessConfig(score_threshold=0.3, iou_threshold=0.4),
            PostprocessConfig(score_threshold=0.2, iou_threshold=0.6, multi_label=True, max_detections=9),
            PostprocessConfig(score_threshold=0.1, max_candidates=12),
            PostprocessConfig(score_threshold=0.999),
        ):
            rows = random_rows(rng, 80, len(names), spec.input_size)
            cases.append({"height": size[0], "width": size[1], "spec": attrs.asdict(spec), "rows": rows.ravel().tolist(),
                          "names": names, "postprocess": attrs.asdict(config)})  # fmt: skip
            found = postprocess(rows, config=config)
            _, transform = letterbox(np.zeros((*size, 3), np.uint8), spec.input_size, spec=spec)
            wanted.append((found, boxes_from_letterbox(found.boxes, transform, size)))
    answers = in_node(cases, tmp_path)
    assert [len(answer) for answer in answers] == [len(found) for found, _ in wanted]
    assert sum(map(len, answers)) > 100 and answers[3] == []
    for answer, (found, boxes) in zip(answers, wanted, strict=True):
        if answer:
            assert [each["name"] for each in answer] == [names[index] for index in found.classes]
            np.testing.assert_allclose([each["score"] for each in answer], found.scores, rtol=1e-5)
            np.testing.assert_allclose([each["box"] for each in answer], boxes, atol=1e-3)


FILES = {name: f"content of {name}".encode() for name in ("ort.wasm.bundle.min.mjs", "ort-wasm-simd-threaded.wasm", "ort.min.js")}
RUNTIME = {name: FILES[source] for name, source in web.RUNTIME_FILES.items()}


def packed(files: dict[str, bytes]) -> bytes:
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w:gz") as archive:
        for name, data in files.items():
            entry = tarfile.TarInfo(f"package/dist/{name}")
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
    return content.getvalue()


def test_the_runtime_is_downloaded_once_from_the_registry_of_npm(tmp_path, monkeypatch):
    monkeypatch.setattr(web, "SHA256", web.pooch.file_hash(str(_written(tmp_path / "a.tgz", packed(FILES)))))
    policy = DownloadPolicy(allow_http=True, attempts=1)
    with serving(Server((tmp_path / "a.tgz").read_bytes())) as server:
        monkeypatch.setenv("npm_config_registry", server.url.rpartition("/")[0] + "/")
        for _ in range(2):
            path = web.fetch_web_runtime(folder=tmp_path / "cache", policy=policy)
            assert web.read_web_runtime(path) == RUNTIME
        assert len(server.requests) == 1
    (tmp_path / "cache" / path.name).unlink()
    with serving(Server(b"a page to log in")) as server:
        monkeypatch.setenv("npm_config_registry", server.url.rpartition("/")[0])
        with pytest.raises(ExportError, match=r"cannot be downloaded .*npm pack onnxruntime-web@1.* as `web_runtime`"):
            web.fetch_web_runtime(folder=tmp_path / "cache", policy=policy)
    assert not list((tmp_path / "cache").iterdir())


def _written(path, content):
    path.write_bytes(content)
    return path


def test_the_runtime_of_a_folder_or_an_archive(tmp_path):
    for folder in ("installed/dist", "unpacked/package/dist", "plain"):
        (tmp_path / folder).mkdir(parents=True)
        for name, content in FILES.items():
            (tmp_path / folder / name).write_bytes(content)
        assert web.read_web_runtime(tmp_path / folder.partition("/")[0]) == RUNTIME
    for content, message in ((packed({"ort.min.js": b""}), "has no dist/ort.wasm.bundle"), (b"no archive", "cannot be read as")):
        with pytest.raises(ExportError, match=message):
            web.read_web_runtime(_written(tmp_path / "bad.tgz", content))
    with pytest.raises(ExportError, match="no such file or folder"):
        web.read_web_runtime(tmp_path / "nothing")


def test_the_folder_has_page_model_and_metadata_and_may_be_written_again(tmp_path):
    metadata = ExportMetadata(class_names=("cat",), input=SPECS[1])
    web.write_web(_written(tmp_path / "m.onnx", b"model"), tmp_path / "page", metadata, runtime=RUNTIME)
    names = {path.name for path in (tmp_path / "page").iterdir()}
    assert names == {"index.html", "app.js", "yolox.js", "ort.js", "ort.wasm", "ort.LICENSE.txt", "model.onnx", "model.json"}
    assert json.loads((tmp_path / "page/model.json").read_text())["input"]["letterbox"] == "center"
    check_form(tmp_path / "page", "web", 1, False)
    (tmp_path / "own").mkdir()
    _written(tmp_path / "own/thesis.txt", b"")
    for path, message in ((tmp_path / "own", "has other files"), (tmp_path / "own/thesis.txt", "is a file")):
        with pytest.raises(ExportError, match=message):
            check_form(path, "web", 1, False)


@pytest.mark.parametrize("form", [{"nms": True}, {"nms": False, "raw": True}, {"nms": False, "batch": None}])
def test_what_the_page_does_itself_is_refused(tmp_path, form):
    with pytest.raises(ExportError, match="a web page with .* is not supported"):
        check_form(tmp_path / "page", "web", **{"batch": 1, **form})


def test_pixels_that_a_browser_does_not_have_are_refused(tmp_path):
    spec = InputSpec(input_size=(32, 32), channels=1)
    detector = SimpleNamespace(num_classes=1, strides=(8, 16, 32), in_channels=1)
    with pytest.raises(ExportError, match="a web page takes 3 channels of 8 bits, spec states 1 channel of 8 bits"):
        export_detector(detector, tmp_path / "page", spec=spec, class_names=["cat"], format="web")


FOUND = """[...document.querySelectorAll("#found li")]
    .map(item => [item.childNodes[1].textContent, Number(item.querySelector("b").textContent)])"""
STATUS = "document.querySelector('#status').textContent"
DROP = """fetch("dog.jpg").then(answer => answer.blob()).then(blob => {
  const data = new DataTransfer();
  data.items.add(new File([blob], "dropped.jpg", {type: "image/jpeg"}));
  document.dispatchEvent(new DragEvent("drop", {dataTransfer: data, bubbles: true, cancelable: true}));
})"""


def set_slider(browser, name: str, value: float) -> None:
    slider = f"document.querySelector('#{name}')"
    browser.run(f"{slider}.value = {value}; {slider}.dispatchEvent(new Event('input'))")


@pytest.fixture(scope="module")
def page(data_dir, tmp_path_factory):
    """The folder that `yolox export --format web` writes for official nano."""
    try:
        runtime = web.fetch_web_runtime()
    except ExportError as error:
        pytest.skip(str(error))
    folder = tmp_path_factory.mktemp("web") / "page"
    weights = data_dir / "weights/yolox_nano_fused_megvii_keys.npz"
    argv = ["export", "--model", "nano", "--weights", weights, "--format", "web", "--output", folder, "--web-runtime", runtime]
    assert run_model([str(part) for part in argv]) == 0
    shutil.copy(data_dir / "photos/dog.jpg", folder / "dog.jpg")  # for the drop
    return folder


@pytest.mark.slow
def test_the_page_finds_the_objects_of_a_photo_in_chromium(page, data_dir, tmp_path):
    expected = {"dog": 0.855, "bicycle": 0.803, "car": 0.798, "truck": 0.306}
    with serve(page) as url, browse(tmp_path / "profile") as browser:
        browser.open(url)
        browser.wait("document.querySelector('#open')?.disabled === false")
        assert browser.run(STATUS).startswith("Ready: 80 classes (person, bicycle")
        set_slider(browser, "score", 0.3)
        browser.choose_file("#file", data_dir / "photos/dog.jpg")
        browser.wait(f"{STATUS}.includes('ms')")
        found = browser.run(FOUND)
        assert [name for name, _ in found] == list(expected)
        assert dict(found) == pytest.approx(expected, abs=0.01)
        for name, width in (("desktop", 1280), ("phone", 390)):
            browser.resize(width, 844)
            browser.photograph(tmp_path / f"{name}.png")
            assert browser.run("document.documentElement.scrollWidth") <= width
        set_slider(browser, "score", 0.82)  # without another run of the network
        assert [name for name, _ in browser.run(FOUND)] == ["dog"]
        browser.run(DROP)
        browser.wait(f"{STATUS}.startsWith('dropped.jpg, 768 x 576')")
        assert [name for name, _ in browser.run(FOUND)] == ["dog"]
        browser.choose_file("#file", page / "model.json")
        browser.wait(f"{STATUS}.includes('cannot read it as an image')")
        assert all(address.startswith((url, "data:")) for address in browser.requests)  # nothing from elsewhere
        assert browser.errors == []


@pytest.mark.slow
def test_the_camera_is_detected_in_until_it_is_stopped(page, data_dir, tmp_path):
    film = tmp_path / "dog.y4m"  # Chromium's camera shows it
    photo = cv2.imread(str(data_dir / "photos/dog.jpg"))
    frame = cv2.cvtColor(photo, cv2.COLOR_BGR2YUV_I420).tobytes()
    film.write_bytes(b"YUV4MPEG2 W768 H576 F10:1 Ip A1:1 C420jpeg\n" + 2 * (b"FRAME\n" + frame))
    with serve(page) as url, browse(tmp_path / "profile", f"--use-file-for-fake-video-capture={film}") as browser:
        browser.open(url)
        browser.wait("document.querySelector('#open')?.disabled === false")
        set_slider(browser, "score", 0.5)
        browser.run("document.querySelector('#camera').click()")
        browser.wait("document.querySelectorAll('#found li').length >= 3")  # the first frames may be dark
        browser.wait(f"{STATUS}.startsWith('Camera, 768 x 576')")
        assert {name for name, _ in browser.run(FOUND)} == {"dog", "bicycle", "car"}
        browser.run("document.querySelector('#camera').click()")
        assert browser.run("document.querySelector('#camera').textContent") == "Start the camera"
        assert browser.errors == []
