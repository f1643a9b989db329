"""The experiment: every number that can change a result, typed and cross-checked when read."""

from __future__ import annotations

import hashlib
import itertools
import json
import os
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, ValidationError, model_validator

Span = tuple[float, float]
Positive = Annotated[float, Field(gt=0)]


class ExperimentError(ValueError):
    """An experiment file is missing or says something that cannot be."""


class Section(BaseModel):
    """A part of the experiment file: no unknown keys, no change after reading."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Whitening(Section):
    """How strain is whitened, in training, inference and the exported model alike."""

    psd_length: Positive
    """Stretch of strain just before the data to be whitened, from which its PSD is taken [s]."""
    fftlength: Positive
    """Length of the segments of the median Welch estimate, half overlapping [s]."""
    fduration: Positive
    """Length of the whitening filter; half of it is lost at either end [s]."""
    update_length: Positive
    """How long one PSD is used before the next is taken [s]."""


class SimulatedStrain(Section):
    """Stationary Gaussian noise coloured by a published curve."""

    source: Literal["simulate"]
    noise_curves: dict[str, str]
    """For each detector a lalsimulation noise function, a bilby noise curve, or a file
    with columns frequency [Hz] and ASD [1/sqrt(Hz)], relative to the experiment's folder."""
    training: Span
    """GPS span to train on [s]."""
    validation: Span
    """GPS span to choose the network on [s]."""
    search: Span
    """GPS span to search [s]."""
    file_length: Positive = 4096.0
    """Longest file [s]."""

    def files(self) -> list[tuple[str, float, float]]:
        """Role and GPS span of each file to simulate: spans cut at `file_length`."""
        files = []
        for role in ("training", "validation", "search"):
            start, stop = getattr(self, role)
            while start < stop:
                end = min(start + self.file_length, stop)
                files.append((role, start, end))
                start = end
        return files

    @model_validator(mode="after")
    def _disjoint(self) -> SimulatedStrain:
        spans = {name: getattr(self, name) for name in ("training", "validation", "search")}
        for name, (start, stop) in spans.items():
            if not start < stop:
                raise ValueError(f"strain.{name} [{start}, {stop}) is empty")
        order = sorted(spans, key=lambda name: spans[name][0])
        for left, right in itertools.pairwise(order):
            if spans[left][1] > spans[right][0]:
                raise ValueError(
                    f"strain.{left} {list(spans[left])} overlaps strain.{right} "
                    f"{list(spans[right])}"
                )
        return self


class ImportedStrain(Section):
    """Strain from a folder of files, divided into folds that search each other."""

    source: Literal["import"]
    validation_fraction: Annotated[float, Field(gt=0, lt=1)] = 0.25
    """Part of a fold's training files on which the network is chosen."""
    edge_fraction: Annotated[float, Field(ge=0, lt=0.5)] = 0.0
    """Part of each file left out at either end, where it is tapered."""
    known_event_window: tuple[float, float] = (-2.0, 2.0)
    """Around the time of a known event: left out of training and background [s]."""


class Waveforms(Section):
    """Signals."""

    approximant: Literal["IMRPhenomD", "IMRPhenomPv2"]
    prior: str
    """Name of a population in `libs/priors`."""
    redshift_max: Positive = 2.0
    """Largest redshift drawn; must lie beyond the reach of the detectors."""
    duration: Positive
    """Length of a stored signal [s]."""
    right_pad: Positive
    """From coalescence to the end of a stored signal [s]."""
    minimum_frequency: Positive
    """Frequency at which a signal begins [Hz]."""
    reference_frequency: Positive
    """Frequency at which spins are given [Hz]."""
    num_training: Annotated[int, Field(gt=0)]
    """Number of signals to train on."""
    chirp_mass_exponent: Annotated[float, Field(ge=0, le=5)] = 1.5
    """Training signals are drawn from the prior times the detector-frame chirp mass to this
    power, since training fixes their SNR and heavier sources are seen further. 0 is the prior;
    2.5 is what a Euclidean universe without end would give; 1.5 is near what is accepted as an
    injection from redshifts up to 1 at the sensitivity of O3."""


class Injections(Section):
    """Simulated signals for validation and for the measurement of sensitivity."""

    snr_threshold: Annotated[float, Field(ge=0)] = 4.0
    """Draws below this network SNR are rejected (and counted)."""
    spacing: Positive
    """Time between injections of one pass [s]."""
    passes: Annotated[int, Field(gt=0)]
    """How many times the search span is filled, each pass at other times."""
    validation_passes: Annotated[int, Field(gt=0)] = 1
    """The same for the validation span."""


class Search(Section):
    """Scores to events."""

    scores_per_second: Annotated[int, Field(gt=0)]
    """Rate of the scores; divides 64 [Hz]."""
    integration_length: Annotated[float, Field(ge=0)]
    """Length of the running mean over scores; 0 for none [s]."""
    cluster_length: Positive
    """An event is the loudest score within this time to either side [s]."""
    slide_step: Positive
    """Smallest time between two slides; at least kernel plus integration [s]."""
    background_livetime: Positive
    """Livetime to reach by slides, if the data allow [s]."""


class Evaluation(Section):
    """What the report tells."""

    false_alarm_rates: tuple[Positive, ...]
    """False-alarm rates at which found injections are counted [1/yr]."""
    mass_pairs: tuple[tuple[float, float], ...]
    """Source-frame masses at which a sensitive volume is given [Msun]."""
    mass_width: Positive = 0.1
    """Width of the log-normal mass distribution around a pair."""
    interval: Annotated[float, Field(gt=0, lt=1)] = 0.9
    """Probability content of the intervals."""
    num_loudest: Annotated[int, Field(ge=0)] = 5
    """Number of zero-lag events shown in detail."""


