"""A cleaning experiment: what is cleaned, which data train it, which data show how well."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Annotated, Any, Self

import yaml
from pydantic import Field, PrivateAttr, ValidationError, model_validator

from cleaning.problem import Layer, Positive, Problem, ProblemError, Section, load_problem

EXPERIMENT = "experiment.yaml"


class Stretch(Section):
    """A span of data."""

    start: Annotated[int, Field(gt=0)]
    """First second [GPS s]."""
    duration: Annotated[int, Field(gt=0)]
    """Length [s]."""

    @property
    def stop(self) -> int:
        """Second after the last [GPS s]."""
        return self.start + self.duration


class Fetch(Section):
    """Frame types at the observatory, for GWDataFind; NDS2 needs none."""

    strain: str | None = None
    """Of the strain, such as `H1_HOFT_C00`."""
    witness: str | None = None
    """Of the witnesses, such as `H1_R`."""
    state: str | None = None
    """Of the state vector; that of the strain if None."""


class CleaningExperiment(Section):
    """Everything that can change what is trained and cleaned."""

    name: str
    """Name of the experiment."""
    seed: Annotated[int, Field(ge=0)] = 0
    """All that is random follows from it."""
    problem: str = "problem.yaml"
    """File of the problem, in the experiment's folder or by its path."""
    simulation: str | None = None
    """File of what is simulated; the data are fetched or given if None."""
    fetch: Fetch | None = None
    """What is fetched from the observatory; the data are simulated or given if None."""
    training: Stretch
    """Data to learn from; the last `valid_fraction` of them choose the best network."""
    valid_fraction: Annotated[float, Field(gt=0, lt=1)] = 0.25
    """Part of the training data that is validated on."""
    evaluation: Stretch
    """Data to be cleaned and reported on; not trained on."""
    kernel_length: Positive = 8.0
    """Length of the stretches that a network is trained on [s]."""
    layer: Annotated[int, Field(ge=0)] = 0
    """Layer of the problem that a training is for."""
    _folder: Path = PrivateAttr(default=Path())

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.simulation is not None and self.fetch is not None:
            raise ValueError("simulation and fetch exclude each other: name one of them")
        train, test = self.training, self.evaluation
        if train.start < test.stop and test.start < train.stop:
            raise ValueError(
                f"training [{train.start}, {train.stop}) and evaluation [{test.start}, "
                f"{test.stop}) overlap: a network must be shown on data that it never saw"
            )
        return self

    def file(self, name: str) -> Path:
        """Path of a file that the experiment names."""
        return self._folder / name

    def load_problem(self) -> Problem:
        """The problem.

        Raises:
            ProblemError: Its file is missing or wrong, or it has no such layer.
        """
        problem = load_problem(self.file(self.problem))
        if self.layer >= len(problem.layers):
            raise ProblemError(
                f"layer {self.layer} of {problem.name}, which has {len(problem.layers)}"
            )
        return problem

    def of_layer(self, layer: int) -> CleaningExperiment:
        """The experiment of another layer's training."""
        changed = self.model_copy(update={"layer": layer})
        changed._folder = self._folder
        return changed

    @property
    def training_layer(self) -> Layer:
        """The layer that a training is for."""
        return self.load_problem().layers[self.layer]

    @property
    def split(self) -> int:
        """Second at which validation begins [GPS s]."""
        train = self.training
        return train.stop - max(1, round(train.duration * self.valid_fraction))

    def settings(self) -> dict[str, Any]:
        """All of it as plain values, the problem included."""
        content = self.model_dump(mode="json")
        return content | {"problem": self.load_problem().model_dump(mode="json")}

    @property
    def digest(self) -> str:
        """Short digest of the experiment and all files that it names."""
        texts = [json.dumps(self.settings(), sort_keys=True)]
        if self.simulation is not None:
            texts.append(self.file(self.simulation).read_text())
        return hashlib.sha256("\n".join(texts).encode()).hexdigest()[:12]


def load_cleaning_experiment(path: str | Path) -> CleaningExperiment:
    """Read a cleaning experiment.

    Args:
        path: The file, or the folder that holds `experiment.yaml`.

    Raises:
        ProblemError: It is missing, or says something that cannot be.
    """
    path = Path(path)
    if path.is_dir():
        path /= EXPERIMENT
    if not path.is_file():
        raise ProblemError(f"no experiment file {path}: expected a YAML file")
    try:
        found = CleaningExperiment.model_validate(yaml.safe_load(path.read_text()))
    except yaml.YAMLError as error:
        raise ProblemError(f"{path} is not YAML: {error}") from None
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"])) or "the file"
        raise ProblemError(f"{path}, {place}: {first['msg']}") from None
    found._folder = path.parent
    found.load_problem()
    return found
