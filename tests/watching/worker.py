"""A process that is watched, without MindSpore: it says what its standard input tells it to.

    python tests/watching/worker.py FACTS    each line of the input is an object for the watcher
"""

import json
import os
import sys
import time
from pathlib import Path


def fork_data_worker() -> None:
    """Fork a process that holds the pipe to the watcher, and outlives its parent a little."""
    parent = os.getpid()
    if os.fork() == 0:
        while os.getppid() == parent:
            time.sleep(1.0)
        os._exit(0)


def main(facts: dict) -> None:
    """Pass on the words until they say that this process has left or failed."""
    sys.path.append(str(Path(__file__).resolve().parents[2] / "yolox"))  # `import yolox` takes seconds
    from watching.start import start_watcher

    lines, watcher = start_watcher(facts)
    print(watcher.pid, flush=True)
    fork_data_worker()
    for words in sys.stdin:
        message = json.loads(words)
        lines.write(**message)
        print("said", flush=True)
        if "failed" in message:
            break
        if "left" in message:
            os.close(lines.descriptor)
            watcher.wait()
            break


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
