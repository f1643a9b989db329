"""The graph of tasks: it builds, its paths follow the numbers, and law's own options work."""

import re

import law
import luigi
import numpy as np
import pytest
from conftest import PIPELINE, run_law
from ledger import StrainIndex as StrainIndexFile
from runtime import ExperimentError, make_provenance

import aframe
from aframe.analysis import load_analysis
from aframe.base import AframeTask
from aframe.environment import REPOSITORY
from aframe.pipelines.sandbox import Sandbox
from aframe.tasks.infer import InferFrames, InferLocal
from aframe.workflow import StageWorkflow

EXPERIMENTS = sorted(
    path.parent.name
    for path in (REPOSITORY / "configs").glob("*/experiment.yaml")
    if "\nsearch:" in path.read_text()
)


@pytest.fixture(autouse=True)
def _own_store(tmp_path, monkeypatch):
    load_analysis.cache_clear()
    luigi.task_register.Register.clear_instance_cache()
    monkeypatch.setenv("AFRAME_STORE", str(tmp_path / "store"))


@pytest.fixture
def strain_folder(tmp_path):
    folder = tmp_path / "strain"
    folder.mkdir()
    (folder / "GW1.hdf5").write_bytes(b"not read to build the graph")
    return folder


def graph(task) -> dict[str, set[str]]:
    """Names of all tasks below one, with the names of what each requires."""
    found: dict[str, set[str]] = {}
    for item, requirements, _ in task.walk_deps():
        name = type(item).__name__
        found.setdefault(name, set()).update(type(r).__name__ for r in requirements)
    return found


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_graph_of_every_shipped_experiment(name, strain_folder):
    imports = name == "open-events"
    task = Sandbox(experiment=name, strain=str(strain_folder) if imports else "")
    source = "ImportStrain" if imports else "StrainIndex"
    found = graph(task)
    assert found["Sandbox"] == {"Evaluate"}
    assert found["Evaluate"] == {"InferLocal", "TrainLocal", "Strain"}
    # a short background is searched by one command
    if found["InferLocal"] != {"ExportLocal", "Strain", "Injections"}:
        assert task.analysis.experiment.search.background_livetime > 30 * 86400
        assert found["InferLocal"] == {"InferSlides", "InferInjections", "InferZeroLag"}
    assert found["ExportLocal"] == {"TrainLocal"}
    assert found["TrainLocal"] == {"Strain", "TrainingWaveforms", "ValidationWaveforms"}
    assert found["Strain"] == {source}
    folds = {t.fold for t, _, _ in task.walk_deps() if type(t).__name__ == "InferLocal"}
    assert folds == set(range(task.analysis.experiment.folds))


def test_fetched_strain_is_queried_fetched_and_simulated():
    found = graph(Sandbox(experiment="open-run"))
    assert found["StrainIndex"] == {"Query", "Fetch", "SimulateStrain"}
    assert found["Fetch"] == {"Query"}
    # how many branches there are is not known before the segments are
    task = aframe.Fetch(experiment="open-run", branch=-1)
    assert not task.workflow_condition()
    assert len(aframe.SimulateStrain(experiment="open-run", branch=-1).get_branch_map()) == 14


def test_a_search_is_cut_into_branches():
    task = InferLocal(experiment="smoke", search_branches=3)
    found = graph(task)
    assert found["InferLocal"] == {"InferSlides", "InferInjections", "InferZeroLag"}
    prepared = {"ExportLocal", "Strain", "InferFrames"}
    assert found["InferSlides"] == found["InferZeroLag"] == prepared
    assert found["InferInjections"] == prepared | {"Injections"}
    slides = task.requires()["slides"]
    assert sorted(slides.get_branch_map()) == [0, 1, 2]
    paths = {slides.req(slides, branch=b).output().path for b in range(3)}
    assert len(paths) == 3
    # where the events are does not depend on the number of branches
    whole = InferLocal(experiment="smoke")
    assert whole.output().path == task.output().path
    # a year is 13 months of 30 days, begun ones included
    assert len(InferLocal(experiment="o3").requires()["slides"].get_branch_map()) == 13


def test_files_to_prepare_are_shared_by_length():
    """Files of a fold in a row, as many branches as 20,000 s go into them."""
    task = InferFrames(experiment="smoke", branch=-1)
    lengths = [20000, 10000, 4000, 6000, 20000, 500]
    starts = np.cumsum([0, *lengths[:-1]]) + 1e9
    StrainIndexFile(
        ifos=("H1", "L1"),
        sample_rate=512,
        path=[f"{i}.hdf5" for i in range(6)],
        label=[str(i) for i in range(6)],
        gps_start=starts,
        gps_stop=starts + lengths,
        role=np.full((6, 1), 2),
        known_label=[],
        known_time=np.zeros(0),
        known_window=np.zeros((0, 2)),
    ).write(task.path("strain", "index.hdf5"), make_provenance("test", task.analysis.experiment))
    branches = task.get_branch_map()
    assert [number for part in branches.values() for number in part] == list(range(6))
    totals = [sum(lengths[i] for i in part) for part in branches.values()]
    # 60,500 s make four branches, of which none is more than its share and a file
    assert len(totals) == 4
    assert max(totals) <= sum(lengths) / 4 + max(lengths)


