import os
import signal
import sys
import threading
import time

import numpy as np
import pytest
from deepclean.frames import FrameError, GuardedReader, write_frame

CHANNEL = "H1:A"


@pytest.fixture
def frame(tmp_path):
    path = tmp_path / "H-A-100-1.gwf"
    write_frame(path, 100, 1, {CHANNEL: np.arange(16.0)})
    return path


def read(reader, path):
    return reader.read(path, 100, [CHANNEL])[CHANNEL].values


def odd_reader(tmp_path, code):
    """A reader whose process does something first, once in all."""
    mark = tmp_path / "done"
    script = tmp_path / "odd.py"
    script.write_text(
        "import os, sys, time\n"
        "from pathlib import Path\n"
        "from deepclean.frames.process import main\n"
        f"mark = Path({str(mark)!r})\n"
        "if not mark.exists():\n"
        "    mark.touch()\n"
        f"    {code}\n"
        "main()\n"
    )
    return GuardedReader(command=[sys.executable, str(script)])


def test_a_reader_that_is_killed_is_replaced_and_asked_again(frame):
    with GuardedReader() as reader:
        read(reader, frame)
        for _ in range(2):
            os.kill(reader._process.pid, signal.SIGKILL)
            reader._process.wait()
            np.testing.assert_array_equal(read(reader, frame), np.arange(16.0))


def test_a_reader_that_is_killed_while_it_reads_is_asked_again(tmp_path, frame):
    with odd_reader(tmp_path, "sys.stdin.buffer.read(1); os.abort()") as reader:
        np.testing.assert_array_equal(read(reader, frame), np.arange(16.0))


def test_a_frame_that_ends_every_reader_is_broken(frame):
    code = "import sys, os; sys.stdin.buffer.read(1); os.abort()"
    with (
        GuardedReader(command=[sys.executable, "-c", code]) as reader,
        pytest.raises(FrameError, match="ended the process"),
    ):
        read(reader, frame)


def test_a_reader_that_hangs_is_replaced(frame):
    with GuardedReader(timeout=0.5) as reader:
        read(reader, frame)
        stopped = reader._process.pid
        os.kill(stopped, signal.SIGSTOP)
        begun = time.monotonic()
        with pytest.raises(FrameError, match="took more than"):
            read(reader, frame)
        assert 0.4 < time.monotonic() - begun < 5
        with pytest.raises(ProcessLookupError):
            os.kill(stopped, 0)
        np.testing.assert_array_equal(read(reader, frame), np.arange(16.0))


def test_a_reader_that_hangs_within_its_answer_is_replaced(tmp_path):
    # larger than a pipe holds: the answer is under way when the process stops
    path = tmp_path / "H-A-100-1.gwf"
    write_frame(path, 100, 1, {CHANNEL: np.zeros(1 << 20)})
    with GuardedReader(timeout=1.0) as reader:
        read(reader, path)
        pid, pause = reader._process.pid, threading.Event()

        def stop():
            pause.wait(0.3)
            os.kill(pid, signal.SIGSTOP)

        thread = threading.Thread(target=stop)
        thread.start()
        receive = reader._receive

        def slowly(size, deadline):
            if size > 1000:
                thread.join()
            return receive(size, deadline)

        reader._receive = slowly
        with pytest.raises(FrameError, match="took more than"):
            read(reader, path)
        reader._receive = receive
        assert len(read(reader, path)) == 1 << 20


def test_what_a_library_prints_is_no_answer(tmp_path, frame, capfd):
    # lalframe prints to the descriptor itself, while a frame is read
    script = tmp_path / "printing.py"
    script.write_text(
        "import os\n"
        "from deepclean.frames import process\n"
        "read_frame = process.read_frame\n"
        "def printing(*arguments):\n"
        "    os.write(1, b'XLAL Error\\n')\n"
        "    return read_frame(*arguments)\n"
        "process.read_frame = printing\n"
        "process.main()\n"
    )
    with GuardedReader(command=[sys.executable, str(script)]) as reader:
        for _ in range(3):
            np.testing.assert_array_equal(read(reader, frame), np.arange(16.0))
    assert capfd.readouterr().err.count("XLAL Error") == 3
