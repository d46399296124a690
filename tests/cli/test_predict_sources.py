"""The command predict with other sources than files, and what is chosen, cut out and shown; the step finds the bright square."""

from __future__ import annotations

import io
import json
import os
import re
import signal
import socket
import sys
import threading
import time
import types
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from tests.cli.squares import find_square, predict, square
from yolox.cli.inputs import OpenedWeights
from yolox.errors import CommandError, DataError
from yolox.eval import media
from yolox.eval.media import expected_frames, read_frames
from yolox.eval.postprocess import Detections
from yolox.eval.sources import Stream, find_files, unique_names
from yolox.visualize.media import CropWriter, PictureWriter, Screen


class Camera(BaseHTTPRequestHandler):
    """Sends squares as MJPEG: /6 ends after 6, /6/stall then sends nothing more, /endless goes on."""

    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
        self.end_headers()
        count = self.path.split("/")[1].partition("?")[0]
        number = 0
        try:
            while count == "endless" or number < int(count):
                data = cv2.imencode(".jpg", square(4 * (number % 10)))[1].tobytes()
                head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(data)}\r\n\r\n"
                self.wfile.write(head.encode() + data + b"\r\n")
                number += 1
                time.sleep(0.01)
            if self.path.endswith("/stall"):
                self.server.closing.wait(20)
        except OSError:  # the reader has gone
            pass

    def log_message(self, *args):
        pass


@pytest.fixture
def camera():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Camera)
    server.daemon_threads, server.closing = True, threading.Event()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.closing.set()
    server.shutdown()
    server.server_close()


def records(folder):
    return json.loads((folder / "predictions.json").read_text())


def test_a_stream_is_read_to_its_end_and_told(experiment, camera, tmp_path, capsys):
    out, address = tmp_path / "out", f"{camera}/6?key=secret"
    argv = ["--source", address, "--output", out, "--save", "json", "csv", "coco", "txt", "--strict"]
    assert predict(experiment, *argv) == 0
    said = capsys.readouterr()
    shown = f"{camera}/6?***"
    assert f"note: {shown}: 6 frames, then the stream ended" in said.err
    assert "secret" not in said.out + said.err + "".join(p.read_text() for p in out.rglob("*.[jc]s*"))
    found = records(out)
    assert [(r["image"], r["frame"]) for r in found] == [(shown, number) for number in range(6)]
    for number, record in enumerate(found):
        np.testing.assert_allclose(record["boxes"], [[4 * number, 8, 4 * number + 16, 24]], atol=3)
    name = camera.removeprefix("http://").replace(":", "_") + "_6"
    assert len(list(read_frames(out / f"{name}.mp4", "x"))) == 6
    assert len(list((out / "labels").glob(f"{name}_00000?.txt"))) == 6
    coco = json.loads((out / "predictions_coco.json").read_text())
    assert coco["images"][2]["file_name"] == f"{shown}#2"


def test_a_stream_without_end_ends_at_a_limit(experiment, camera, tmp_path, capsys):
    argv = ["--source", f"{camera}/endless", "--output", tmp_path, "--max-frames", "5", "--batch-size", "2"]
    assert predict(experiment, *argv) == 0
    said = capsys.readouterr()
    assert len(records(tmp_path)) == 5 and "5 images: 5 objects (5 big dog)" in said.out
    assert "endless: 5 frames\n" in said.err


