"""Events as the mock data challenge wants them, read with h5py alone."""

from pathlib import Path
from types import SimpleNamespace

import h5py
import numpy as np
import pytest
from conftest import Setup
from infer.mdc import challenge_events, mdc
from infer.search import frames, zero_lag
from ledger import EventSet, StrainIndex, read_provenance
from ledger.product import product_id
from runtime import make_provenance
from runtime.experiment import load_experiment


def columns(path: Path) -> dict[str, np.ndarray]:
    with h5py.File(path) as file:
        assert all(file[name].dtype == np.float64 for name in file)
        return {name: file[name][()] for name in file}


@pytest.mark.parametrize("kind", ["streaming", "windowed"])
def test_events_are_those_of_the_zero_lag(setup: Setup, tmp_path: Path, kind: str) -> None:
    repository = getattr(setup, kind)
    mdc(setup.folder / "index.hdf5", repository, tmp_path / "events.hdf", tolerance=0.25)
    found = columns(tmp_path / "events.hdf")
    assert set(found) == {"time", "stat", "var"}
    assert (found["var"] == 0.25).all()
    assert (np.diff(found["time"]) > 0).all()
    inputs = {"experiment": setup.experiment, "strain": setup.folder / "index.hdf5"}
    frames(repository=repository, output=tmp_path / "frames", **inputs)
    zero_lag_path = tmp_path / "zero-lag.hdf5"
    zero_lag(repository=repository, frames=tmp_path / "frames", output=zero_lag_path, **inputs)
    expected = EventSet.read(zero_lag_path)
    order = np.argsort(expected.time[:, 0])
    np.testing.assert_array_equal(found["time"], expected.time[order, 0])
    np.testing.assert_array_equal(found["stat"], expected.statistic[order])
    with h5py.File(tmp_path / "events.hdf") as file:
        assert file.attrs["livetime"] == expected.livetime
    parents = read_provenance(tmp_path / "events.hdf").parents
    assert parents["strain"] == product_id(setup.folder / "index.hdf5")
    if kind == "streaming":
        assert abs(found["time"][found["stat"].argmax()] - 1030) < 0.5
    # nothing is left beside it
    others = {"frames", "zero-lag.hdf5"}
    assert {path.name for path in tmp_path.iterdir()} - others == {"events.hdf"}


def test_times_are_the_mean_of_the_detectors_and_in_order() -> None:
    zero_lag = SimpleNamespace(
        time=np.array([[30.0, 30.01], [10.0, 10.02], [20.0, 20.0]]),
        statistic=np.array([1.0, 3.0, 2.0], dtype=np.float32),
        livetime=40.0,
    )
    made = challenge_events(zero_lag, 0.5)
    np.testing.assert_allclose(made.time, [10.01, 20.0, 30.005], rtol=0, atol=1e-12)
    assert made.stat.tolist() == [3.0, 2.0, 1.0]
    assert made.var.tolist() == [0.5] * 3


def test_what_cannot_be_searched_is_named(setup: Setup, tmp_path: Path) -> None:
    index, output = setup.folder / "index.hdf5", tmp_path / "events.hdf"
    with pytest.raises(ValueError, match="--tolerance 0: expected a time above 0 s"):
        mdc(index, setup.streaming, output, tolerance=0)
    with pytest.raises(FileNotFoundError, match="no model repository"):
        mdc(index, tmp_path / "nothing", output)
    experiment = load_experiment(setup.experiment)
    slower = experiment.model_copy(update={"sample_rate": 256.0})
    StrainIndex.read(index).write(tmp_path / "slow.hdf5", make_provenance("test", slower))
    with pytest.raises(ValueError, match=r"slow.hdf5 was made with sample_rate = 256.0"):
        mdc(tmp_path / "slow.hdf5", setup.streaming, output)
    assert not output.exists()
