"""What decides all bytes of a result: the experiment, its training file and its strain folder."""

import functools
import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path

import yaml
from runtime import Experiment, ExperimentError, load_experiment, storage
from runtime.experiment import FetchedStrain

from aframe.environment import REPOSITORY

CONFIGS = REPOSITORY / "configs"


@dataclass(frozen=True)
class Analysis:
    """One experiment as asked for on the command line.

    Attributes:
        folder: Folder of the experiment's files.
        experiment: The numbers.
        train_config: Text of `train.yaml`.
        strain: Folder of strain files; None where strain does not come from a folder.
        digest: Eight characters that change when any byte of the results may change.
    """

    folder: Path
    experiment: Experiment
    train_config: str
    strain: Path | None
    digest: str

    def write_experiment(self, folder: Path) -> Path:
        """Write the resolved experiment, with the files it names, for a stage to read.

        A stage reads this copy and not `configs/`, so that an edit while a pipeline runs cannot
        put products of other numbers into this version's folder.

        Args:
            folder: Where to; exists.

        Returns:
            Path of `experiment.yaml`.
        """
        for name in self.files():
            copy = folder / name
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes((self.folder / name).read_bytes())
        path = folder / "experiment.yaml"
        path.write_text(yaml.safe_dump(self.experiment.settings(), sort_keys=False))
        return path

    def files(self) -> list[str]:
        """Files in the experiment's folder that the experiment names, relative to it."""
        return _named_files(self.folder, self.experiment)


def _named_files(folder: Path, experiment: Experiment) -> list[str]:
    """Files that an experiment names: noise curves, populations, vetoes, segments.

    Raises:
        ExperimentError: One lies outside the experiment's folder.
    """
    names = [name for name in experiment.files() if (folder / name).is_file()]
    for name in names:
        if not (folder / name).resolve().is_relative_to(folder.resolve()):
            raise ExperimentError(
                f"{experiment.source} names {name}, which lies outside its folder: put a copy "
                "beside experiment.yaml, so that the experiment is whole"
            )
    return names


def find_experiment(name: str) -> Path:
    """Folder of an experiment.

    Args:
        name: Name of a folder in `configs/`, or path of a folder with an `experiment.yaml`.

    Raises:
        ExperimentError: There is none; lists what exists.
    """
    known = sorted(path.parent.name for path in CONFIGS.glob("*/experiment.yaml"))
    if name in known:
        return CONFIGS / name
    folder = Path(name)
    if os.sep in name and (folder / "experiment.yaml").is_file():
        return folder.resolve()
    raise ExperimentError(
        f"no experiment {name!r}: configs/ has {', '.join(known)}; or give the path of a folder "
        "with an experiment.yaml, as ./mine"
    )


def list_strain(folder: Path) -> str:
    """Names, sizes and times of change of all files in a strain folder, as text.

    In a bucket, of which the folder is the copy, versions take the place of times.

    Raises:
        ExperimentError: There is no such folder, or no file in it.
    """
    if url := storage.url_of(folder):
        if listed := storage.listing(url):
            return json.dumps(listed)
        raise ExperimentError(f"the strain folder {url} holds no file")
    if not folder.is_dir():
        raise ExperimentError(f"no strain folder {folder}: --strain names the folder to import")
    rows = []
    for path in sorted(folder.rglob("*")):
        if path.is_file() and not path.name.startswith("."):
            status = path.stat()
            rows.append((str(path.relative_to(folder)), status.st_size, status.st_mtime_ns))
    if not rows:
        raise ExperimentError(f"the strain folder {folder} holds no file")
    return json.dumps(rows)


def _local(strain: str) -> Path:
    """The folder, or that of its copies."""
    return storage.local_path(strain) if storage.is_url(strain) else Path(strain)


@functools.cache
def load_analysis(name: str, strain: str) -> Analysis:
    """Read all that decides a result; once per process.

    Args:
        name: Name or folder of the experiment.
        strain: Folder of strain files; empty for none.

    Raises:
        ExperimentError: A file is missing or wrong, or `strain` does not go with the experiment.
    """
    folder = find_experiment(name)
    experiment = load_experiment(folder)
    if experiment.name != folder.name:
        raise ExperimentError(
            f"{experiment.source} says name: {experiment.name}, its folder is called "
            f"{folder.name}: give both one name, it names the results too"
        )
    training = folder / "train.yaml"
    if not training.is_file():
        raise ExperimentError(f"no training file {training}: it goes beside experiment.yaml")
    from_folder = experiment.strain.source == "import" or (
        isinstance(experiment.strain, FetchedStrain) and experiment.strain.provider == "files"
    )
    if from_folder and not strain:
        raise ExperimentError(
            f"experiment {experiment.name} takes its strain from a folder: give --strain FOLDER"
        )
    if strain and not from_folder:
        raise ExperimentError(
            f"experiment {experiment.name} takes no strain from a folder, so that --strain "
            f"{strain} would have no effect: leave it out"
        )
    source = _local(strain).resolve() if strain else None
    text = training.read_text()
    parts = [text, *([list_strain(source)] if source else [])]
    # A curve given as a file is a number of the experiment that stands elsewhere.
    parts += [
        hashlib.sha256((folder / name).read_bytes()).hexdigest()
        for name in _named_files(folder, experiment)
    ]
    return Analysis(
        folder=folder,
        experiment=experiment,
        train_config=text,
        strain=source,
        digest=experiment.digest(*parts),
    )