def test_a_stream_that_sends_nothing_is_given_up(experiment, camera, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(media, "READ_SECONDS", 0.5)
    argv = ["--source", f"{camera}/3/stall", "--save", "json", "--output"]
    assert predict(experiment, *argv, tmp_path / "a") == 0
    err = capsys.readouterr().err
    assert "warning: " in err and re.search(r"3 frames, then none came for 0\.\d+ s", err) and "WARN" not in err
    assert len(records(tmp_path / "a")) == 3
    assert predict(experiment, *argv, tmp_path / "b", "--strict") == 1


def test_streams_that_are_not_there_are_named(experiment, folder, tmp_path, capfd):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        dead = f"rtsp://me:secret@127.0.0.1:{free.getsockname()[1]}/live"
        assert predict(experiment, "--source", dead, "97", folder, "--output", tmp_path / "out") == 0
    err = capfd.readouterr().err
    assert "2 of 5 sources could not be read" in err and "camera 97: cannot be opened" in err
    assert "/live: cannot be opened" in err and "secret" not in err and "VIDEOIO" not in err
    assert len(records(tmp_path / "out")) == 3
    assert predict(experiment, "--source", "ftp://host/a.mp4", "--output", tmp_path / "b") == 1
    assert "--source ftp://host/a.mp4: want an address with rtsp" in capfd.readouterr().err


def test_a_number_is_a_camera_unless_a_file_has_that_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert find_files(["0"]).files == [Stream("0")] and str(Stream("0")) == "camera 0"
    cv2.imwrite("0.png", square(0))
    os.rename("0.png", "0")
    assert [str(file) for file in find_files(["0"]).files] == ["0"]


def test_the_camera_is_read_by_its_number(experiment, tmp_path, monkeypatch):
    """This machine has none: OpenCV's is replaced, and gives four frames."""
    opened = []

    class Capture:
        def __init__(self, *what):
            opened.append(what)
            self.left = iter(range(4))

        def isOpened(self):
            return True

        def read(self):
            number = next(self.left, None)
            return number is not None, None if number is None else square(8 * number)

        def set(self, *values):
            pass

        def get(self, what):
            return 15.0 if what == cv2.CAP_PROP_FPS else 0.0

        def release(self):
            opened.append("released")

    monkeypatch.setattr(cv2, "VideoCapture", Capture)
    assert predict(experiment, "--source", "2", "--output", tmp_path, "--no-pictures") == 0
    assert opened == [(2,), "released"] and [r["image"] for r in records(tmp_path)] == ["camera 2"] * 4
    assert [path.name for path in tmp_path.iterdir()] == ["predictions.json"]


def interrupted(step, at: int, number=signal.SIGINT):
    """A step that sends this process a signal when it is called for the `at`-th time."""
    calls = []

    def run(images):
        calls.append(1)
        if len(calls) == at:
            os.kill(os.getpid(), number)
        return step(images)

    return run


@pytest.mark.parametrize("kind", ["stream", "files", "files and stream", "stream and files"])
def test_ctrl_c_ends_in_order(experiment, camera, folder, tmp_path, capsys, monkeypatch, kind):
    """A stream that is read last has no other end than a signal; with anything else left, something was not done."""
    stream = f"{camera}/endless"
    source = {"stream": [stream], "files": [folder], "files and stream": [folder, stream], "stream and files": [stream, folder]}
    done, read, left = {"stream": (0, 2, 0), "files": (130, 2, 1), "files and stream": (130, 2, 2),
                        "stream and files": (130, 2, 4)}[kind]  # fmt: skip
    step, before = interrupted(find_square, 2), signal.getsignal(signal.SIGINT)  # ignored in jobs of a shell's background
    monkeypatch.setattr(OpenedWeights, "make_step", lambda self, spec: step)
    status = predict(experiment, "--source", *source[kind], "--output", tmp_path / "out", "--save", "json", "csv")
    said = capsys.readouterr()
    assert status == done
    assert len(records(tmp_path / "out")) == read and "2 images: 2 objects" in said.out
    assert len((tmp_path / "out/predictions.csv").read_text().splitlines()) == 3
    assert ("stopped after 2 images; their results are written" in said.err) == bool(left)
    count = len(source[kind]) + (2 if "files" in kind else 0)
    assert (f"stopped: {left} of {count} sources were not read to their end (" in said.err) == bool(left)
    assert signal.getsignal(signal.SIGINT) is before


def test_frames_that_were_read_are_written_after_a_signal(experiment, camera, tmp_path, monkeypatch):
    """The second batch of three brings the signal: its frames are all detected in, and no further one is read."""
    monkeypatch.setattr(OpenedWeights, "make_step", lambda self, spec: interrupted(find_square, 2))
    argv = ["--source", f"{camera}/endless", "--output", tmp_path / "out", "--batch-size", "3", "--no-pictures"]
    assert predict(experiment, *argv) == 0
    assert [record["frame"] for record in records(tmp_path / "out")] == list(range(6))


def test_frames_of_an_unfilled_batch_are_written_after_a_signal(experiment, folder, tmp_path, monkeypatch):
    """The signal comes while the second of four images is read."""
    real = media.read_image

    def read(path, **options):
        if path.endswith("1.png"):
            os.kill(os.getpid(), signal.SIGTERM)
        return real(path, **options)

    monkeypatch.setattr(media, "read_image", read)
    status = predict(experiment, "--source", folder, "--output", tmp_path / "out", "--batch-size", "4", "--no-pictures")
    assert status == 128 + signal.SIGTERM
    assert [os.path.basename(record["image"]) for record in records(tmp_path / "out")] == ["0.png", "1.png"]


def test_a_limit_of_frames_reads_no_further_frame(camera, monkeypatch):
    """Of a stream the next one may never come."""
    calls, real = [], media._decoded_images

    def decoded(capture, count):
        for image in real(capture, count):
            calls.append(1)
            yield image

    monkeypatch.setattr(media, "_decoded_images", decoded)
    assert len(list(read_frames(Stream(f"{camera}/endless"), "x", max_frames=2))) == len(calls) == 2


def test_a_frame_of_another_size_is_scaled_and_counted(tmp_path):
    """OpenCV's writer drops such a frame without a word."""
    lines = []
    writer = PictureWriter(tmp_path, ["cat"], lines.append)
    none = Detections(np.zeros((0, 4), np.float32), np.zeros(0), np.zeros(0, int))
    for number, side in enumerate((64, 96, 64)):
        image = np.full((side, side, 3), 40 * number, np.uint8)
        writer.add(media.Frame(file=Path("a.ts"), number=number, name=f"a_{number:06d}", image=image), none)
    writer.close()
    assert lines == [f"a.ts: 3 frames, 0 objects, 1 of another size scaled to that of the first, {tmp_path}/a.mp4"]
    assert [frame.image.shape for frame in read_frames(tmp_path / "a.mp4", "a")] == [(64, 64, 3)] * 3


def test_paths_come_on_standard_input(experiment, folder, tmp_path, monkeypatch):
    name = os.fsdecode(b"\xd6.png")
    (folder / "1.png").rename(folder / name)
    lines = os.fsencode(f"{folder / '2.png'}\n\n{folder / name}\r\n")
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(lines)))
    assert predict(experiment, "--source", folder / "0.png", "-", "--output", tmp_path / "out") == 0
    assert [os.path.basename(r["image"]) for r in records(tmp_path / "out")] == ["0.png", "2.png", name]


