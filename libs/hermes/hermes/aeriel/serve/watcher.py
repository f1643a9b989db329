"""End a server when the process that it works for is gone.

`python -I -S watcher.py PARENT MARK [COMMAND ...]`, started as the leader of a process group in
which the server is then put. When PARENT, which started it, is gone, even by SIGKILL, it kills the
group, takes away what the server left in shared memory under names that begin with MARK, and runs
the command.

The kernel's parent-death signal would not do: it comes when the thread that started the server
ends, and is lost through set-user-ID programs such as apptainer's starter.
"""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

INTERVAL = 0.2
NUM_SWEEPS = 5
SHARED_MEMORY = Path("/dev/shm")


def remove_shared_memory(mark: str) -> None:
    """Remove the segments of shared memory whose names begin with a mark."""
    for segment in SHARED_MEMORY.glob(f"{mark}*"):
        segment.unlink(missing_ok=True)


def watch(parent: int, mark: str, cleanup: list[str]) -> None:
    """Wait for the parent's end, then end everything.

    Args:
        parent: Id of the process to watch.
        mark: Beginning of the names of segments to remove.
        cleanup: Command to run last; empty for none.
    """
    while os.getppid() == parent:
        time.sleep(INTERVAL)
    group = os.getpgrp()
    # Killing the group ends this process too: what is left to do is done by one outside of it.
    if os.fork() == 0:
        os.setpgid(0, 0)
        os.killpg(group, signal.SIGKILL)
        # A process that is being killed may still finish making a segment.
        for _ in range(NUM_SWEEPS):
            remove_shared_memory(mark)
            time.sleep(INTERVAL)
        if cleanup:
            subprocess.run(cleanup, check=False, stdout=subprocess.DEVNULL)
        return
    signal.pause()


if __name__ == "__main__":
    watch(int(sys.argv[1]), sys.argv[2], sys.argv[3:])
