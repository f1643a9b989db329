"""Run a command that must not outlive the processes it works for.

`python guard.py PID[,PID...] COMMAND ...`, the first PID its parent's, leads a process group of
its own. When one of the watched processes is gone, even by SIGKILL, the whole group is killed at
once, so that no stage writes on behind the back of the next run. (The kernel's parent-death signal
would do for one process, but is lost through set-user-ID programs such as apptainer's starter.)
"""

import os
import select
import signal
import subprocess
import sys


def main(argv: list[str]) -> int:
    """Run the command; its exit code, or 128 plus the signal that ended it."""
    watched = [int(pid) for pid in argv[0].split(",")]
    poll = select.poll()
    try:
        for pid in watched:
            poll.register(os.pidfd_open(pid), select.POLLIN)
    except ProcessLookupError:
        return 128 + signal.SIGKILL
    if os.getppid() != watched[0]:
        return 128 + signal.SIGKILL
    # An interrupt goes to the whole group: the command ends in its own way, and we wait for it. A
    # handler, unlike SIG_IGN, is not inherited by the command.
    signal.signal(signal.SIGINT, lambda *_: None)
    child = subprocess.Popen(argv[1:])
    ended = os.pidfd_open(child.pid)
    poll.register(ended, select.POLLIN)
    while True:
        ready = {descriptor for descriptor, _ in poll.poll()}
        if ended in ready:
            code = child.wait()
            return code if code >= 0 else 128 - code
        os.killpg(0, signal.SIGKILL)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
