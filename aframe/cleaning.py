"""What decides all bytes of a cleaning result: the experiment, its problem, its training file."""

import functools
import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from runtime import ExperimentError

from aframe.analysis import find_experiment, list_strain

NAMED = ("problem", "simulation")
"""What names a file in a cleaning experiment."""


@dataclass(frozen=True)
class CleaningSettings:
    """A cleaning experiment as far as the order of the stages depends on it.

    The stages read it whole, and check it.

    Attributes:
        name: Its name.
        content: All of it, as it stands in the file.
        num_layers: Layers of the problem, a network each.
    """

    name: str
    content: dict[str, Any]
    num_layers: int

    @property
    def simulated(self) -> bool:
        """Whether its frames are simulated."""
        return self.content.get("simulation") is not None

    @property
    def fetched(self) -> bool:
        """Whether its frames come from the observatory."""
        return self.content.get("fetch") is not None


@dataclass(frozen=True)
class CleaningAnalysis:
    """One cleaning experiment as asked for on the command line.

    Attributes:
        folder: Folder of the experiment's files.
        experiment: The experiment.
        train_config: Text of `train.yaml`.
        frames: Folder of given frames; None where they are simulated or fetched.
        digest: Eight characters that change when any byte of the results may change.
    """

    folder: Path
    experiment: CleaningSettings
    train_config: str
    frames: Path | None
    digest: str

    def write_experiment(self, folder: Path, layer: int = 0) -> Path:
        """Write the experiment, with the files it names, for a stage to read.

        Args:
            folder: Where to; exists.
            layer: Layer of the problem that a training is for.

        Returns:
            Path of `experiment.yaml`.
        """
        content = self.experiment.content | {"layer": layer}
        for name, path in _named_files(self.folder, content).items():
            (folder / path.name).write_bytes(path.read_bytes())
            content[name] = path.name
        path = folder / "experiment.yaml"
        path.write_text(yaml.safe_dump(content, sort_keys=False))
        return path


def _named_files(folder: Path, content: dict[str, Any]) -> dict[str, Path]:
    found = {name: folder / content[name] for name in NAMED if content.get(name) is not None}
    for name, path in found.items():
        if not path.is_file():
            raise ExperimentError(f"{folder / 'experiment.yaml'} names {path} as {name}: no file")
    return found


@functools.cache
def load_cleaning(name: str, frames: str) -> CleaningAnalysis:
    """Read all that decides a cleaning result; once per process.

    Args:
        name: Name or folder of the experiment.
        frames: Folder of frames; empty for none.

    Raises:
        ExperimentError: A file is missing or of another kind, or `frames` does not go with the
            experiment.
    """
    folder = find_experiment(name)
    source, training = folder / "experiment.yaml", folder / "train.yaml"
    content = yaml.safe_load(source.read_text())
    if not isinstance(content, dict) or "problem" not in content:
        raise ExperimentError(f"{source} names no problem: it is not of a cleaning experiment")
    if content.get("name") != folder.name:
        raise ExperimentError(
            f"{source} says name: {content.get('name')}, its folder is called {folder.name}: give "
            "both one name, it names the results too"
        )
    if not training.is_file():
        raise ExperimentError(f"no training file {training}: it goes beside experiment.yaml")
    files = _named_files(folder, content)
    problem = yaml.safe_load(files["problem"].read_text())
    layers = problem.get("layers") if isinstance(problem, dict) else None
    if not isinstance(layers, list) or not layers:
        raise ExperimentError(f"{files['problem']} has no layers: expected one or more")
    experiment = CleaningSettings(folder.name, content, len(layers))
    if experiment.simulated and experiment.fetched:
        raise ExperimentError(f"{source} names simulation and fetch: name one of them")
    makes = experiment.simulated or experiment.fetched
    if makes and frames:
        how = "simulates" if experiment.simulated else "fetches"
        raise ExperimentError(
            f"experiment {folder.name} {how} its frames, so that --frames {frames} would have "
            "no effect: leave it out"
        )
    if not makes and not frames:
        raise ExperimentError(
            f"experiment {folder.name} takes its frames from a folder: give --frames FOLDER"
        )
    given = Path(frames).resolve() if frames else None
    text = training.read_text()
    parts = [source.read_text(), text, *(path.read_text() for path in files.values())]
    parts += [list_strain(given)] if given else []
    digest = hashlib.sha256("\n".join(parts).encode()).hexdigest()[:8]
    return CleaningAnalysis(folder, experiment, text, given, digest)
