"""Events as the mock data challenge wants them, read with h5py alone."""

import dataclasses
from pathlib import Path
from types import SimpleNamespace

import h5py
import numpy as np
import pytest
from conftest import FILES, Setup
from infer.mdc import challenge_events, mdc
from infer.prepared import Prepared
from infer.search import frames, zero_lag
from infer.zero_lag import find_zero_lag
from ledger import EventSet, StrainIndex, read_provenance
from ledger.product import product_id
from runtime import make_provenance
from runtime.experiment import load_experiment


def columns(path: Path) -> dict[str, np.ndarray]:
    with h5py.File(path) as file:
        assert all(file[name].dtype == np.float64 for name in file)
        return {name: file[name][()] for name in file}


def index_of(number: int, setup: Setup, path: Path, length: float | None = None) -> None:
    """Write the index of a search of one file, of which the beginning can be all there is."""
    index = StrainIndex.read(setup.folder / "index.hdf5")
    here = slice(number, number + 1)
    stop = index.gps_stop if length is None else index.gps_start + length
    dataclasses.replace(
        index,
        path=[str(setup.folder / index.path[number])],
        label=index.label[here],
        gps_start=index.gps_start[here],
        gps_stop=stop[here],
        role=index.role[here],
    ).write(path, make_provenance("test", load_experiment(setup.experiment)))


def zero_lag_of(number: int, setup: Setup, repository: Path, folder: Path) -> EventSet:
    """Events that the search finds in one file."""
    folder.mkdir()
    index_of(number, setup, folder / "index.hdf5")
    inputs = {"experiment": setup.experiment, "strain": folder / "index.hdf5"}
    frames(repository=repository, output=folder / "frames", **inputs)
    output = folder / "zero-lag.hdf5"
    zero_lag(repository=repository, frames=folder / "frames", output=output, **inputs)
    return EventSet.read(output)


@pytest.mark.parametrize("kind", ["streaming", "windowed"])
def test_events_are_those_of_the_zero_lag(setup: Setup, tmp_path: Path, kind: str) -> None:
    repository = getattr(setup, kind)
    mdc(setup.folder / "index.hdf5", repository, tmp_path / "events.hdf", tolerance=0.25)
    found = columns(tmp_path / "events.hdf")
    assert set(found) == {"time", "stat", "var"}
    assert (found["var"] == 0.25).all()
    assert (np.diff(found["time"]) > 0).all()
    expected = [zero_lag_of(i, setup, repository, tmp_path / str(i)) for i in range(len(FILES))]
    times = np.concatenate([events.time[:, 0] for events in expected])
    order = np.argsort(times)
    np.testing.assert_array_equal(found["time"], times[order])
    statistic = np.concatenate([events.statistic for events in expected])
    np.testing.assert_array_equal(found["stat"], statistic[order])
    with h5py.File(tmp_path / "events.hdf") as file:
        assert file.attrs["livetime"] == sum(events.livetime for events in expected)
    parents = read_provenance(tmp_path / "events.hdf").parents
    assert parents["strain"] == product_id(setup.folder / "index.hdf5")
    if kind == "streaming":
        assert abs(found["time"][found["stat"].argmax()] - 1030) < 0.5
    # nothing is left beside it
    assert {path.name for path in tmp_path.iterdir()} - set("012") == {"events.hdf"}


def part(time: list[list[float]], statistic: list[float], livetime: float) -> SimpleNamespace:
    return SimpleNamespace(
        time=np.array(time).reshape(-1, 2),
        statistic=np.array(statistic, dtype=np.float32),
        livetime=livetime,
    )


def test_events_of_all_files_are_in_the_order_of_their_times() -> None:
    parts = [
        part([[30.01, 30.01], [10.02, 10.02]], [1.0, 3.0], 40.0),
        part([], [], 2.5),
        part([[20.0, 20.0]], [2.0], 5.0),
    ]
    made = challenge_events(parts, 0.5)
    assert made.time.tolist() == [10.02, 20.0, 30.01]
    assert made.stat.tolist() == [3.0, 2.0, 1.0]
    assert made.var.tolist() == [0.5] * 3
    assert made.livetime == 47.5


def test_events_of_a_slide_have_no_time_for_the_challenge() -> None:
    with pytest.raises(ValueError, match="a time of its own in each detector"):
        challenge_events([part([[30.0, 30.0], [10.0, 10.02]], [1.0, 3.0], 1.0)], 0.5)


def test_disk_and_memory_hold_one_file_at_a_time(
    setup: Setup, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The space of the file before is free again: nothing has its arrays open."""
    held, stretches, mapped = [], [], []

    def watched(prepared: Prepared, *arguments: object) -> EventSet:
        held.append(sum(p.stat().st_size for p in tmp_path.rglob("*.npy")))
        stretches.append(len(prepared.stretches))
        maps = Path("/proc/self/maps").read_text().splitlines()
        mapped.append([line for line in maps if str(tmp_path) in line and "(deleted)" in line])
        return find_zero_lag(prepared, *arguments)

    monkeypatch.setattr("infer.mdc.find_zero_lag", watched)
    mdc(setup.folder / "index.hdf5", setup.streaming, tmp_path / "events.hdf")
    assert stretches == [1] * len(FILES)
    # files are ever shorter, and nothing is left of those before
    assert held[1] < 0.85 * held[0]
    assert held[2] < 0.85 * held[1]
    assert mapped == [[], [], []]


def test_files_that_are_all_too_short_are_named(setup: Setup, tmp_path: Path) -> None:
    index_of(0, setup, tmp_path / "short.hdf5", 10.5)
    with pytest.raises(ValueError, match="short"):
        mdc(tmp_path / "short.hdf5", setup.streaming, tmp_path / "events.hdf")
    assert [path.name for path in tmp_path.iterdir()] == ["short.hdf5"]


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
