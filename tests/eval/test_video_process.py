"""Videos are decoded in another process, whose crash is an error of one file."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import cv2
import numpy as np
import pytest

from yolox.errors import DataError
from yolox.eval import video_process
from yolox.eval.media import read_frames
from yolox.eval.video_process import VideoReader


@pytest.fixture
def clip(tmp_path):
    """A video of eight frames."""
    path, rng = tmp_path / "a.avi", np.random.default_rng(0)
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 7, (960, 720))
    for _ in range(8):
        writer.write(cv2.resize(rng.integers(0, 256, (4, 6, 3), np.uint8), (960, 720)))
    writer.release()
    return path


def test_frames_and_properties_are_those_of_opencv(clip):
    reader, direct = VideoReader(str(clip)), cv2.VideoCapture(str(clip), cv2.CAP_FFMPEG)
    codes = [getattr(cv2, f"CAP_PROP_{name}") for name in video_process.PROPERTIES]
    assert reader.isOpened() and list(map(reader.get, codes)) == list(map(direct.get, codes))
    for _ in range(8):
        (found, image), (_, wanted) = reader.read(), direct.read()
        assert found and np.array_equal(image, wanted)
    assert not any(reader.read()[0] for _ in range(100))
    reader.release()


def test_one_process_reads_one_video_after_the_other(clip, tmp_path, monkeypatch):
    monkeypatch.setattr(video_process, "_idle", [])  # those of tests before wait on
    (tmp_path / "b.mp4").write_bytes(b"no video")
    for _ in range(2):
        assert len(list(read_frames(clip, "a"))) == 8
        with pytest.raises(DataError, match="b.mp4: cannot be decoded as a video"):
            list(read_frames(tmp_path / "b.mp4", "b"))
    (process,) = video_process._idle
    two = [VideoReader(str(clip)) for _ in range(2)]  # at the same time
    assert two[0]._process is process and all(reader.read()[0] for reader in two)
    for reader in two:
        reader.release()
    assert not video_process._idle and process.poll() is not None


@pytest.mark.parametrize(
    ("number", "message"), [(signal.SIGSEGV, "crashed .signal 11"), (signal.SIGSTOP, "no frame came for 1 s")]
)
def test_a_decoder_that_crashes_or_hangs_is_an_error_of_the_file(clip, monkeypatch, number, message):
    others, frames = busy_processes(), read_frames(clip, "a")  # others: of a test before, whose frames were not all read
    next(frames)  # a frame is 2 MB, more than a pipe holds, so that the next ones were not sent yet
    monkeypatch.setattr(video_process, "SECONDS", 1.0)
    (pid,) = busy_processes() - others
    os.kill(pid, number)
    with pytest.raises(DataError, match=f"a.avi: cannot be decoded as a video: .*{message}"):
        while True:  # frames that were sent before
            next(frames)
    monkeypatch.undo()
    assert len(list(read_frames(clip, "a"))) == 8


def busy_processes() -> set[int]:
    """Returns the processes that decode for this one, without those that wait for a video."""
    shown = subprocess.run(["ps", "-o", "pid=,args=", "--ppid", str(os.getpid())], capture_output=True, text=True, check=True)
    found = {int(line.split()[0]) for line in shown.stdout.splitlines() if "video_process.py" in line}
    return found - {each.pid for each in video_process._idle}


def test_the_process_ends_with_the_one_that_started_it(clip):
    code = (
        "import sys; from yolox.eval import video_process as v; r = v.VideoReader(sys.argv[1]); r.read();"
        "print(r._process.pid, flush=True); import os; os.kill(os.getpid(), 9)"
    )
    done = subprocess.run([sys.executable, "-c", code, clip], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == -signal.SIGKILL
    for _ in range(100):
        if not os.path.exists(f"/proc/{int(done.stdout)}"):
            return
        signal.sigtimedwait([], 0.1)
    raise AssertionError("the process is still there")
