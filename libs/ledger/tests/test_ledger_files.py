"""A file that exists is complete."""

import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from ledger import ProductError, WaveformSet, staged


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_file_appears_whole_and_alone(tmp_path):
    with staged(tmp_path / "deep" / "file") as partial:
        partial.write_text("new")
        assert not (tmp_path / "deep" / "file").exists()
    assert (tmp_path / "deep" / "file").read_text() == "new"
    assert names(tmp_path / "deep") == ["file"]


def test_exception_leaves_the_old_state(tmp_path):
    final = tmp_path / "file"
    final.write_text("old")

    def write():
        with staged(final) as partial:
            partial.write_text("half")
            raise RuntimeError("halfway")

    with pytest.raises(RuntimeError, match="halfway"):
        write()
    assert final.read_text() == "old"
    assert names(tmp_path) == ["file"]


def test_folder_replaces_folder(tmp_path):
    for content in ("old", "new"):
        with staged(tmp_path / "folder") as partial:
            partial.mkdir()
            (partial / content).write_text(content)
    assert names(tmp_path / "folder") == ["new"]
    assert names(tmp_path) == ["folder"]


def test_nothing_written_is_an_error(tmp_path):
    sentence = r"nothing was written for .*file"
    with pytest.raises(ProductError, match=sentence), staged(tmp_path / "file"):
        pass


def test_stale_partials_of_the_same_destination_go(tmp_path):
    (tmp_path / ".file.1.partial").write_text("half a file")
    (tmp_path / ".file.2.partial").mkdir()
    (tmp_path / ".other.1.partial").write_text("of another destination")
    with staged(tmp_path / "file") as partial:
        partial.write_text("whole")
    assert names(tmp_path) == [".other.1.partial", "file"]


WRITER = """
import sys, time
from ledger import staged
with staged(sys.argv[1]) as partial:
    partial.write_text("half")
    print("writing", flush=True)
    time.sleep(60)
"""


def test_sigkill_leaves_a_hidden_partial_that_the_next_write_removes(tmp_path):
    final = tmp_path / "product.hdf5"
    writer = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(final)], stdout=subprocess.PIPE, text=True
    )
    assert writer.stdout is not None
    assert writer.stdout.readline() == "writing\n"
    os.kill(writer.pid, signal.SIGKILL)
    writer.wait()
    writer.stdout.close()
    (left,) = names(tmp_path)
    assert left.startswith(".product.hdf5.")
    assert left.endswith(".partial")
    with staged(final) as partial:
        partial.write_text("whole")
    assert names(tmp_path) == ["product.hdf5"]


def test_file_in_place_of_the_folder_is_a_sentence(tmp_path):
    (tmp_path / "store").write_text("a file")
    for place in ("store/file", "store/deep/file"):
        sentence = r"cannot write .*AFRAME_STORE"
        with pytest.raises(ProductError, match=sentence), staged(tmp_path / place):
            pytest.fail("there is nothing to write to")


@pytest.fixture
def full_disk(tmp_path):
    """A file system of 512 kB."""
    folder = tmp_path / "small"
    folder.mkdir()
    mount = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=512k", "tmpfs", str(folder)],
        capture_output=True,
        text=True,
        check=False,
    )
    if mount.returncode:
        pytest.skip(f"cannot mount a small tmpfs: {mount.stderr.strip()}")
    yield folder
    for _ in range(20):
        if subprocess.run(["umount", str(folder)], check=False).returncode == 0:
            break
        time.sleep(0.1)


def test_full_disk_is_a_sentence_and_leaves_nothing(full_disk, provenance):
    content = np.random.default_rng(0).normal(size=(64, 8192)).astype("float32")
    waveforms = WaveformSet(
        num_failed=0,
        sample_rate=1024.0,
        coalescence=1.0,
        parameters={},
        plus=content,
        cross=content,
    )
    with pytest.raises(ProductError, match="no space left on the device") as caught:
        waveforms.write(full_disk / "waveforms.hdf5", provenance)
    assert str(full_disk / "waveforms.hdf5") in str(caught.value)
    assert names(full_disk) == []
    # the process is whole: HDF5 is not left with a file that it cannot close
    small = WaveformSet(
        num_failed=0,
        sample_rate=1024.0,
        coalescence=1.0,
        parameters={},
        plus=content[:1],
        cross=content[:1],
    )
    small.write(full_disk / "small.hdf5", provenance)
    assert WaveformSet.read(full_disk / "small.hdf5").sample_rate == 1024.0
    (full_disk / "small.hdf5").unlink()

    def write():
        with staged(full_disk / "text") as partial:
            partial.write_bytes(b"x" * 2**20)

    with pytest.raises(ProductError, match="no space left on the device"):
        write()
    assert names(full_disk) == []
