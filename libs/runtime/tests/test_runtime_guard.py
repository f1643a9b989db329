"""The guard: how a command ends by itself, when asked, and with those it works for."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from runtime.guard import KILLED, guarded

# Starts a child, tells both their ids, and says how it was ended.
COMMAND = """
import os, signal, subprocess, sys, time
from pathlib import Path
folder = Path(sys.argv[1])

def end(number, frame):
    folder.joinpath("asked").write_text(signal.Signals(number).name)
    time.sleep(0.3)
    folder.joinpath("saved").touch()
    sys.exit(7)

signal.signal(signal.SIGTERM, end)
signal.signal(signal.SIGINT, end)
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
folder.joinpath("partial").write_text(f"{os.getpid()} {child.pid}")
folder.joinpath("partial").rename(folder / "pids")
time.sleep(float(sys.argv[2]))
"""

# Stands between the test and the guard, as a worker does.
WORKER = """
import subprocess, sys, time
subprocess.Popen(sys.argv[1:], start_new_session=True)
time.sleep(60)
"""


def wait_for(condition: Callable[[], object], seconds: float = 10.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.01)


def alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


def start(folder: Path, *watched: int, duration: float = 60.0) -> "subprocess.Popen[bytes]":
    """Run the command under guard; back when it has begun."""
    command = [sys.executable, "-c", COMMAND, str(folder), str(duration)]
    guard = subprocess.Popen(guarded(command, watched or [os.getpid()]), start_new_session=True)
    wait_for((folder / "pids").exists)
    return guard


def begun(folder: Path) -> list[int]:
    """Ids of the command and of its child."""
    return [int(pid) for pid in (folder / "pids").read_text().split()]


def group(leader: int) -> list[int]:
    """Living processes of a process group."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            if os.getpgid(int(path.name)) == leader and alive(int(path.name)):
                found.append(int(path.name))
        except ProcessLookupError:
            continue
    return found


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("pass", 0),
        ("raise SystemExit(3)", 3),
        ("import os, signal; os.kill(os.getpid(), signal.SIGUSR1)", 128 + signal.SIGUSR1),
    ],
)
def test_the_exit_code_is_the_commands(code: str, expected: int) -> None:
    command = guarded([sys.executable, "-c", code], [os.getpid()])
    assert subprocess.run(command, start_new_session=True, check=False).returncode == expected


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_a_command_that_is_asked_ends_in_its_own_way(how: signal.Signals, tmp_path: Path) -> None:
    guard = start(tmp_path)
    os.killpg(guard.pid, how)
    assert guard.wait(10) == 7
    assert (tmp_path / "asked").read_text() == how.name
    assert (tmp_path / "saved").exists()


def test_a_command_of_no_way_of_its_own_ends_by_the_signal() -> None:
    """It does not inherit that the guard waits."""
    command = [sys.executable, "-c", "import time; print(flush=True); time.sleep(60)"]
    with subprocess.Popen(
        guarded(command, [os.getpid()]), stdout=subprocess.PIPE, start_new_session=True
    ) as guard:
        assert guard.stdout is not None
        guard.stdout.readline()
        os.killpg(guard.pid, signal.SIGTERM)
        assert guard.wait(10) == 128 + signal.SIGTERM


def test_what_the_command_leaves_running_ends_with_it(tmp_path: Path) -> None:
    guard = start(tmp_path, duration=0.1)
    assert guard.wait(10) == 0
    wait_for(lambda: not group(guard.pid))
    assert not any(map(alive, begun(tmp_path)))


def test_the_command_dies_with_any_process_it_works_for(tmp_path: Path) -> None:
    """The watched process is neither the first one nor the guard's parent."""
    other = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    guard = start(tmp_path, os.getpid(), other.pid)
    assert all(map(alive, begun(tmp_path)))
    other.kill()
    other.wait()
    assert guard.wait(10) == -signal.SIGKILL
    wait_for(lambda: not group(guard.pid))
    assert not (tmp_path / "asked").exists()


def test_the_command_dies_with_a_worker_that_is_killed(tmp_path: Path) -> None:
    """The worker's id is not known before it starts the guard, whose parent it is."""
    command = [sys.executable, "-c", COMMAND, str(tmp_path), "60"]
    code = (
        "import os, sys; from runtime.guard import guarded; "
        f"sys.argv[1:] = guarded({command!r}, [os.getpid()]); exec({WORKER!r})"
    )
    with subprocess.Popen([sys.executable, "-c", code]) as worker:
        wait_for((tmp_path / "pids").exists)
        pids = begun(tmp_path)
        assert all(map(alive, pids))
        worker.kill()
    wait_for(lambda: not any(map(alive, pids)))


def test_the_command_dies_with_its_guard(tmp_path: Path) -> None:
    """Ray kills the children of a worker with it, and not what these have started."""
    guard = start(tmp_path)
    guard.kill()
    guard.wait()
    wait_for(lambda: not group(guard.pid))
    assert not any(map(alive, begun(tmp_path)))


def test_the_command_dies_with_the_process_that_watches(tmp_path: Path) -> None:
    guard = start(tmp_path)
    (watcher,) = set(group(guard.pid)) - {guard.pid, *begun(tmp_path)}
    os.kill(watcher, signal.SIGKILL)
    assert guard.wait(10) == -signal.SIGKILL
    wait_for(lambda: not any(alive(pid) for pid in begun(tmp_path)))


def test_nothing_begins_for_a_process_that_has_gone(tmp_path: Path) -> None:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    mark = tmp_path / "begun"
    command = guarded([sys.executable, "-c", f"open({str(mark)!r}, 'w')"], [os.getpid(), gone.pid])
    assert subprocess.run(command, start_new_session=True, check=False).returncode == KILLED
    assert not mark.exists()


def test_the_guard_does_not_mind_settings_of_python() -> None:
    command = guarded([sys.executable, "-I", "-c", "pass"], [os.getpid()])
    broken = {**os.environ, "PYTHONHOME": "/nowhere"}
    assert subprocess.run(command, env=broken, start_new_session=True, check=False).returncode == 0
