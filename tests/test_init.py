"""`aframe init`: an experiment of one's own, wherever it lies, runs as it is."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from conftest import LAW, REPOSITORY, law_environment

from aframe.__main__ import main
from aframe.analysis import load_analysis
from aframe.cleaning import load_cleaning
from aframe.init import sites, write_folder

SITES = sites()


@pytest.fixture(autouse=True)
def _fresh():
    load_analysis.cache_clear()
    load_cleaning.cache_clear()


@pytest.fixture
def site(tmp_path, monkeypatch):
    """A folder of site files with one in it, whose setting can be seen to arrive."""
    folder = tmp_path / "sites"
    folder.mkdir()
    (folder / "here.cfg").write_text(
        "[core]\ninherit: ../../law.cfg\n\n[luigi_core]\nworkers: 7\n"
    )
    monkeypatch.setattr("aframe.init.SITES", folder)
    return "here"


def settings(folder: Path, *names: str) -> list[str]:
    """Values that law takes from the folder's configuration, in a process of its own."""
    program = "import law, sys\nfor name in sys.argv[1:]: print(law.config.get(*name.split('.')))"
    done = subprocess.run(
        [sys.executable, "-c", program, *names],
        env=law_environment(folder, LAW_CONFIG_FILE=str(folder / "law.cfg")),
        cwd="/",
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.split()


def test_an_experiment_of_ones_own(tmp_path, site):
    folder = write_folder(tmp_path / "mine", "quickstart", site)
    source = REPOSITORY / "configs" / "quickstart"
    files = {path.name for path in folder.iterdir()}
    assert files == {"experiment.yaml", "train.yaml", "tune.yaml", "law.cfg", "site.cfg"}
    # only the name differs, comments included
    text = (source / "experiment.yaml").read_text()
    assert (folder / "experiment.yaml").read_text() == text.replace(
        "name: quickstart", "name: mine"
    )
    for name in ("train.yaml", "tune.yaml"):
        assert (folder / name).read_bytes() == (source / name).read_bytes()
    analysis = load_analysis(str(folder), "")
    assert analysis.experiment.name == "mine"
    assert analysis.digest != load_analysis("quickstart", "").digest
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


def test_law_finds_what_it_inherits_and_the_site(tmp_path, site):
    folder = write_folder(tmp_path / "far" / "mine", "quickstart", site)
    # from the repository's file, from the site's, which wins over the experiment's own
    assert settings(folder, "luigi_core.no_lock", "luigi_core.workers") == ["True", "7"]
    # begun from one of one's own: its site file is not taken over, nor named twice
    again = write_folder(tmp_path / "again", str(folder), site)
    assert settings(again, "luigi_core.no_lock", "luigi_core.workers") == ["True", "7"]
    assert (again / "law.cfg").read_text().count("extend:") == 1


def test_within_the_repository_paths_stay_relative(tmp_path, site, monkeypatch):
    monkeypatch.setattr("aframe.init.REPOSITORY", tmp_path)
    source = tmp_path / "configs" / "first"
    write_folder(source, "smoke", site)
    text = (source / "law.cfg").read_text()
    inherited = next(line for line in text.splitlines() if line.startswith("inherit: "))
    path = inherited.removeprefix("inherit: ")
    assert not Path(path).is_absolute()
    assert (source / path).resolve() == REPOSITORY / "law.cfg"


def test_named_files_come_along(tmp_path, mine, site):
    source = mine({"strain.noise_curves": {"H1": "curves/H1.txt", "L1": "curves/H1.txt"}})
    with pytest.raises(ValueError, match=r"names curves/H1\.txt, and there is no .*mine/curves"):
        write_folder(tmp_path / "other", str(source), site)
    assert not (tmp_path / "other").exists()
    (source / "curves").mkdir()
    (source / "curves" / "H1.txt").write_text("10 1e-23\n1000 1e-23\n")
    folder = write_folder(tmp_path / "other", str(source), site)
    assert (folder / "curves" / "H1.txt").read_text() == "10 1e-23\n1000 1e-23\n"
    assert (folder / "law.cfg").is_file()  # though the source has none


@pytest.mark.parametrize("there", ["a file", "a folder with a file"])
def test_nothing_is_overwritten(there, tmp_path, site, capsys):
    target = tmp_path / "mine"
    kept = target if there == "a file" else target / "experiment.yaml"
    kept.parent.mkdir(exist_ok=True)
    kept.write_text("mine")
    assert main(["init", str(target), "--site", site]) == 1
    assert "exists and is not empty" in capsys.readouterr().err
    assert kept.read_text() == "mine"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mine", "sites"]


def test_what_fails_half_way_leaves_nothing(tmp_path, site, monkeypatch):
    (tmp_path / "sites" / "here.cfg").unlink()
    with pytest.raises(FileNotFoundError):
        write_folder(tmp_path / "mine", "quickstart", site)
    assert [path.name for path in tmp_path.iterdir()] == ["sites"]


@pytest.mark.parametrize("name", ["my experiment", "-x", "é", ".hidden"])
def test_senseless_names_are_refused(name, tmp_path, site):
    with pytest.raises(ValueError, match="cannot name an experiment"):
        write_folder(tmp_path / name, "quickstart", site)


def test_an_unknown_source(tmp_path, site, capsys):
    assert main(["init", str(tmp_path / "mine"), "--from", "nothing", "--site", site]) == 1
    assert "no experiment 'nothing': configs/ has" in capsys.readouterr().err


def test_one_that_takes_a_folder_of_strain_says_so(tmp_path, site, capsys):
    assert main(["init", str(tmp_path / "mine"), "--from", "open-events", "--site", site]) == 0
    assert capsys.readouterr().out.rstrip().endswith("--strain FOLDER")


def test_a_cleaning_experiment(tmp_path, site, capsys):
    folder = tmp_path / "mine"
    assert main(["init", str(folder), "--from", "deepclean", "--site", site]) == 0
    source = REPOSITORY / "configs" / "deepclean"
    files = {path.name for path in folder.iterdir()}
    expected = {"experiment.yaml", "60Hz-H1.yaml", "simulation.yaml", "train.yaml"}
    assert files == expected | {"law.cfg", "site.cfg"}
    # the problem lies beside it, all else is the same, comments included
    text = (source / "experiment.yaml").read_text().replace("name: deepclean", "name: mine")
    text = text.replace("problem: ../problems/60Hz-H1.yaml", "problem: 60Hz-H1.yaml")
    assert (folder / "experiment.yaml").read_text() == text
    problem = source.parent / "problems" / "60Hz-H1.yaml"
    assert (folder / "60Hz-H1.yaml").read_bytes() == problem.read_bytes()
    analysis = load_cleaning(str(folder), "")
    assert (analysis.experiment.name, analysis.experiment.num_layers) == ("mine", 1)
    assert settings(folder, "luigi_core.workers") == ["7"]
    command = capsys.readouterr().out.rstrip().splitlines()[-1]
    assert command.endswith(f"run aframe.pipelines.deepclean.DeepClean --experiment {folder}")
    # and from one of one's own, on frames of one's own
    text = "".join(
        line for line in text.splitlines(keepends=True) if not line.startswith("simulation:")
    )
    (folder / "experiment.yaml").write_text(text)
    assert main(["init", str(tmp_path / "again"), "--from", str(folder), "--site", site]) == 0
    assert capsys.readouterr().out.rstrip().endswith(f"{tmp_path / 'again'} --frames FOLDER")
    fetched = text + "fetch: {strain: H1_HOFT_C00, witness: H1_R}\n"
    (folder / "experiment.yaml").write_text(fetched)
    assert main(["init", str(tmp_path / "far"), "--from", str(folder), "--site", site]) == 0
    assert capsys.readouterr().out.rstrip().endswith(f"--experiment {tmp_path / 'far'}")
    (folder / "60Hz-H1.yaml").unlink()
    with pytest.raises(ValueError, match=r"names 60Hz-H1\.yaml, and there is no .*mine/60Hz"):
        write_folder(tmp_path / "third", str(folder), site)


def test_a_cleaning_experiment_runs_as_the_output_says(tmp_path, site, capsys):
    """By the line that the command prints, as far as what would be run."""
    folder = tmp_path / "mine"
    assert main(["init", str(folder), "--from", "deepclean", "--site", site]) == 0
    *_, export, command = capsys.readouterr().out.rstrip().splitlines()
    ran = subprocess.run(
        ["bash", "-ec", f"{export}\n{command} --print-status -1"],
        cwd=tmp_path,
        env=law_environment(tmp_path / "store", PATH=f"{LAW.parent}{os.pathsep}/usr/bin:/bin"),
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    for task in ("SimulateFrames", "TrainCleaner", "CleaningReport"):
        assert task in ran.stdout


@pytest.mark.parametrize("site", SITES)
def test_every_shipped_site_can_be_chosen(site, tmp_path):
    folder = write_folder(tmp_path / "mine", "smoke", site)
    # the repository's file is inherited, and the site's file is read
    assert settings(folder, "luigi_core.no_lock", "core.extend") == ["True", "site.cfg"]


def test_it_runs_as_the_output_says(tmp_path):
    """From another folder, by the lines that the command prints, up to the first product."""
    done = subprocess.run(
        [str(LAW.with_name("aframe")), "init", "mine", "--from", "smoke"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    *_, export, command = done.stdout.rstrip().splitlines()
    task = command.replace("aframe.pipelines.sandbox.Sandbox", "aframe.StrainIndex")
    variables = law_environment(tmp_path / "store", PATH=f"{LAW.parent}{os.pathsep}/usr/bin:/bin")
    ran = subprocess.run(
        ["bash", "-ec", f"{export}\n{task}"],
        cwd=tmp_path,
        env=variables,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    assert len(list((tmp_path / "store" / "mine").glob("v1-*/strain/index.hdf5"))) == 1
    name = yaml.safe_load((tmp_path / "mine" / "experiment.yaml").read_text())["name"]
    assert name == "mine"
