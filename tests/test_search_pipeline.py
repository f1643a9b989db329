"""A folder of strain files, a network that was trained before, one command."""

import json
import os
from pathlib import Path

import h5py
import luigi
import numpy as np
import pytest
import yaml
from conftest import REPOSITORY, run_law
from pretrained_inputs import GPS, IFOS, RATE, burst, make_model, noise, wall_times
from runtime import ExperimentError, load_experiment

from aframe import pretrained
from aframe.analysis import load_analysis
from aframe.pipelines.search import Search

SIGNAL = 130.0
FILES = {"a": 0.0, "b": 100.0, "c": 200.0}
LENGTH = 48.0


@pytest.fixture(autouse=True)
def _nothing_remembered():
    load_analysis.cache_clear()
    pretrained.load_pretrained.cache_clear()
    pretrained.write_experiment.cache_clear()
    luigi.task_register.Register.clear_instance_cache()


@pytest.fixture
def described(tmp_path, mine, monkeypatch):
    """Make a folder that looks like a kept network, of the smallest experiment."""
    monkeypatch.setenv("AFRAME_STORE", str(tmp_path / "store"))

    def make(changes=None, name="tiny", **more):
        settings = load_experiment(mine(changes)).settings()
        folder = tmp_path / "models" / name
        folder.mkdir(parents=True, exist_ok=True)
        content = {"settings": settings, **more}
        (folder / "model.yaml").write_text(yaml.safe_dump(content))
        (folder / "weights.pt").write_bytes(b"not read to build the graph")
        return folder

    return make


@pytest.fixture
def strain(tmp_path):
    folder = tmp_path / "strain"
    folder.mkdir()
    (folder / "a.hdf5").write_bytes(b"not read to build the graph")
    return folder


def search(folder, model):
    return Search(folder=str(folder), model=str(model))


def test_strain_and_repository_come_before_what_needs_them(described, strain):
    task = search(strain, described())
    first = task.requires()
    assert {type(item).__name__ for item in first.values()} == {"ImportSearched", "ExportModel"}
    assert type(first["repository"].requires()).__name__ == "RestoreModel"
    (end,) = task.ends()
    below = {type(item).__name__: item for item, _, _ in end.walk_deps()}
    assert "TrainLocal" not in {type(item).__name__ for item in end.requires()["runs"]}
    # what the others look for lies where the first two put it
    assert Path(below["Strain"].output().path).parent == Path(first["strain"].output().path)
    assert first["repository"].output().path == below["ExportLocal"].output().path


@pytest.mark.parametrize("branches", [1, 3])
def test_a_search_without_injections_makes_none(described, strain, branches):
    task = Search(
        folder=str(strain), model=str(described()), injections=False, search_branches=branches
    )
    (end,) = task.ends()
    below = {type(item).__name__: item for item, _, _ in end.walk_deps()}
    assert "InferLocal" in below
    assert not {name for name in below if "Injection" in name}
    events = below["InferLocal"]
    assert Path(events.output().path).name == "events-0-without-injections"
    assert set(events.output().files) == {"background.hdf5", "zero-lag.hdf5"}
    if branches == 1:
        assert "--injections" not in events.arguments(Path("experiment.yaml"))
    # beside the search with injections, and not in its place
    full = search(strain, described()).ends()[0]
    assert full.output().path != end.output().path


def test_the_experiment_is_that_of_the_model(described, strain, tmp_path):
    task = search(strain, described({"highpass": 40, "search.slide_step": 8}))
    experiment = task.analysis.experiment
    assert experiment.name == "search-tiny"
    assert experiment.highpass == 40
    written = load_experiment(task.experiment)
    assert written.settings() == experiment.settings()
    assert task.path().is_relative_to(tmp_path / "store" / "search-tiny")


def test_the_version_follows_the_network_the_files_and_the_numbers(described, strain):
    def version(model):
        luigi.task_register.Register.clear_instance_cache()
        pretrained.load_pretrained.cache_clear()
        pretrained.write_experiment.cache_clear()
        return search(strain, model).version

    first = version(described())
    assert version(described()) == first
    assert version(described(sha256="1234")) != first
    assert version(described({"highpass": 40})) != first
    os.utime(strain / "a.hdf5", (1, 1))
    changed = version(described())
    assert changed != first
    (strain / "b.hdf5").write_bytes(b"another")
    assert version(described()) not in (first, changed)


