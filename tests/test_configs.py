"""Every shipped configuration is read by the stage that it is for."""

import subprocess

import pytest
import yaml
from runtime import ExperimentError, load_experiment

from aframe.analysis import CONFIGS, find_experiment
from aframe.cleaning import load_cleaning
from aframe.environment import REPOSITORY, ensure

EXPERIMENTS = sorted(CONFIGS.glob("*/experiment.yaml"))
SHIPPED = [path.parent.name for path in EXPERIMENTS if "\nsearch:" in path.read_text()]
CLEANING = [path.parent.name for path in EXPERIMENTS if "\nproblem:" in path.read_text()]


def test_the_three_experiments_are_there():
    assert {"quickstart", "open-events", "smoke"} <= set(SHIPPED)


@pytest.mark.parametrize("name", SHIPPED)
def test_an_experiment_is_called_like_its_folder(name):
    assert load_experiment(find_experiment(name)).name == name
    assert (CONFIGS / name / "law.cfg").is_file()


@pytest.mark.parametrize("name", SHIPPED)
def test_a_training_file_is_read_by_the_training_stage(name, tmp_path):
    python = ensure(REPOSITORY / "projects" / "train")
    inputs = []
    for option in ("strain", "waveforms", "validation", "run_dir"):
        inputs += [f"--{option}", str(tmp_path / option)]
    experiment = CONFIGS / name / "experiment.yaml"
    config = CONFIGS / name / "train.yaml"
    command = [python, "-m", "train", "fit", "--config", config, "--experiment", experiment]
    result = subprocess.run(
        [*map(str, command), *inputs, "--fold", "0", "--print_config"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr[-2000:]
    resolved = yaml.safe_load(result.stdout)
    assert resolved["model"]["class_path"] == "train.families.Supervised"
    assert resolved["model"]["init_args"]["architecture"] == "TwoTower"
    # what the file says is what is used, and nothing of the experiment is in it
    given = yaml.safe_load(config.read_text())
    for name, value in given["model"]["init_args"].items():
        assert resolved["model"]["init_args"][name] == value
    for name, value in given["trainer"].items():
        assert resolved["trainer"][name] == value
    assert resolved["data"]["batch_size"] == given["data"]["batch_size"]


def test_every_experiment_is_of_a_kind_that_is_tested():
    assert sorted(SHIPPED + CLEANING) == [path.parent.name for path in EXPERIMENTS]
    assert CLEANING


@pytest.mark.parametrize("name", CLEANING)
def test_the_training_of_a_cleaner_is_read_by_the_training_stage(name, tmp_path):
    folder = CONFIGS / name
    assert load_cleaning(name, "").experiment.name == name
    assert (folder / "law.cfg").is_file()
    python = ensure(REPOSITORY / "projects" / "train")
    command = [python, "-m", "train", "fit", "--config", folder / "train.yaml"]
    command += ["--experiment", folder, "--run_dir", tmp_path / "run", "--print_config"]
    command += ["--data.init_args.witnesses", tmp_path / "witnesses.hdf5"]
    result = subprocess.run(
        [*map(str, command)], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr[-2000:]
    resolved = yaml.safe_load(result.stdout)
    assert resolved["model"]["class_path"] == "train.families.Cleaning"


def test_shipped_problems_are_read():
    """By the library that checks them, which the orchestration does not have."""
    python = ensure(REPOSITORY / "projects" / "deepclean")
    files = sorted((CONFIGS / "problems").glob("*.yaml"))
    code = (
        "import sys; from pathlib import Path; from cleaning import load_problem\n"
        "for path in sys.argv[1:]:\n"
        "    problem = load_problem(path)\n"
        "    assert problem.name == Path(path).stem, path\n"
        "    print(problem.name, len(problem.witnesses))\n"
    )
    result = subprocess.run(
        [str(python), "-P", "-c", code, *map(str, files)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr[-2000:]
    assert len(result.stdout.splitlines()) == len(files) > 10


def test_an_unknown_experiment_lists_what_exists(tmp_path, monkeypatch):
    for name in ("nowhere", "./nowhere", "", str(tmp_path)):
        with pytest.raises(ExperimentError, match=r"no experiment .* quickstart, smoke"):
            find_experiment(name)