def test_videos_may_be_cut_short(experiment, video, tmp_path, capsys):
    assert predict(experiment, "--source", video, "--output", tmp_path / "out", "--max-frames", "2") == 0
    assert len(records(tmp_path / "out")) == 2 and "could not be decoded" not in capsys.readouterr().err
    assert (expected_frames([video]), expected_frames([video, video], 2)) == (5, 4)
    assert expected_frames([video, Stream("0")]) is None and expected_frames([video, Stream("0")], 9) == 14


def test_classes_by_name_or_index(experiment, folder, tmp_path, capsys):
    for classes, count in ((["big dog"], 3), (["1"], 3), (["cat"], 0), (["cat", "1"], 3)):
        out = tmp_path / "-".join(classes)
        assert predict(experiment, "--source", folder, "--output", out, "--no-pictures", "--classes", *classes) == 0
        assert sum(len(record["boxes"]) for record in records(out)) == count
    capsys.readouterr()
    assert predict(experiment, "--source", folder, "--output", tmp_path / "no", "--classes", "bigdog") == 2
    assert "--classes: no class 'bigdog' among 2; perhaps you meant big dog" in capsys.readouterr().err
    assert not (tmp_path / "no").exists()


def test_tiles_of_the_command_find_small_squares(experiment, tmp_path, capsys):
    """A square of 4 px is 0.6 px high in the whole image of 400 x 400, which is shrunk to 64, and 4 px in a tile of 64."""
    image = np.zeros((400, 400, 3), np.uint8)
    places = [(30, 40), (57, 200), (333, 300)]
    for x, y in places:
        image[y : y + 4, x : x + 4] = 255
    path = tmp_path / "large.png"
    cv2.imwrite(str(path), image)
    argv = ["--source", path, "--batch-size", "8", "--output"]
    assert predict(experiment, *argv, tmp_path / "a") == 0
    assert predict(experiment, *argv, tmp_path / "b", "--tiles", "64", "--overlap", "0.25") == 0
    assert "speed: read " in capsys.readouterr().out
    ((alone,), (tiled,)) = records(tmp_path / "a"), records(tmp_path / "b")
    wanted = sorted([x, y, x + 4, y + 4] for x, y in places)
    assert all(box not in alone["boxes"] for box in wanted)
    assert [box for box in sorted(tiled["boxes"]) if box in wanted] == wanted
    for options, message in (
        (["--tiles", "0"], "--tiles: got a side of 0 px, want at least 1"),
        (["--tiles", "64", "--overlap", "1"], "--overlap: got 1, want a share from 0 to 0.9"),
        (["--overlap", "0.5"], "--overlap: is for --tiles"),
        (["--max-frames", "0"], "--max-frames: got 0, want at least 1"),
        (["--with-scores"], "--with-scores: is for --save txt"),
    ):
        assert predict(experiment, *argv, tmp_path / "c", *options) == 2
        assert message in capsys.readouterr().err


