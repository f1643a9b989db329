"""What a user can get wrong ends in one sentence and a non-zero exit code of `law run`."""

import subprocess
import time

import pytest
from conftest import PIPELINE, run_law


def sentence_of(result) -> str:
    """The one error line, after checks that it is one and that there is no traceback."""
    assert result.returncode not in (0, None)
    assert "Traceback" not in result.stderr
    errors = [line for line in result.stderr.splitlines() if line.startswith("ERROR")]
    assert len(errors) == 1, result.stderr
    return errors[0]


def test_unknown_experiment(tmp_path):
    result = run_law(PIPELINE, "--experiment", "nowhere", store=tmp_path)
    assert "no experiment 'nowhere': configs/ has" in sentence_of(result)
    assert "quickstart" in sentence_of(result)
    assert len(result.stderr.splitlines()) == 1


def test_no_experiment(tmp_path):
    result = run_law("aframe.TrainLocal", store=tmp_path)
    assert "requires the 'experiment' parameter" in sentence_of(result)


def test_unknown_task(tmp_path):
    result = run_law("aframe.TrainGlobal", "--experiment", "smoke", store=tmp_path)
    assert result.returncode != 0
    assert "aframe.TrainGlobal" in result.stderr
    assert "Traceback" not in result.stderr


def test_broken_experiment(tmp_path, mine):
    folder = mine({"sample_rate": 1000})
    result = run_law(PIPELINE, "--experiment", str(folder), store=tmp_path / "store")
    assert "sample_rate 1000.0 is not 64 Hz times a power of two" in sentence_of(result)
    assert not (tmp_path / "store").exists()


def test_missing_strain_folder(tmp_path):
    arguments = (PIPELINE, "--experiment", "open-events")
    assert "give --strain FOLDER" in sentence_of(run_law(*arguments, store=tmp_path))
    result = run_law(*arguments, "--strain", str(tmp_path / "gone"), store=tmp_path)
    assert f"no strain folder {tmp_path}/gone" in sentence_of(result)


def test_unwritable_store(tmp_path):
    (tmp_path / "file").write_text("a file where the store should be")
    arguments = ("aframe.TrainingWaveforms", "--experiment", "smoke")
    for store in (tmp_path / "file", tmp_path / "file" / "store"):
        begun = time.monotonic()
        error = sentence_of(run_law(*arguments, store=store))
        assert "cannot write" in error
        assert "AFRAME_STORE" in error
        assert time.monotonic() - begun < 15


def test_a_folder_without_strain(tmp_path):
    strain = tmp_path / "strain"
    strain.mkdir()
    (strain / "GW1.hdf5").write_bytes(b"not HDF5 at all")
    arguments = ("aframe.ImportStrain", "--experiment", "open-events", "--strain", str(strain))
    result = run_law(*arguments, store=tmp_path / "store")
    assert "GW1.hdf5" in sentence_of(result)
    assert not list((tmp_path / "store").rglob("*.hdf5"))


@pytest.fixture
def full_disk(tmp_path):
    """A file system of 1 MB: room for the records of a stage, not for its product."""
    folder = tmp_path / "small"
    folder.mkdir()
    mount = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)],
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


def test_full_disk(full_disk):
    arguments = ("aframe.SimulateStrain", "--experiment", "smoke", "--branch", "0")
    result = run_law(*arguments, store=full_disk)
    assert "no space left on the device" in sentence_of(result)
    left = [path.name for path in full_disk.rglob("*") if path.is_file()]
    assert not [name for name in left if name.endswith((".hdf5", ".partial"))], left


def test_no_room_even_for_the_records(full_disk):
    (full_disk / "ballast").write_bytes(bytes(2**20))
    arguments = ("aframe.SimulateStrain", "--experiment", "smoke", "--branch", "0")
    assert "no space left" in sentence_of(run_law(*arguments, store=full_disk)).lower()
