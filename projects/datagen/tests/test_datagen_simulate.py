import shutil

import h5py
import numpy as np
import pytest
from conftest import ROOT, SMOKE
from datagen.cli import main
from datagen.strain_files import role_in_name, strain_file_name
from gwpy.timeseries import TimeSeries
from ledger import StrainIndex, StrainSegment


def test_same_bytes_on_a_rerun_and_gwpy_reads_them(tmp_path, smoke):
    for name in ("a", "b"):
        with pytest.raises(SystemExit) as stopped:
            main(
                f"simulate --experiment {SMOKE} --branch 1 --output {tmp_path / name}.hdf5".split()
            )
        assert stopped.value.code == 0
    assert (tmp_path / "a.hdf5").read_bytes() == (tmp_path / "b.hdf5").read_bytes()
    role, start, stop = smoke.strain.files()[1]
    series = TimeSeries.read(tmp_path / "a.hdf5", "L1", format="hdf5")
    assert (series.t0.value, series.duration.value) == (start, stop - start)
    assert role == "training"


def test_index_lists_the_files(smoke_strain, smoke):
    index = StrainIndex.read(smoke_strain)
    assert index.num_folds == 1
    for role in ("training", "validation", "search"):
        files = index.files(smoke_strain, role)
        spans = [(start, stop) for r, start, stop in smoke.strain.files() if r == role]
        assert [(f.gps_start, f.gps_stop) for f in files] == spans
        for file in files:
            assert StrainSegment.read(file.path).gps_start == file.gps_start
    # the folder may move
    with h5py.File(smoke_strain) as file:
        assert not any(str(p).startswith("b'/") for p in file["path"][()])


def test_index_rerun_is_the_same_bytes(smoke_strain):
    from datagen.index import index_strain

    before = smoke_strain.read_bytes()
    index_strain(SMOKE, smoke_strain.parent)
    assert smoke_strain.read_bytes() == before


def test_names_of_files():
    assert strain_file_name("search", 1240579784.0, 256.0) == "strain-search-1240579784-256.hdf5"
    assert strain_file_name("search", 1126259398.4, 0.5) == "strain-search-1126259398.4-0.5.hdf5"
    assert role_in_name("strain-search-1126259398.4-0.5.hdf5") == "search"
    assert role_in_name("index.hdf5") is None


def test_bad_branch(fails, tmp_path):
    message = fails(
        "simulate", "--experiment", SMOKE, "--branch", 99, "--output", tmp_path / "x.hdf5"
    )
    assert "no branch 99" in message
    assert "0 to 5" in message


def test_experiment_of_the_other_kind(fails, tmp_path):
    other = ROOT / "configs" / "open-events"
    for verb in (
        ["simulate", "--branch", 0, "--output", tmp_path / "x.hdf5"],
        ["index", "--folder", tmp_path],
    ):
        assert "expected simulate" in fails(verb[0], "--experiment", other, *verb[1:])


def test_unknown_experiment(fails, tmp_path):
    message = fails("index", "--experiment", tmp_path / "no", "--folder", tmp_path)
    assert "no experiment file" in message


def test_index_names_missing_files(fails, tmp_path):
    message = fails("index", "--experiment", SMOKE, "--folder", tmp_path)
    assert "lacks 6 of 6" in message
    assert "strain-training-1240579784-256.hdf5" in message


def test_index_refuses_other_settings_and_broken_files(fails, tmp_path, smoke_strain, edited):
    folder = tmp_path / "copy"
    shutil.copytree(smoke_strain.parent, folder)
    message = fails("index", "--experiment", edited(sample_rate=1024), "--folder", folder)
    assert "sample_rate = 512" in message
    assert "1024" in message
    extra = folder / "strain-search-1-2.hdf5"
    shutil.copy(folder / "strain-search-1240581784-256.hdf5", extra)
    assert "strain-search-1-2.hdf5" in fails("index", "--experiment", SMOKE, "--folder", folder)
    extra.unlink()
    broken = folder / "strain-search-1240581784-256.hdf5"
    broken.write_bytes(broken.read_bytes()[:5000])
    message = fails("index", "--experiment", SMOKE, "--folder", folder)
    assert broken.name in message
    assert "truncated" in message


def test_simulated_strain_is_finite(smoke_strain):
    file = StrainIndex.read(smoke_strain).files(smoke_strain, "search")[0]
    segment = StrainSegment.read(file.path)
    assert segment.strain["H1"].dtype == np.float32
    assert 1e-23 < segment.strain["H1"].std() < 1e-19