def test_crops_are_the_pixels_of_the_objects(experiment, folder, tmp_path, capsys):
    Image.open(folder / "0.png").save(folder / "0.jpg")
    (folder / "0.png").unlink()
    out = tmp_path / "out"
    assert predict(experiment, "--source", folder, "--output", out, "--crops", "--no-pictures") == 0
    assert f"wrote {out}/crops" in capsys.readouterr().out
    assert sorted(p.name for p in (out / "crops/big dog").iterdir()) == ["0_0.jpg", "1_0.png", "2_0.png"]
    assert {p.name for p in out.iterdir()} == {"crops", "predictions.json"}
    crop = cv2.imread(str(out / "crops/big dog/2_0.png"))
    np.testing.assert_array_equal(crop, np.full((16, 16, 3), 255, np.uint8))


def test_names_of_classes_become_folders_of_their_own(tmp_path):
    writer = CropWriter(tmp_path)
    names = ["a/b", "a:b", "..", "", "CON\x1b"]
    folders = [writer._folder_of(name) for name in names]
    assert [folder.parent for folder in folders] == [tmp_path / "crops"] * 5 and len({*folders}) == 5
    assert [folder.name for folder in folders] == ["a_b", "a_b_2", "_", "__2", "CON_"]


class Window:
    """A window of tkinter that is closed or gets keys as a test says."""

    keys: list = []
    shown: list = []

    def __init__(self, **options):
        self.bound = {}

    def bind(self, event, function):
        self.bound[event] = function

    protocol = bind

    def winfo_screenheight(self):
        return 300

    def winfo_screenwidth(self):
        return 400

    def title(self, text):
        self.shown.append(text)

    def after(self, milliseconds):
        key = self.keys.pop(0)
        if key == "signal":
            os.kill(os.getpid(), signal.SIGINT)
        elif key == "close":
            self.bound["WM_DELETE_WINDOW"]()
        else:
            self.bound["<Key>"](types.SimpleNamespace(keysym=key))

    def update(self):
        pass

    def destroy(self):
        self.shown.append("closed")


