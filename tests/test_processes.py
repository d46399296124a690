"""Children and states of processes of this machine."""

import os
import subprocess
import sys
import time

from yolox.processes import ENDED, children_of, process_state


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
