"""Run a command that must not outlive the process it works for.

`python leash.py PID COMMAND ...` leads a process group of its own. When the process PID is gone,
even by SIGKILL, the whole group is killed, so that no training goes on behind the back of a study
that was killed and runs again. A process of the group watches that is no child of PID, since Ray
kills the children of a worker with it, but not theirs.
"""

import os
import select
import signal
import subprocess
import sys


def watch(*pids: int) -> None:
    """Kill the process group when one of some processes has ended."""
    poll = select.poll()
    try:
        for pid in pids:
            poll.register(os.pidfd_open(pid), select.POLLIN)
        poll.poll()
    except ProcessLookupError:
        pass
    os.killpg(0, signal.SIGKILL)


def main(argv: list[str]) -> int:
    """Run the command; its exit code, or 128 plus the signal that ended it."""
    # A request to end goes to the whole group: the command ends in its own way, and we wait. A
    # handler, unlike SIG_IGN, is not inherited by the command.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: None)
    leash = os.getpid()
    if os.fork() == 0:
        watch(int(argv[0]), leash)
    code = subprocess.Popen(argv[1:]).wait()
    return code if code >= 0 else 128 - code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
