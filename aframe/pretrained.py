"""Searches by a network that was trained before: the experiment is what its description says."""

import functools
import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import yaml
from ledger import staged
from runtime import Experiment, ExperimentError
from runtime.experiment import FetchedStrain

from aframe.analysis import list_strain
from aframe.environment import REPOSITORY
from aframe.storage import store_folder

MODELS = REPOSITORY / "models"

# What tells a folder of each kind, in the order in which they are looked for.
KINDS: dict[Literal["repository", "run", "kept"], tuple[str, ...]] = {
    "repository": ("repository.yaml",),
    "run": ("model.yaml", "model.pt"),
    "kept": ("model.yaml", "weights.pt"),
}


@dataclass(frozen=True)
class Pretrained:
    """A network that was trained before.

    Attributes:
        folder: Where it lies.
        kind: `repository` (of `export`), `run` (what a training leaves), or `kept` (what
            `train card` made of it).
        settings: The experiment of its training.
        digest: SHA-256 of its description, which holds that of the network.
    """

    folder: Path
    kind: Literal["repository", "run", "kept"]
    settings: dict[str, Any]
    digest: str


def find_model(name: str) -> Path:
    """Folder of a model.

    Args:
        name: Path of a folder, or name of one in `models/`; if empty, the only one there is.

    Raises:
        ExperimentError: There is none, or there are several to choose from.
    """
    known = sorted(path.parent.name for path in MODELS.glob("*/model.yaml"))
    if not name and len(known) == 1:
        return MODELS / known[0]
    if name in known:
        return MODELS / name
    if name and Path(name).is_dir():
        return Path(name).resolve()
    raise ExperimentError(
        f"{f'no model {name!r}' if name else 'no --model given'}: models/ has "
        f"{', '.join(known) or 'none'}; or give the path of a trained network's folder, or of a "
        "model repository"
    )


@functools.cache
def load_pretrained(name: str) -> Pretrained:
    """Read a model's description; once per process.

    Args:
        name: Name or folder of the model, see `find_model`.

    Raises:
        ExperimentError: There is no such model, or no description that is understood.
    """
    folder = find_model(name)
    found = [
        kind for kind, files in KINDS.items() if all((folder / file).is_file() for file in files)
    ]
    if not found:
        expected = "; or ".join(" and ".join(files) for files in KINDS.values())
        raise ExperimentError(f"{folder} holds no model: expected {expected}")
    kind = found[0]
    path = folder / KINDS[kind][0]
    content = yaml.safe_load(path.read_text())
    description = content.get("network", {}) if kind == "repository" else content
    if "settings" not in description:
        raise ExperimentError(f"{path} has no settings of a training: give another folder")
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return Pretrained(folder, kind, description["settings"], digest)


def list_source(source: Path) -> str:
    """Names, sizes and times of change of the files to be searched, as text.

    Raises:
        ExperimentError: There is no such file or folder.
    """
    if source.is_file():
        status = source.stat()
        return f"{source.name} {status.st_size} {status.st_mtime_ns}"
    if source.is_dir():
        return list_strain(source)
    raise ExperimentError(f"no file or folder {source} to search")


@functools.cache
def write_experiment(prefix: str, model: str, source: str) -> Path:
    """Write the experiment of a search by a model; once per process.

    Its numbers are those of the model's description. The place of the training file is taken by
    the digests of the model and of the files, so that each is part of the version. Files that the
    experiment names, such as a population, are taken from the model's folder.

    Args:
        prefix: What the search is for; begins the experiment's name.
        model: Name or folder of the model.
        source: File or folder to be searched.

    Returns:
        The experiment's folder, in the store.

    Raises:
        ExperimentError: The model cannot be used for this, or there is nothing to search.
    """
    pretrained = load_pretrained(model)
    name = f"{prefix}-{pretrained.folder.name}"
    try:
        experiment = Experiment.model_validate(pretrained.settings | {"name": name})
    except ValueError as error:
        raise ExperimentError(
            f"the settings of {pretrained.folder} are of another version of this code: "
            + str(error).splitlines()[0]
        ) from None
    if experiment.strain.source == "import":
        raise ExperimentError(
            f"{pretrained.folder} was trained on one of {experiment.folds} folds of a folder, and "
            "would search another one in folds, too: give a network that was trained on simulated "
            "or fetched strain"
        )
    files = list_source(Path(source))
    training = {
        "network": pretrained.digest,
        "strain": hashlib.sha256(files.encode()).hexdigest(),
    }
    texts = {
        "experiment.yaml": yaml.safe_dump(experiment.settings(), sort_keys=False).encode(),
        "train.yaml": yaml.safe_dump(training, sort_keys=False).encode(),
    }
    for file in experiment.files():
        if (pretrained.folder / file).is_file():
            texts[file] = (pretrained.folder / file).read_bytes()
    key = hashlib.sha256(b"\n".join(texts.values())).hexdigest()[:8]
    folder = store_folder() / "experiments" / key / name
    for file, content in texts.items():
        with staged(folder / file) as partial:
            partial.write_bytes(content)
    return folder


def strain_option(model: str, source: str) -> str:
    """The folder of `--strain` for the experiment of a search by a model.

    One that was trained on a folder of files by their times asks for such a folder, though
    nothing more is taken from it.
    """
    strain = load_pretrained(model).settings["strain"]
    if strain["source"] != "fetch" or FetchedStrain.model_validate(strain).provider != "files":
        return ""
    path = Path(source).absolute()
    return str(path if path.is_dir() else path.parent)