class Experiment(Section):
    """One experiment. All stages take these numbers from here and from nowhere else."""

    name: str
    """Name, that of its folder."""
    seed: int
    """From which all random numbers follow."""
    ifos: tuple[str, ...]
    """Detectors, for example [H1, L1]."""
    sample_rate: Positive
    """Sample rate [Hz]; 64 times a power of two."""
    highpass: Positive
    """Lowest frequency analysed [Hz]."""
    lowpass: Positive | None = None
    """Highest frequency analysed; none if absent [Hz]."""
    kernel_length: Positive
    """Length of the stretch that one score looks at [s]."""
    whitening: Whitening
    strain: Annotated[SimulatedStrain | ImportedStrain, Field(discriminator="source")]
    folds: Annotated[int, Field(ge=1, le=8)] = 1
    """In how many ways the data are divided into training and search."""
    waveforms: Waveforms
    injections: Injections
    search: Search
    evaluation: Evaluation

    _source: str = PrivateAttr(default="the experiment")

    @property
    def source(self) -> str:
        """File that the experiment was read from."""
        return self._source

    @model_validator(mode="after")
    def _consistent(self) -> Experiment:
        octaves = self.sample_rate / 64
        if octaves != int(octaves) or int(octaves) & (int(octaves) - 1):
            raise ValueError(f"sample_rate {self.sample_rate} is not 64 Hz times a power of two")
        if len(set(self.ifos)) != len(self.ifos) or not self.ifos:
            raise ValueError(f"ifos {list(self.ifos)} must name each detector once")
        top = self.lowpass or self.sample_rate / 2
        if not self.highpass < top <= self.sample_rate / 2:
            raise ValueError(
                f"highpass {self.highpass} and lowpass {self.lowpass} must lie in order below "
                f"half the sample rate, {self.sample_rate / 2}"
            )
        white = self.whitening
        if white.fftlength > white.psd_length:
            raise ValueError(
                f"whitening.fftlength {white.fftlength} exceeds psd_length {white.psd_length}"
            )
        if white.fduration > white.fftlength:
            raise ValueError(
                f"whitening.fduration {white.fduration} exceeds fftlength {white.fftlength}: a "
                "filter cannot be longer than the PSD resolves"
            )
        if 64 % self.search.scores_per_second:
            raise ValueError(
                f"search.scores_per_second {self.search.scores_per_second} must divide 64"
            )
        least = self.kernel_length + self.search.integration_length
        if self.search.slide_step < least:
            raise ValueError(
                f"search.slide_step {self.search.slide_step} s is less than kernel plus "
                f"integration, {least} s: slides would share data and not be independent"
            )
        if isinstance(self.strain, SimulatedStrain):
            missing = [ifo for ifo in self.ifos if ifo not in self.strain.noise_curves]
            if missing:
                raise ValueError(f"strain.noise_curves has none for {', '.join(missing)}")
            if self.folds != 1:
                raise ValueError(f"folds is {self.folds}: simulated strain has fixed spans, use 1")
            for name in ("training", "validation", "search"):
                start, stop = getattr(self.strain, name)
                if stop - start < self.shortest_segment:
                    raise ValueError(
                        f"strain.{name} is {stop - start} s long, shorter than "
                        f"{self.shortest_segment} s (psd_length + fduration + kernel_length)"
                    )
        elif self.folds < 2:
            raise ValueError(
                f"folds is {self.folds}: imported strain needs at least 2, so that no file is "
                "searched by a network that was trained on it"
            )
        if self.waveforms.right_pad >= self.waveforms.duration:
            raise ValueError(
                f"waveforms.right_pad {self.waveforms.right_pad} is not less than duration "
                f"{self.waveforms.duration}"
            )
        return self

    @property
    def shortest_segment(self) -> float:
        """Least length of strain that gives a score [s]."""
        return self.whitening.psd_length + self.whitening.fduration + self.kernel_length

    def settings(self) -> dict[str, Any]:
        """The resolved experiment as plain mappings and lists, for provenance."""
        return json.loads(self.model_dump_json())

    def digest(self, *others: str) -> str:
        """Eight characters that change when any number of the experiment changes.

        Args:
            others: Further text that the results depend on, for example a training file's.
        """
        text = json.dumps([self.settings(), *others], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:8]


def _sentence(path: Path, error: ValidationError) -> str:
    parts = []
    for item in error.errors():
        where = ".".join(str(p) for p in item["loc"] if p not in ("simulate", "import"))
        message = item["msg"].removeprefix("Value error, ")
        given = "" if item["type"] in ("missing", "value_error") else f" (found {item['input']!r})"
        parts.append(f"{where + ': ' if where else ''}{message}{given}")
    return f"{path}: " + "; ".join(parts)


def load_experiment(path: str | os.PathLike[str]) -> Experiment:
    """Read an experiment file.

    Args:
        path: The file, or the folder that holds `experiment.yaml`.

    Raises:
        ExperimentError: No such file, not YAML, or a setting is wrong; says which.
    """
    path = Path(path)
    if path.is_dir():
        path = path / "experiment.yaml"
    if not path.exists():
        raise ExperimentError(f"no experiment file {path}")
    try:
        content = yaml.safe_load(path.read_text())
    except yaml.YAMLError as error:
        raise ExperimentError(f"{path} is not YAML: {error}") from error
    if not isinstance(content, dict):
        raise ExperimentError(f"{path} must hold a mapping, found {type(content).__name__}")
    try:
        experiment = Experiment.model_validate(content)
    except ValidationError as error:
        raise ExperimentError(_sentence(path, error)) from None
    experiment._source = str(path)
    return experiment
