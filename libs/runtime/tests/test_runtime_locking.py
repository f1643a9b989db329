"""Locks between processes."""

import subprocess
import sys
import time

from runtime.locking import held

HOLD = """
import sys, time
from pathlib import Path
from runtime.locking import held
with held(Path(sys.argv[1])) as mine:
    print(mine, flush=True)
    time.sleep(10)
"""


def test_one_process_holds_it_and_it_goes_with_the_process(tmp_path):
    path = tmp_path / "deep" / ".lock"
    command = [sys.executable, "-c", HOLD, str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout.readline() == "True\n"
        with held(path) as mine:
            assert not mine
        other.kill()
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        with held(path) as mine:
            if mine:
                break
        time.sleep(0.01)
    assert mine
    with held(path) as again:
        assert again
