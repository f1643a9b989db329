import shutil

import h5py
import numpy as np
import pytest
from conftest import ROOT, SMOKE
from datagen.cli import main
from datagen.simulate import simulate_strain
from gwpy.timeseries import TimeSeries
from ledger import StrainIndex, StrainSegment
from ledger.strain import role_in_name, strain_file_name
from runtime import load_experiment


def test_same_bytes_on_a_rerun_and_gwpy_reads_them(tmp_path, smoke):
    for name in ("a", "b"):
        with pytest.raises(SystemExit) as stopped:
            main(
                f"simulate --experiment {SMOKE} --branch 1 --output {tmp_path / name}.hdf5".split()
            )
        assert stopped.value.code == 0
    assert (tmp_path / "a.hdf5").read_bytes() == (tmp_path / "b.hdf5").read_bytes()
    role, start, stop = smoke.strain.simulated_files()[1]
    series = TimeSeries.read(tmp_path / "a.hdf5", "L1", format="hdf5")
    assert (series.t0.value, series.duration.value) == (start, stop - start)
    assert role == "training"


def test_index_lists_the_files(smoke_strain, smoke):
    index = StrainIndex.read(smoke_strain)
    assert index.num_folds == 1
    for role in ("training", "validation", "search"):
        files = index.files(smoke_strain, role)
        spans = [(start, stop) for r, start, stop in smoke.strain.simulated_files() if r == role]
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


FETCHED = {
    "source": "fetch",
    "training": [1240579784, 1240580284],
    "validation": [1240580784, 1240581084],
    "search": [1240581784, 1240582184],
    "file_length": 256,
}
NOISE = {"noise_curves": {"H1": "aLIGO_O4_high_asd.txt", "L1": "aLIGO_O4_high_asd.txt"}}


def test_simulated_roles_of_fetched_strain_are_as_if_all_were_simulated(
    edited, tmp_path, smoke, smoke_strain
):
    folder = edited(lowpass=200.0, strain={**FETCHED, "simulated": ["validation"], "noise": NOISE})
    files = [f for f in smoke.strain.simulated_files() if f[0] == "validation"]
    for branch, (role, start, stop) in enumerate(files):
        simulate_strain(folder, branch, tmp_path / "x.hdf5")
        ours = StrainSegment.read(tmp_path / "x.hdf5")
        name = strain_file_name(role, start, stop - start)
        theirs = StrainSegment.read(smoke_strain.parent / name)
        assert ours.gps_start == theirs.gps_start
        for ifo in smoke.ifos:
            assert (ours.strain[ifo] == theirs.strain[ifo]).all()
    with pytest.raises(ValueError, match="no branch 2"):
        simulate_strain(folder, len(files), tmp_path / "y.hdf5")


def test_fetched_strain_that_simulates_nothing(edited, fails, tmp_path):
    folder = edited(lowpass=200.0, strain=FETCHED)
    message = fails("simulate", "--experiment", folder, "--branch", 0, "--output", tmp_path / "x")
    assert "fetches all its strain and simulates none" in message


def test_changing_glitchy_strain_does_not_depend_on_the_files(edited, tmp_path, smoke):
    noise = {
        "strain__noise_curves": {
            "H1": ["aLIGO_O4_high_asd.txt", "psd.hdf5", "aLIGO_ZERO_DET_high_P_asd.txt"],
            "L1": "aLIGO_O4_high_asd.txt",
        },
        "strain__variation_length": 100.0,
        "strain__glitches": {"rate": 0.1},
    }
    strains = []
    for length in (500, 77.25):
        folder = edited(strain__file_length=length, **noise)
        with h5py.File(folder / "psd.hdf5", "w") as file:
            file["data"] = np.full(257, 1e-46)
            file["data"].attrs["delta_f"] = 1.0
        files = load_experiment(folder).strain.simulated_files()
        pieces = []
        for branch, (role, _, _) in enumerate(files):
            if role == "training":
                simulate_strain(folder, branch, tmp_path / "x.hdf5")
                pieces.append(StrainSegment.read(tmp_path / "x.hdf5").strain)
        strains.append({i: np.concatenate([p[i] for p in pieces]) for i in smoke.ifos})
    assert len(pieces) == 7
    for ifo in smoke.ifos:
        assert (strains[0][ifo] == strains[1][ifo]).all()


def test_bad_branch(fails, tmp_path):
    message = fails(
        "simulate", "--experiment", SMOKE, "--branch", 99, "--output", tmp_path / "x.hdf5"
    )
    assert "no branch 99" in message
    assert "0 to 5" in message


def test_experiment_of_the_other_kind(fails, tmp_path):
    message = fails(
        *("simulate", "--experiment", ROOT / "configs" / "open-events"),
        *("--branch", 0, "--output", tmp_path / "x.hdf5"),
    )
    assert "expected simulate" in message


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
