"""Run a command that must not outlive the processes it works for.

`python -I -S guard.py PID[,PID...] COMMAND ...` leads a process group of its own. When one of the
processes PID is gone, even by SIGKILL, the whole group is killed at once, so that nothing writes
on behind the back of the next run; so it is when the guard itself is killed, or the process that
watches for it, and what the command leaves running is killed when it ends.

Neither of two simpler ways would do. The kernel's parent-death signal is lost through set-user-ID
programs such as apptainer's starter. And a guard that is its command's parent and its watcher at
once can be killed without a chance to act: Ray kills the children of a worker with it, but not
theirs. So a process of the group watches that nobody else knows.

The file is run as a script and takes the standard library alone, to start in milliseconds.
"""

import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

KILLED = 128 + signal.SIGKILL


def guarded(command: Sequence[str], watched: Iterable[int]) -> list[str]:
    """A command line that runs a command under guard.

    Start it as the leader of a session of its own (`start_new_session=True`), and send SIGINT or
    SIGTERM to its whole process group: the command ends in its own way, and the guard waits.

    Args:
        command: The command and its arguments.
        watched: Ids of the processes without which the command is to end.
    """
    pids = ",".join(map(str, watched))
    return [sys.executable, "-I", "-S", str(Path(__file__).resolve()), pids, *command]


def watch(descriptors: Iterable[int]) -> None:
    """Kill the own process group when one of some processes has ended.

    Args:
        descriptors: Process descriptors (`os.pidfd_open`).
    """
    poll = select.poll()
    for descriptor in descriptors:
        poll.register(descriptor, select.POLLIN)
    poll.poll()
    os.killpg(0, signal.SIGKILL)


def main(arguments: Sequence[str]) -> int:
    """Run the command; its exit code, or 128 plus the signal that ended it.

    Args:
        arguments: Ids of the watched processes, separated by commas; the command.
    """
    # A request to end goes to the whole group. A handler, unlike SIG_IGN, is not inherited by the
    # command.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: None)
    try:
        watched = [os.pidfd_open(pid) for pid in (*map(int, arguments[0].split(",")), os.getpid())]
    except ProcessLookupError:
        return KILLED
    if os.fork() == 0:
        watch(watched)
    process = subprocess.Popen(arguments[1:])
    ended, status = os.wait()
    if ended != process.pid:
        # the watcher has been killed: nobody would notice what becomes of the others
        os.killpg(0, signal.SIGKILL)
    process.returncode = code = os.waitstatus_to_exitcode(status)
    return code if code >= 0 else 128 - code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
