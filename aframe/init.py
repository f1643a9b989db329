"""Write the folder of an experiment of one's own, from one that is there; it runs at once."""

import argparse
import os
import re
import shlex
import shutil
import sys
import tempfile
from pathlib import Path

import yaml
from runtime import ExperimentError, load_experiment
from runtime.experiment import Experiment, FetchedStrain

from aframe.analysis import CONFIGS, find_experiment
from aframe.cleaning import NAMED
from aframe.environment import REPOSITORY

SITES = CONFIGS / "site"
# A name is part of paths and of the names of jobs.
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
COPIED = ("train.yaml", "tune.yaml")


def sites() -> list[str]:
    """Names of the site files that there are."""
    return sorted(path.stem for path in SITES.glob("*.cfg"))


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of `aframe init`."""
    parser.add_argument("folder", type=Path, help="folder to write; it names the experiment")
    parser.add_argument(
        "--from",
        dest="source",
        default="quickstart",
        metavar="EXPERIMENT",
        help="name of a folder in configs/, or path of one; default: quickstart",
    )
    parser.add_argument(
        "--site",
        default="local",
        choices=sites(),
        help="where its tasks are to run, a file of configs/site/; default: local",
    )


def run(given: argparse.Namespace) -> int:
    """Write the folder and say how to run it."""
    folder = write_folder(given.folder, given.source, given.site)
    files = ", ".join(sorted(path.name for path in folder.iterdir()))
    law = "law" if shutil.which("law") else str(Path(sys.prefix) / "bin" / "law")
    sys.stdout.write(
        f"made {folder}: {files}\n\nrun it:\n\n"
        f"    export LAW_CONFIG_FILE={shlex.quote(str(folder / 'law.cfg'))}\n"
        f"    {law} run {_pipeline(folder)}\n"
    )
    return 0


def write_folder(folder: Path, source: str, site: str) -> Path:
    """Write the folder of a new experiment, whole or not at all.

    Args:
        folder: Where to; its last part names the experiment. May exist if it is empty.
        source: Name or folder of the experiment to begin from.
        site: Name of a file in `configs/site/`.

    Returns:
        The folder, absolute.

    Raises:
        ExperimentError: There is no such experiment, or a file that it names is missing.
        ValueError: The folder's name cannot be that of an experiment.
        FileExistsError: There is something in the folder.
    """
    folder = folder.absolute()
    if not NAME.fullmatch(folder.name):
        raise ValueError(
            f"{folder.name!r} cannot name an experiment: give a folder whose name has letters, "
            "digits, '.', '_' and '-' alone and begins with a letter or a digit"
        )
    if folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
        raise FileExistsError(f"{folder} exists and is not empty: give the name of a new folder")
    begun_from = find_experiment(source)
    folder.parent.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        _fill(partial, folder, begun_from, site)
        partial.chmod(0o755)
        partial.rename(folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return folder


def _fill(partial: Path, folder: Path, source: Path, site: str) -> None:
    """Write all files into a folder that is then renamed to `folder`."""
    text = (source / "experiment.yaml").read_text()
    named, count = re.subn(r"(?m)^name:[ \t]*[^\s#]+", f"name: {folder.name}", text)
    if count != 1:
        raise ExperimentError(f"{source / 'experiment.yaml'} has no line `name: ...` of its own")
    if _is_cleaning(text):
        named = _with_named_files(named, source, partial)
    (partial / "experiment.yaml").write_text(named)
    if not _is_cleaning(text):
        for name in _files(source, load_experiment(partial)):
            copy = partial / name
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source / name, copy)
    for name in COPIED:
        if (source / name).is_file():
            shutil.copyfile(source / name, partial / name)
    settings = source / "law.cfg"
    given = settings.read_text() if settings.is_file() else "[core]\ninherit: ../../law.cfg\n"
    (partial / "law.cfg").write_text(_with_site(given, source, folder))
    (partial / "site.cfg").write_text(_without_base((SITES / f"{site}.cfg").read_text()))


def _is_cleaning(text: str) -> bool:
    """Whether an experiment is one of cleaning, and not a search."""
    content = yaml.safe_load(text)
    return isinstance(content, dict) and "problem" in content


def _with_named_files(text: str, source: Path, partial: Path) -> str:
    """Copy the files that a cleaning experiment names, wherever they lie, to beside it.

    Args:
        text: The experiment.
        source: Folder of the experiment to begin from.
        partial: Folder of the copies.

    Returns:
        The experiment, naming the copies.
    """
    content = yaml.safe_load(text)
    for key in NAMED:
        if content.get(key) is None:
            continue
        path = source / content[key]
        if not path.is_file():
            raise ExperimentError(
                f"{source / 'experiment.yaml'} names {content[key]}, and there is no {path}: put "
                "the file there first"
            )
        shutil.copyfile(path, partial / path.name)
        line = re.search(rf"(?m)^{key}:[ \t]*{re.escape(str(content[key]))}", text)
        if line is None:
            raise ExperimentError(
                f"{source / 'experiment.yaml'} has no line `{key}: {content[key]}` of its own"
            )
        text = f"{text[: line.start()]}{key}: {path.name}{text[line.end() :]}"
    return text


def _files(source: Path, experiment: Experiment) -> list[str]:
    """Files that an experiment names; a curve of LAL or Bilby, by its name alone, is none."""
    names = []
    for name in experiment.files():
        if (source / name).is_file():
            names.append(name)
        elif "/" in name:
            raise ExperimentError(
                f"{source / 'experiment.yaml'} names {name}, and there is no {source / name}: "
                "put the file there first"
            )
    return names


def _with_site(text: str, source: Path, folder: Path) -> str:
    """A law configuration that finds what it inherits from another folder, and the site file.

    law takes paths as relative to the file that names them. Within the repository they stay
    relative, so that the repository can be moved.
    """
    inside = folder.is_relative_to(REPOSITORY)

    def moved(match: re.Match[str]) -> str:
        paths = [(source / part.strip()).resolve() for part in match[1].split(",")]
        shown = [os.path.relpath(path, folder) if inside else str(path) for path in paths]
        return f"inherit: {', '.join(shown)}\nextend: site.cfg"

    # One that was begun in this way has a site file of its own, which is not taken over.
    text = re.sub(r"(?m)^extend:.*\n?", "", text)
    text, count = re.subn(r"(?m)^inherit:[ \t]*(.+?)[ \t]*$", moved, text, count=1)
    if not count:
        raise ExperimentError(f"{source / 'law.cfg'} has no line `inherit: ...` in [core]")
    return text


def _without_base(text: str) -> str:
    """A site file without the lines on how to use it alone: law.cfg beside it makes use of it."""
    return re.sub(r"(?m)^(inherit:|# LAW_CONFIG_FILE=).*\n", "", text)


def _pipeline(folder: Path) -> str:
    """What `law run` is to run for an experiment, with the options that it needs."""
    text = (folder / "experiment.yaml").read_text()
    given = f"--experiment {shlex.quote(str(folder))}"
    if _is_cleaning(text):
        content = yaml.safe_load(text)
        makes = content.get("simulation") or content.get("fetch")
        frames = "" if makes else " --frames FOLDER"
        return f"aframe.pipelines.deepclean.DeepClean {given}{frames}"
    strain = load_experiment(folder).strain
    wants_folder = strain.source == "import" or (
        isinstance(strain, FetchedStrain) and strain.provider == "files"
    )
    return (
        "aframe.pipelines.sandbox.Sandbox " + given + (" --strain FOLDER" if wants_folder else "")
    )