def test_a_named_file_outside_the_experiment_is_refused(mine, tmp_path):
    (tmp_path / "curve.txt").write_text("10 1e-23\n")
    folder = mine({"strain.noise_curves": {"H1": "../curve.txt", "L1": "../curve.txt"}})
    with pytest.raises(ExperimentError, match="outside its folder: put a copy"):
        version(folder)


def test_a_population_in_a_file_is_part_of_the_version(mine):
    folder = mine({"waveforms.prior": "mine.yaml"})
    (folder / "mine.yaml").write_text("one")
    first = version(folder)
    (folder / "mine.yaml").write_text("another")
    assert version(folder) != first


def test_paths_are_those_of_the_figure(tmp_path):
    def output(name, **more):
        task = getattr(aframe, name)(experiment="smoke", **more)
        return str(task.output().path), task

    path, task = output("StrainIndex")
    root = tmp_path / "store" / "smoke" / task.version
    assert re.fullmatch("v1-[0-9a-f]{8}", task.version)
    assert path == f"{root}/strain/index.hdf5"
    assert output("TrainingWaveforms")[0] == f"{root}/training-waveforms.hdf5"
    assert output("ValidationWaveforms", fold=0)[0] == f"{root}/validation-0.hdf5"
    assert output("Injections", fold=0)[0] == f"{root}/injections-0.hdf5"
    assert output("TrainLocal", fold=0)[0] == f"{root}/train-0"
    assert output("ExportLocal", fold=0)[0] == f"{root}/repository-0"
    assert output("InferLocal", fold=0)[0] == f"{root}/events-0"
    assert output("Evaluate")[0] == f"{root}/report"


def test_one_branch_per_strain_file():
    task = aframe.SimulateStrain(experiment="smoke", branch=-1)
    files = task.analysis.experiment.strain.simulated_files()
    branches = task.get_branch_map()
    assert list(branches.values()) == files
    paths = {task.req(task, branch=branch).output().path for branch in branches}
    assert len(paths) == len(files)
    assert "strain-training-1240579784-256.hdf5" in {path.rsplit("/")[-1] for path in paths}


def version(folder, **more):
    # as in a new process: neither the files read nor luigi's task is remembered
    load_analysis.cache_clear()
    luigi.task_register.Register.clear_instance_cache()
    return Sandbox(experiment=str(folder), **more).version


def test_a_number_that_changes_bytes_changes_the_path(mine):
    base = version(mine())
    assert version(mine()) == base
    changes = [{"seed": 8}, {"whitening.psd_length": 16}, {"search.slide_step": 7}]
    versions = {version(mine(change)) for change in changes}
    versions.add(version(mine(train="trainer: {max_epochs: 3}\n")))
    assert len(versions | {base}) == 5
    assert version(mine(), label="v2") == base.replace("v1-", "v2-")


def test_a_noise_curve_in_a_file_is_part_of_the_version(mine):
    folder = mine({"strain.noise_curves": {"H1": "curve.txt", "L1": "curve.txt"}})
    (folder / "curve.txt").write_text("10 1e-23\n")
    first = version(folder)
    (folder / "curve.txt").write_text("10 2e-23\n")
    assert version(folder) != first


def test_where_it_runs_does_not_change_the_path(mine):
    folder = mine()
    base = version(folder)
    assert version(folder, environment="apptainer", dev=True, gpus="0,1") == base
    one = Sandbox(experiment=str(folder))
    two = Sandbox(experiment=str(folder), environment="apptainer", gpus="1", workflow="slurm")
    assert one.task_id == two.task_id


def test_where_branches_run_reaches_every_task():
    """From a pipeline down, and not into a job: its branches run where it runs."""
    where = {"workflow": "slurm", "retries": 7, "poll_interval": 0.5, "parallel_jobs": 3}
    task = Sandbox(experiment="smoke", search_branches=2, **where)
    workflows = {}
    for item, _, _ in task.walk_deps():
        assert item.workflow == "slurm"
        if isinstance(item, StageWorkflow):
            workflows[type(item).__name__] = item
            assert {name: getattr(item, name) for name in where} == where
            assert item.effective_workflow == "slurm"
    strain = {"SimulateStrain", "TrainingWaveformBranches"}
    search = {"InferFrames", "InferSlides", "InferInjections"}
    assert strain | search | {"ValidationBranches", "InjectionBranches"} == set(workflows)