def test_the_folder_of_a_training_is_not_removed(described, strain):
    """What `--remove-output` asks of every output."""
    model = described()
    (model / "model.pt").write_bytes(b"trained for a week")
    restore = search(strain, model).requires()["repository"].requires()
    assert restore.complete()
    restore.output().remove()
    assert (model / "model.pt").is_file()


def test_a_population_beside_the_model_is_part_of_the_experiment(described, strain):
    model = described({"waveforms.prior": "mine.yaml"})
    (model / "mine.yaml").write_text("mass_1_source: 30\n")
    task = search(strain, model)
    assert task.analysis.files() == ["mine.yaml"]


def test_a_model_by_name_and_the_only_one(described, strain, monkeypatch):
    model = described()
    monkeypatch.setattr(pretrained, "MODELS", model.parent)
    assert pretrained.find_model("tiny") == pretrained.find_model("") == model
    described(name="other")
    with pytest.raises(ExperimentError, match=r"no --model given: models/ has other, tiny"):
        pretrained.find_model("")
    with pytest.raises(ExperimentError, match=r"no model 'tin': models/ has other, tiny"):
        search(strain, "tin")


def test_what_cannot_be_searched_is_named(described, strain, tmp_path):
    with pytest.raises(ExperimentError, match=r"no file or folder .*nothing to search"):
        search(tmp_path / "nothing", described())
    empty = described(name="empty")
    (empty / "weights.pt").unlink()
    with pytest.raises(ExperimentError, match=r"empty holds no model: expected repository"):
        search(strain, empty)
    settings = load_experiment(REPOSITORY / "configs/open-events").settings()
    folds = described(name="folds")
    (folds / "model.yaml").write_text(yaml.safe_dump({"settings": settings}))
    with pytest.raises(ExperimentError, match=r"folds was trained on one of 2 folds of a folder"):
        search(strain, folds)
    (folds / "model.yaml").write_text(yaml.safe_dump({"settings": {"name": "x"}}))
    pretrained.load_pretrained.cache_clear()
    with pytest.raises(ExperimentError, match=r"folds are of another version of this code"):
        search(strain, folds)


@pytest.mark.chain
def test_a_report_of_a_folder(tmp_path):
    """Three files at another rate than the network's, a loud signal in the second."""
    (tmp_path / "mine").mkdir()
    text = (REPOSITORY / "configs/smoke/experiment.yaml").read_text()
    text = text.replace("name: smoke", "name: mine\nlowpass: 200")
    text = text.replace("passes: 2", "passes: 1")
    (tmp_path / "mine/experiment.yaml").write_text(text)
    make_model(REPOSITORY, tmp_path / "mine", tmp_path / "run", tmp_path / "models/tiny")
    rng = np.random.default_rng(3)
    (tmp_path / "strain").mkdir()
    for name, start in FILES.items():
        with h5py.File(tmp_path / "strain" / f"{name}.hdf5", "w") as file:
            for ifo in IFOS:
                time = start + np.arange(round(LENGTH * RATE)) / RATE
                file[ifo] = noise(rng, LENGTH) + burst(time, SIGNAL)
                file[ifo].attrs.update(x0=GPS + start, dx=1 / RATE)
    result = run_law(
        "aframe.pipelines.search.Search",
        "--folder",
        str(tmp_path / "strain"),
        "--model",
        str(tmp_path / "run"),
        store=tmp_path / "store",
    )
    assert result.returncode == 0, result.stderr[-3000:]
    (version,) = (tmp_path / "store/search-run").iterdir()
    assert f"Report: {version / 'report/index.html'}" in result.stderr
    assert (version / "report/index.html").is_file()
    stages = wall_times(version)
    assert {"ImportSearched", "ExportModel-0", "EvaluateSearched"} <= set(stages)
    assert not any(name.startswith(("Train", "Simulate", "Restore")) for name in stages)
    summary = json.loads((version / "report/summary.json").read_text())
    loudest = max(summary["zero_lag"], key=lambda event: event["statistic"])
    assert abs(loudest["gps"] - GPS - SIGNAL) <= 0.5
    # louder than all slides: no rate is claimed below what their livetime supports
    assert loudest["statistic"] > summary["background"]["loudest"]
    floor = 365.25 * 86400 / summary["background"]["livetime_s"]
    assert loudest["far_per_year"] >= 0.5 * floor
    # each file loses PSD, filter, kernel and integration, less than a third of a second besides
    assert summary["zero_lag_livetime_s"] == pytest.approx(3 * (LENGTH - 11), abs=1.0)
