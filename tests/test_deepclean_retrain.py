"""Versions of a live cleaner, trained by law: once, not again without new data, on a schedule."""

import fcntl
import shutil
import signal
import subprocess
import time

import luigi
import pytest
import yaml
from conftest import LAW, REPOSITORY, law_environment, run_law
from runtime import ExperimentError

from aframe.pipelines.retrain import Retrain
from aframe.sandbox import StageError
from aframe.tasks.retrain import FitStep, PlanTraining, TrainingStep, sole_trainer, step_task

PIPELINE = "aframe.pipelines.retrain.Retrain"
SOURCE = REPOSITORY / "configs" / "deepclean"
PYTHON = REPOSITORY / "projects" / "deepclean" / ".venv" / "bin" / "python"
START, DURATION, CADENCE = 1400001000, 48, 24


@pytest.fixture
def experiment(tmp_path):
    """The shipped experiment with a training of a few steps; no frames are dropped."""
    folder = tmp_path / "small"
    shutil.copytree(SOURCE, folder)
    content = yaml.safe_load((SOURCE / "experiment.yaml").read_text())
    content |= {"name": "small", "problem": "problem.yaml"}
    (folder / "experiment.yaml").write_text(yaml.safe_dump(content))
    shutil.copy(SOURCE.parent / "problems" / "60Hz-H1.yaml", folder / "problem.yaml")
    simulation = yaml.safe_load((SOURCE / "simulation.yaml").read_text()) | {"drop_rate": 0.0}
    (folder / "simulation.yaml").write_text(yaml.safe_dump(simulation))
    training = yaml.safe_load((SOURCE / "train.yaml").read_text())
    training["trainer"] |= {"max_epochs": 1}
    training["data"]["init_args"] |= {"batches_per_epoch": 3, "batch_size": 4}
    (folder / "train.yaml").write_text(yaml.safe_dump(training))
    return folder


def play(experiment, live, duration):
    """Frames of the first so many seconds; those that are there are not made again."""
    command = [PYTHON, "-P", "-m", "deepclean", "play", "--experiment", experiment]
    command += ["--output", live / "frames", "--rate", ".inf", "--start", START]
    done = subprocess.run([*map(str, command), "--duration", str(duration)], check=False)
    assert done.returncode == 0


def promote(live, version):
    roles = {"production": version, "canary": 0, "pinned": False}
    (live / "models" / "roles.yaml").write_text(yaml.safe_dump(roles))


def options(experiment, live):
    given = {"experiment": experiment, "live": live}
    given |= {"training-duration": DURATION, "cadence": CADENCE}
    return [PIPELINE, *(word for k, v in given.items() for word in (f"--{k}", str(v)))]


def manifests(live):
    paths = sorted((live / "models").glob("*/manifest.yaml"))
    return [yaml.safe_load(path.read_text()) for path in paths]


def wait_for(condition, log, seconds=240.0):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, log.read_text()[-3000:]
        time.sleep(0.1)


@pytest.mark.chain
def test_versions_are_trained_as_data_come(experiment, tmp_path):
    live, log = tmp_path / "live", tmp_path / "log"
    play(experiment, live, DURATION + 4)
    first = run_law(*options(experiment, live), store=tmp_path / "store")
    assert first.returncode == 0, first.stderr[-3000:]
    (version,) = manifests(live)
    stop = START + DURATION + 3
    assert (version["span"], version["parent"]) == ([stop - DURATION, stop], 0)
    assert yaml.safe_load((live / "models" / "roles.yaml").read_text())["canary"] == 1
    # each step has left its command, its log and the time it took
    name = f"{stop - DURATION}-{stop}"
    for record in (f"TrainingStep-{name}-collect-0", f"FitStep-{name}-train-0", "PlanTraining"):
        folder = live / "stages" / record
        assert {"command.txt", "log.txt", "wall.json"} <= {path.name for path in folder.iterdir()}
    # and nothing lies anywhere else
    assert not (tmp_path / "store").exists()

    again = run_law(*options(experiment, live), store=tmp_path / "store")
    assert again.returncode == 0, again.stderr[-3000:]
    assert f"nothing to do: frames reach from GPS {START}" in again.stderr
    assert len(manifests(live)) == 1

    promote(live, 1)
    with log.open("w") as output:
        process = subprocess.Popen(
            [LAW, "run", *options(experiment, live), "--every", "1"],
            cwd=REPOSITORY,
            env=law_environment(tmp_path / "store"),
            stderr=output,
        )
    try:
        wait_for(lambda: "nothing to do" in log.read_text(), log)
        other = run_law(*options(experiment, live), store=tmp_path / "store")
        assert other.returncode != 0
        assert "a trainer is already at work" in other.stderr
        play(experiment, live, DURATION + CADENCE + 4)
        wait_for(lambda: len(manifests(live)) == 2, log)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(30)
    second = manifests(live)[1]
    # half of what it learns from is what the one before it has learnt from
    assert second["span"] == [stop + CADENCE - DURATION, stop + CADENCE]
    assert second["parent"] == 1
    name = "-".join(map(str, second["span"]))
    words = (live / "stages" / f"FitStep-{name}-train-0" / "command.txt").read_text()
    assert f"trainings/{stop - DURATION}-{stop}/train-0/best.ckpt" in words


