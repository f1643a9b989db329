"""A file of the mock data challenge through the pipeline, read back with h5py alone."""

import json
import shutil
import subprocess

import h5py
import luigi
import numpy as np
import pytest
from conftest import REPOSITORY, run_law
from pretrained_inputs import GPS, make_model, wall_times, write_challenge

from aframe.environment import ensure
from aframe.pipelines.mdc import MDC

PIPELINE = "aframe.pipelines.mdc.MDC"
SIGNAL = 125.0
# Start and length: a gap, an overlap from 140 to 160.5, one too short for a score.
SEGMENTS = [(0, 60), (100.5, 60), (140, 50), (300, 8)]
# What the search takes of each piece that is left: kernel and integration, PSD and filter.
TAKEN = 1.5 + 0.5 + 8 + 1


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    """The smallest experiment with a band that allows resampling, a network, a file."""
    folder = tmp_path_factory.mktemp("mdc")
    (folder / "mine").mkdir()
    text = (REPOSITORY / "configs/smoke/experiment.yaml").read_text()
    text = text.replace("name: smoke", "name: mine\nlowpass: 200")
    (folder / "mine/experiment.yaml").write_text(text)
    make_model(REPOSITORY, folder / "mine", folder / "run", folder / "models/tiny")
    write_challenge(folder / "challenge.hdf", SEGMENTS, SIGNAL)
    return folder


@pytest.fixture(scope="module")
def searched(inputs):
    """The pipeline, run once with the network as `models/` keeps it."""
    result = run_law(
        PIPELINE,
        "--input",
        str(inputs / "challenge.hdf"),
        "--output",
        str(inputs / "events.hdf"),
        "--model",
        str(inputs / "models/tiny"),
        store=inputs / "store",
    )
    assert result.returncode == 0, result.stderr[-3000:]
    (version,) = (inputs / "store/mdc-tiny").iterdir()
    return inputs, version, result.stderr


def events(path):
    with h5py.File(path) as file:
        assert set(file) == {"time", "stat", "var"}
        assert all(dataset.dtype == np.float64 for dataset in file.values())
        return tuple(file[name][()] for name in ("time", "stat", "var"))


def test_the_signal_is_the_loudest_event(searched):
    time, stat, var = events(searched[0] / "events.hdf")
    loudest = stat.argmax()
    assert abs(time[loudest] - GPS - SIGNAL) <= var[loudest] == 0.5
    # nothing else is near it in loudness
    assert stat[loudest] > np.sort(stat)[-2] + 0.5 * np.ptp(np.delete(stat, loudest))


def test_each_time_is_searched_once(searched):
    folder, _, log = searched
    time = events(folder / "events.hdf")[0] - GPS
    # a second event within the cluster length would come from strain that is there twice
    assert (np.diff(time) > 2 - 0.5).all()
    pieces = [(0, 60), (100.5, 160.5), (160.5, 190)]
    assert all(any(start + 8 < t < stop for start, stop in pieces) for t in time)
    assert all(((start < time) & (time < stop)).any() for start, stop in pieces)
    with h5py.File(folder / "events.hdf") as file:
        livetime = file.attrs["livetime"]
    # a score is a sixteenth of a second, the filters of the resampling take 72 ms at either end
    expected = sum(stop - start - TAKEN for start, stop in pieces)
    assert livetime == pytest.approx(expected, abs=3 * 0.35)
    assert f"a piece of 8.0 s at {GPS + 300} is shorter than 10.5 s, dropped" in log
    assert f"H1 has [{GPS + 140}, {GPS + 160.5}) twice" in log


def test_stages_are_those_of_a_search(searched):
    _, version, log = searched
    stages = {"ImportSearched", "RestoreModel", "ExportModel-0", "ChallengeEvents-0"}
    assert set(wall_times(version)) == stages
    assert "Events: " in log


def test_a_second_run_searches_nothing_but_writes_where_it_is_told(searched):
    folder, version, _ = searched
    before = (version / "events-0.5.hdf5").stat().st_mtime_ns
    result = run_law(
        PIPELINE,
        "--input",
        str(folder / "challenge.hdf"),
        "--output",
        str(folder / "again.hdf"),
        "--model",
        str(folder / "models/tiny"),
        store=folder / "store",
    )
    assert result.returncode == 0, result.stderr[-3000:]
    assert "nothing to do" in result.stderr
    assert (folder / "again.hdf").read_bytes() == (folder / "events.hdf").read_bytes()
    assert (version / "events-0.5.hdf5").stat().st_mtime_ns == before


def test_the_stage_by_itself_gives_the_same(searched):
    """Two commands: one brings the file to the network's rate, one searches it."""
    folder, version, _ = searched
    python = ensure(REPOSITORY / "projects" / "infer")
    subprocess.run(
        [
            str(python), "-m", "infer", "mdc",
            "--input", str(version / "strain/index.hdf5"),
            "--repository", str(version / "repository-0"),
            "--output", str(folder / "stage.hdf"),
        ],
        check=True,
        capture_output=True,
    )  # fmt: skip
    for mine, theirs in zip(
        events(folder / "stage.hdf"), events(folder / "events.hdf"), strict=True
    ):
        np.testing.assert_array_equal(mine, theirs)


def test_a_repository_is_searched_with_as_it_is(searched, monkeypatch):
    """It is copied, and nothing has to be exported."""
    folder, version, _ = searched
    monkeypatch.setenv("AFRAME_STORE", str(folder / "other"))
    luigi.task_register.Register.clear_instance_cache()
    task = MDC(
        input=str(folder / "challenge.hdf"),
        output=str(folder / "third.hdf"),
        model=str(version / "repository-0"),
    )
    export = task.requires()["repository"]
    assert export.requires() == []
    export.run()
    copied = task.path("repository-0")
    for path in (version / "repository-0").rglob("*"):
        if path.is_file():
            other = copied / path.relative_to(version / "repository-0")
            assert other.read_bytes() == path.read_bytes()
    assert task.analysis.experiment.sample_rate == 512
    shutil.rmtree(folder / "other")


def test_options_with_names_of_methods(inputs, monkeypatch):
    """law calls both of every task; they stay the paths that they are."""
    monkeypatch.setenv("AFRAME_STORE", str(inputs / "graph"))
    luigi.task_register.Register.clear_instance_cache()
    task = MDC(input=str(inputs / "challenge.hdf"), output="events.hdf", model=str(inputs / "run"))
    assert task.input == str(inputs / "challenge.hdf")
    assert task.output == "events.hdf"
    assert task.output() == task.input() == []
    assert task.req(task, output="other.hdf").output == "other.hdf"
    assert json.loads(json.dumps(task.to_str_params()))["output"] == "events.hdf"
    (end,) = task.ends()
    assert not hasattr(end, "model")
    assert end.output().path == str(task.path("events-0.5.hdf5"))