@pytest.mark.parametrize(
    "keys, count, status",
    [(["space", "Right", "a"], 3, 0), (["space", "q"], 2, 0), (["close"], 1, 0), (["space", "signal"], 2, 130)],
)
def test_images_are_shown_until_a_key_is_pressed(experiment, folder, tmp_path, monkeypatch, capsys, keys, count, status):
    pictures = []
    label = types.SimpleNamespace(pack=lambda: None, configure=lambda image: pictures.append(image))
    fake = types.SimpleNamespace(
        Tk=Window,
        TclError=RuntimeError,
        Label=lambda *args, **options: label,
        PhotoImage=lambda data, format: cv2.imdecode(np.frombuffer(data, np.uint8), 1),
    )
    monkeypatch.setitem(sys.modules, "tkinter", fake)
    monkeypatch.setattr(Window, "keys", list(keys))
    monkeypatch.setattr(Window, "shown", [])
    found = predict(experiment, "--source", folder, "--output", tmp_path / "out", "--show", "--no-pictures")
    assert found == status and (count == 3 or f"stopped: {3 - count} of 3 sources were not read" in capsys.readouterr().err)
    assert Window.shown == [f"{n}: 1 object (1 big dog)" for n in range(count)] + ["closed"]
    assert len(records(tmp_path / "out")) == count == len(pictures) and Window.keys == []
    assert all(picture.shape == (270, 270, 3) for picture in pictures)  # enlarged to 512, and fitted into the screen


def test_without_a_screen_nothing_is_shown(experiment, folder, tmp_path, capsys, monkeypatch):
    monkeypatch.delenv("DISPLAY", raising=False)
    pytest.importorskip("tkinter", reason="this Python has no tkinter")
    assert predict(experiment, "--source", folder, "--output", tmp_path / "out", "--show") == 1
    assert "--show: there is no screen to show pictures on" in capsys.readouterr().err and not (tmp_path / "out").exists()
    monkeypatch.setitem(sys.modules, "tkinter", None)
    with pytest.raises(CommandError, match="`show`: this Python has no tkinter"):
        Screen([])


def test_a_terminal_shows_rate_time_left_and_classes(experiment, folder, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "120")
    assert predict(experiment, "--source", folder, "--output", tmp_path / "out", "--no-pictures") == 0
    out = capsys.readouterr().out
    assert "3/3" in out and "images/s, 0:00 left" in out and "3 big dog" in out


@pytest.mark.parametrize(
    ("address", "shown", "stem"),
    [
        ("rtsp://me:secret@10.0.0.7:554/live?x=1", "rtsp://me:***@10.0.0.7:554/live?***", "10.0.0.7_554_live"),
        ("rtsp://me:sec#ret@10.0.0.1/live", "rtsp://me:***@10.0.0.1/live", "10.0.0.1_live"),
        ("rtsp://me:sec/ret@10.0.0.1/live", "rtsp://me:***@10.0.0.1/live", "10.0.0.1_live"),
        ("rtsp://me:sec?ret@10.0.0.1/live", "rtsp://me:***@10.0.0.1/live", "10.0.0.1_live"),
        ("rtsp://me:secret[@10.0.0.1/live", "rtsp://me:***@10.0.0.1/live", "10.0.0.1_live"),
        ("rtsp://me:se@cret@10.0.0.1/live", "rtsp://me:***@10.0.0.1/live", "10.0.0.1_live"),
        ("http://10.0.0.1:8080/video", "http://10.0.0.1:8080/video", "10.0.0.1_8080_video"),
        ("rtsp://me@10.0.0.1/live", "rtsp://me@10.0.0.1/live", "10.0.0.1_live"),
    ],
)
def test_no_password_of_an_address_is_shown(address, shown, stem):
    assert (str(Stream(address)), Stream(address).stem) == (shown, stem)


@pytest.mark.parametrize("number", ["1000", "20240312123045"])
def test_a_number_that_is_no_camera_is_a_message(number):
    """Such as that of a folder which is not there."""
    with pytest.raises(DataError, match=f"camera {number}: cannot be opened"):
        next(read_frames(Stream(number), "a"))


def test_names_of_many_files_are_found_at_once():
    """Twenty thousand names, of which a tenth are frames of a clip and two are the same."""
    files = [Path(f"a/image_{i}.jpg") for i in range(20_000)] + [Path(f"b/clip_{i:06d}.png") for i in range(2_000)]
    names = unique_names([*files, Path("c/image_7.png"), Path("c/clip.mp4")])
    assert names[:22_000] == [file.stem for file in files] and names[22_000:] == ["image_7_2", "clip_2"]