@pytest.fixture
def planned(experiment, tmp_path):
    """An installation with a training that was decided on, and its pipeline."""
    luigi.task_register.Register.clear_instance_cache()
    live = tmp_path / "live"
    folder = live / "trainings" / "1-2"
    folder.mkdir(parents=True)
    steps = [
        {"name": name, "project": project, "arguments": [name], "output": str(folder / name)}
        for name, project in (("collect", "deepclean"), ("fit", "train"), ("publish", "deepclean"))
    ]
    (folder / "plan.yaml").write_text(yaml.safe_dump({"steps": steps}))
    return Retrain(experiment=str(experiment), live=str(live), environment="apptainer")


def test_steps_follow_each_other_each_in_its_own_environment(planned, tmp_path):
    last = step_task(planned, "1-2", 2)
    (fit,) = last.requires()
    (collect,) = fit.requires()
    assert [type(task) for task in (collect, fit, last)] == [TrainingStep, FitStep, TrainingStep]
    assert [task.project for task in (collect, fit, last)] == ["deepclean", "train", "deepclean"]
    assert collect.requires() == []
    assert {task.environment for task in (collect, fit, last)} == {"apptainer"}
    assert collect.path("stages", fit.stage) == tmp_path / "live" / "stages" / "FitStep-1-2-fit"
    # an image is given what lies elsewhere
    assert collect.reads() == []
    elsewhere = Retrain(experiment=planned.experiment, live=planned.live, frames=str(tmp_path))
    assert step_task(elsewhere, "1-2", 0).reads() == [tmp_path]
    assert not collect.complete()
    (tmp_path / "live" / "trainings" / "1-2" / "collect").touch()
    assert collect.complete()


def test_a_training_that_fails_is_not_tried_again(planned, monkeypatch):
    folder = planned.path("trainings", "1-2")

    def fail(self):
        raise StageError(f"{self.stage} failed: why")

    monkeypatch.setattr(PlanTraining, "run", lambda self: None)
    monkeypatch.setattr(PlanTraining, "answer", lambda self: {"training": str(folder)})
    monkeypatch.setattr(TrainingStep, "run", fail)
    with pytest.raises(StageError, match="why"):
        planned.train()
    assert (folder / "failed").read_text() == "TrainingStep-1-2-collect failed: why\n"


def test_data_are_not_to_blame_where_there_is_no_image(planned, monkeypatch, tmp_path):
    monkeypatch.setenv("AFRAME_CONTAINER_ROOT", str(tmp_path))
    with pytest.raises(StageError):
        planned.run()
    assert {path.name for path in planned.path("trainings", "1-2").iterdir()} == {"plan.yaml"}


def test_the_verb_and_law_exclude_each_other(tmp_path):
    with (tmp_path / ".trainer").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(ExperimentError, match="already at work"), sole_trainer(tmp_path):
            pass
    with sole_trainer(tmp_path):
        pass


def test_what_is_no_cleaning_experiment_is_refused(tmp_path):
    with pytest.raises(ExperimentError, match="names no problem"):
        Retrain(experiment="quickstart", live=str(tmp_path))