def test_records_of_two_folds_do_not_meet(strain_folder):
    events = {"experiment": "open-events", "strain": str(strain_folder)}
    places = {
        aframe.InjectionBranches(**events, fold=fold, branch=branch).stage
        for fold in range(2)
        for branch in range(2)
    }
    assert len(places) == 4


def test_the_imported_folder_is_part_of_the_version(strain_folder):
    def imported():
        return version("open-events", strain=str(strain_folder))

    first = imported()
    assert imported() == first
    (strain_folder / "GW2.hdf5").write_bytes(b"one more")
    assert imported() != first


def test_an_edit_while_a_pipeline_runs_does_not_reach_the_stages(mine, tmp_path):
    folder = mine({"strain.noise_curves": {"H1": "curve.txt", "L1": "curve.txt"}})
    (folder / "curve.txt").write_text("10 1e-23\n")
    load_analysis.cache_clear()
    analysis = load_analysis(str(folder), "")
    seed = analysis.experiment.seed
    mine({"seed": seed + 1})
    copy = analysis.write_experiment(tmp_path)
    from runtime import load_experiment

    assert load_experiment(copy).seed == seed
    assert load_experiment(copy).settings() == analysis.experiment.settings()
    assert (tmp_path / "curve.txt").read_text() == "10 1e-23\n"


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"experiment": "nowhere"}, "no experiment 'nowhere'"),
        ({"experiment": "open-events"}, "takes its strain from a folder: give --strain"),
        ({"experiment": "open-events", "strain": "/gone"}, "no strain folder /gone"),
        ({"experiment": "smoke", "strain": "/tmp"}, "would have no effect"),
        ({"experiment": "smoke", "image": "a.sif"}, "set AFRAME_CONTAINER_ROOT"),
    ],
)
def test_bad_arguments_end_before_anything_runs(arguments, sentence):
    with pytest.raises(ExperimentError, match=sentence):
        Sandbox(**arguments)


def test_a_fold_that_is_not_there():
    with pytest.raises(ExperimentError, match="smoke has folds 0 to 0"):
        aframe.TrainLocal(experiment="smoke", fold=1)


def test_a_name_that_is_not_that_of_the_folder(mine):
    load_analysis.cache_clear()
    folder = mine({"name": "other"})
    with pytest.raises(ExperimentError, match="says name: other, its folder is called mine"):
        Sandbox(experiment=str(folder))


def test_every_parameter_says_what_it_is_and_its_unit():
    for name in aframe.__all__:
        task = getattr(aframe, name)
        assert issubclass(task, AframeTask)
        assert task.__doc__
        own = {n: p for n, p in task.get_params() if n in OURS or not hasattr(_law_task(), n)}
        for parameter, item in own.items():
            assert item.description, f"{name}.{parameter}"
            assert re.search(r"\(.+\)", item.description), f"{name}.{parameter} has no unit"


# Parameters of law's that we describe anew.
OURS = {"workflow", "retries", "poll_interval", "parallel_jobs"}


def _law_task():
    """What has all of law's own parameters."""
    return type("_", (law.slurm.SlurmWorkflow, law.htcondor.HTCondorWorkflow), {})


def test_help_of_a_task(tmp_path):
    result = run_law("aframe.TrainLocal", "--help", store=tmp_path)
    assert result.returncode == 0
    for option in ("--experiment", "--label", "--strain", "--environment", "--image", "--dev"):
        assert option in result.stdout
    assert "fold of the experiment (index from 0)" in " ".join(result.stdout.split())


def test_print_status(tmp_path):
    result = run_law(PIPELINE, "--experiment", "smoke", "--print-status", "-1", store=tmp_path)
    assert result.returncode == 0, result.stderr
    assert "0 > Sandbox" in result.stdout
    assert "SimulateStrain" in result.stdout
    assert "absent" in result.stdout
    assert "existent" not in result.stdout
    assert list(tmp_path.iterdir()) == []


def test_another_configuration_is_selected_by_the_variable(tmp_path):
    config = tmp_path / "law.cfg"
    config.write_text(f"[core]\ninherit: {REPOSITORY}/law.cfg\n[aframe]\nenvironment: apptainer\n")
    arguments = ("aframe.TrainingWaveforms", "--experiment", "smoke")
    result = run_law(*arguments, store=tmp_path / "store", LAW_CONFIG_FILE=str(config))
    assert result.returncode != 0
    # without apptainer it is missing, with it the image is
    assert re.search("apptainer is not installed|no image for datagen", result.stderr)
