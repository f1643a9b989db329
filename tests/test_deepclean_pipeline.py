"""From frames to the report of a cleaner: the graph, the version's name, and a small run."""

import json
import shutil

import luigi
import pytest
import yaml
from conftest import REPOSITORY, run_law
from runtime import ExperimentError

from aframe.cleaning import load_cleaning
from aframe.pipelines.deepclean import DeepClean
from aframe.tasks.deepclean import CleanFrames, CleaningReport, CollectWitnesses, FetchFrames

PIPELINE = "aframe.pipelines.deepclean.DeepClean"
SOURCE = REPOSITORY / "configs" / "deepclean"
PROBLEM = SOURCE.parent / "problems" / "60Hz-H1.yaml"
SPANS = {
    "training": {"start": 1400000000, "duration": 96},
    "evaluation": {"start": 1400001000, "duration": 24},
}


@pytest.fixture(autouse=True)
def _own_store(tmp_path, monkeypatch):
    load_cleaning.cache_clear()
    luigi.task_register.Register.clear_instance_cache()
    monkeypatch.setenv("AFRAME_STORE", str(tmp_path / "store"))


@pytest.fixture
def small(tmp_path):
    """The shipped experiment on little data; takes changes of experiment, problem, training."""

    def make(experiment=None, problem=None, name="small"):
        folder = tmp_path / name
        shutil.copytree(SOURCE, folder, dirs_exist_ok=True)
        content = yaml.safe_load((SOURCE / "experiment.yaml").read_text())
        content |= {"name": name, "problem": "problem.yaml", **SPANS, **(experiment or {})}
        (folder / "experiment.yaml").write_text(yaml.safe_dump(content))
        content = yaml.safe_load(PROBLEM.read_text()) | (problem or {})
        (folder / "problem.yaml").write_text(yaml.safe_dump(content))
        training = yaml.safe_load((SOURCE / "train.yaml").read_text())
        training["trainer"] |= {"max_epochs": 1}
        training["data"]["init_args"] |= {"batches_per_epoch": 6, "batch_size": 4}
        (folder / "train.yaml").write_text(yaml.safe_dump(training))
        return folder

    return make


def graph(task):
    """Names of all tasks below one, with the names of what each requires."""
    found = {}
    for item, requirements, _ in task.walk_deps():
        found.setdefault(type(item).__name__, set()).update(type(r).__name__ for r in requirements)
    return found


def test_the_graph_of_simulated_frames():
    assert graph(DeepClean(experiment="deepclean")) == {
        "DeepClean": {"CleaningReport"},
        "CleaningReport": {"SimulateFrames", "CleanFrames"},
        "CleanFrames": {"SimulateFrames", "PublishCleaner"},
        "PublishCleaner": {"TrainCleaner"},
        "TrainCleaner": {"CollectWitnesses"},
        "CollectWitnesses": {"SimulateFrames"},
        "SimulateFrames": set(),
    }


def test_given_frames_are_not_simulated(small, tmp_path):
    folder = small({"simulation": None})
    with pytest.raises(ExperimentError, match="give --frames FOLDER"):
        DeepClean(experiment=str(folder))
    frames = tmp_path / "frames"
    for kind in ("strain", "witness"):
        (frames / kind).mkdir(parents=True)
        (frames / kind / f"H-{kind}-1-1.gwf").write_bytes(b"not read to build the graph")
    task = DeepClean(experiment=str(folder), frames=str(frames))
    assert "SimulateFrames" not in graph(task)
    collect = CollectWitnesses(experiment=str(folder), frames=str(frames))
    assert collect.reads() == [frames]
    # other frames, another version
    (frames / "strain" / "H-strain-2-1.gwf").write_bytes(b"x")
    load_cleaning.cache_clear()
    luigi.task_register.Register.clear_instance_cache()
    assert DeepClean(experiment=str(folder), frames=str(frames)).version != task.version
    with pytest.raises(ExperimentError, match="would have no effect"):
        DeepClean(experiment="deepclean", frames=str(frames))


