"""Children and states of processes of this machine, and commands that are run again."""

import os
import re
import signal
import subprocess
import sys
import threading
import time

import pytest

from yolox.processes import ENDED, children_of, process_state, run_with_restarts


def test_a_child_is_listed_until_it_is_collected():
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    assert child.pid in children_of(os.getpid()) and process_state(child.pid) not in ENDED
    child.stdin.close()
    end = time.monotonic() + 30
    while process_state(child.pid) != "Z" and time.monotonic() < end:
        time.sleep(0.01)
    assert process_state(child.pid) == "Z"
    child.wait()
    assert child.pid not in children_of(os.getpid()) and process_state(child.pid) == ""


def test_this_process_runs_and_a_number_that_is_none_has_neither():
    assert process_state(os.getpid()) in ("R", "S")
    assert process_state(2**22 + 5) == "" and children_of(2**22 + 5) == set()


def outer(tmp_path, script: str, *, restarts=3):
    """Runs a shell script with the number of its start as argument; returns the status and the lines of the report."""
    lines, saved = [], tmp_path / "saved"
    status = run_with_restarts(
        lambda start: ["sh", "-c", script, "sh", str(start), str(saved)],
        checkpoint=saved, restarts=restarts, report=lines.append,
    )  # fmt: skip
    return status, [line.removesuffix(f" from {saved}") for line in lines]


def test_a_command_is_run_again_until_it_succeeds(tmp_path):
    script = "touch $2; case $1 in 0) kill -9 $$;; 1) exit 1;; esac"
    lines = ["the run has ended with signal SIGKILL; restart 1 of 3", "the run has ended with status 1; restart 2 of 3"]
    assert outer(tmp_path, script) == (0, lines)
    assert outer(tmp_path, "kill -9 $$", restarts=1) == (-9, [lines[0].replace("3", "1")])


@pytest.mark.parametrize(("script", "status"), [("exit 1", 1), ("touch $2; exit 2", 2), ("touch $2; exit 143", 143)])
def test_nothing_is_run_again_without_a_checkpoint_or_after_an_asked_end(tmp_path, script, status):
    assert outer(tmp_path, script) == (status, [])


def test_a_signal_is_passed_on_and_ends_the_restarts(tmp_path):
    timer = threading.Timer(1.0, os.kill, (os.getpid(), signal.SIGTERM))
    timer.start()
    assert outer(tmp_path, "touch $2; exec sleep 60") == (-signal.SIGTERM, [])
    timer.join()
    assert outer(tmp_path, "true") == (0, [])


MSRUN = """
[ $1 -gt 0 ] && exit 0
touch $2; trap 'kill $worker; exit 143' TERM
sh -c "trap 'exit 143' TERM; while :; do sleep 0.05; done" & worker=$!
echo $worker > $2.worker
wait $worker || exit 1
"""  # ends with 1 when its worker ends with any status but 0, whatever the reason, and with 143 after a signal of its own


@pytest.mark.parametrize("to_worker", [True, False])
def test_a_worker_that_was_asked_to_end_is_started_again_and_a_job_that_was_is_not(tmp_path, to_worker):
    """msrun does not tell whether its worker has failed or has saved after SIGTERM; only the command itself is asked to end."""
    lines, saved, worker = [], tmp_path / "saved", tmp_path / "saved.worker"

    def send():
        while not (worker.exists() and worker.read_text().strip()):
            time.sleep(0.01)
        os.kill(int(worker.read_text()) if to_worker else os.getpid(), signal.SIGTERM)

    thread = threading.Thread(target=send)
    thread.start()
    status = run_with_restarts(
        lambda start: ["sh", "-c", MSRUN, "sh", str(start), str(saved)],
        checkpoint=saved, restarts=3, signal_group=True, report=lines.append,
    )  # fmt: skip
    thread.join()
    end = time.monotonic() + 30
    while process_state(int(worker.read_text())) not in ENDED and time.monotonic() < end:
        time.sleep(0.01)
    assert process_state(int(worker.read_text())) in ENDED
    restart = f"the run has ended with status 1; restart 1 of 3 from {saved}"
    assert (status, lines) == ((0, [restart]) if to_worker else (143, []))


def test_other_ranks_are_described_by_process_state_and_mark():
    code = "from yolox.processes import RankMark; m = RankMark(); m.write('step 7'); print(1, flush=True); input()"
    processes = []
    for rank, role in ((0, "MS_WORKER"), (1, "MS_WORKER"), (5, "MS_SCHED")):
        environment = {**os.environ, "RANK_ID": str(rank), "MS_ROLE": role}
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        processes.append(subprocess.Popen([sys.executable, "-c", code], env=environment, **pipes))
    try:
        for process in processes:
            assert process.stdout.readline() == b"1\n"
        processes[1].send_signal(signal.SIGSTOP)
        code = "from yolox.processes import describe_ranks; print(*describe_ranks(2, 4), sep='\\n')"
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    finally:
        for process in processes:
            process.kill()
            process.communicate()
    lines = done.stdout.splitlines()
    assert sorted(re.sub(r"\d+ s", "N s", line) for line in lines) == [
        f"rank 0 (process {processes[0].pid}) is running, for N s in step 7",
        f"rank 1 (process {processes[1].pid}) is stopped by a signal, for N s in step 7",
        "rank 3: ended, or on another host",
    ]