def test_frames_are_fetched_where_the_experiment_says_so(small, tmp_path):
    types = {"strain": "H1_HOFT_C00", "witness": "H1_R"}
    folder = small({"simulation": None, "fetch": types})
    task = DeepClean(experiment=str(folder))
    found = graph(task)
    assert "SimulateFrames" not in found
    assert found["CollectWitnesses"] == {"FetchFrames"}
    assert found["CleaningReport"] == {"FetchFrames", "CleanFrames"}
    fetching = FetchFrames(experiment=str(folder), span="training")
    arguments = fetching.arguments(folder / "experiment.yaml")
    assert arguments[0] == "fetch"
    assert not fetching.complete()
    # a folder that is not whole is gone on with
    path = tmp_path / "store" / "small" / task.version / "frames-training"
    (path / "strain").mkdir(parents=True)
    assert not fetching.complete()
    (path / "fetched.json").write_text("{}")
    assert fetching.complete()
    # no truth is known of real data
    report = CleaningReport(experiment=str(folder))
    assert not any(word.startswith("--truth") for word in report.arguments(folder))
    with pytest.raises(ExperimentError, match="fetches its frames"):
        DeepClean(experiment=str(folder), frames=str(tmp_path))
    other = small({"fetch": types}, name="other")
    with pytest.raises(ExperimentError, match="simulation and fetch"):
        DeepClean(experiment=str(other))


def test_the_number_of_processes_is_no_part_of_the_version(small):
    folder = small()
    one, four = (CleanFrames(experiment=str(folder), clean_processes=n) for n in (1, 4))
    assert one.version == four.version
    assert one.output().path == four.output().path
    words = four.arguments(folder)
    assert words[words.index("--workers") + 1] == "4"


def test_a_layer_learns_what_those_before_it_have_left(small):
    layer = yaml.safe_load(PROBLEM.read_text())["layers"][0]
    folder = small(problem={"layers": [layer, layer | {"bands": [[115, 125]]}]})
    last = CollectWitnesses(experiment=str(folder), layer=1)
    assert [task.layer for task in last.requires()["earlier"]] == [0]
    written = last.analysis.write_experiment(folder, 1)
    assert yaml.safe_load(written.read_text())["layer"] == 1


@pytest.mark.parametrize("file", ["experiment", "problem", "simulation", "train"])
def test_every_file_is_part_of_the_version(small, file):
    folder = small()
    before = DeepClean(experiment=str(folder)).version
    path = folder / f"{file}.yaml"
    path.write_text(path.read_text() + "# changed\n")
    load_cleaning.cache_clear()
    luigi.task_register.Register.clear_instance_cache()
    assert DeepClean(experiment=str(folder)).version != before


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"problem": "nowhere.yaml"}, "nowhere.yaml as problem: no file"),
        ({"name": "other"}, "give both one name"),
    ],
)
def test_what_is_wrong_is_said_before_anything_runs(small, changes, message):
    folder = small(changes)
    with pytest.raises(ExperimentError, match=message):
        DeepClean(experiment=str(folder))


def test_an_experiment_of_a_search_is_refused():
    with pytest.raises(ExperimentError, match="names no problem"):
        DeepClean(experiment="quickstart")


def test_from_frames_to_the_report(small, tmp_path):
    folder, store = small(), tmp_path / "store"
    result = run_law(PIPELINE, "--experiment", str(folder), store=store)
    assert result.returncode == 0, result.stderr[-3000:]
    (page,) = store.glob("small/v1-*/report/index.html")
    assert f"Report: {page}" in result.stderr
    found = json.loads((page.parent / "summary.json").read_text())
    assert found["seconds"] == SPANS["evaluation"]["duration"]
    assert found["asd_ratio"]["optimum"] < 0.8
    # six steps teach nothing that could be used, and the gate does not let it pass
    assert found["asd_ratio"]["out_dq"] < 1.001
    again = run_law(PIPELINE, "--experiment", str(folder), store=store)
    assert "nothing to do, all is made" in again.stderr
