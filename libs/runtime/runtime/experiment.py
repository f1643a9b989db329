"""The experiment: every number that can change a result, typed and cross-checked when read."""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import re
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, ValidationError, model_validator

Span = tuple[float, float]
Role = Literal["training", "validation", "search"]
Storage = Literal["waveforms", "parameters"]
# Strain whose rate was lowered is whole up to this part of half the new rate; above it the
# anti-alias filter has taken signal and noise, and the PSD falls to nothing.
RESAMPLED_BAND = 0.82
ROLES: tuple[Role, ...] = ("training", "validation", "search")
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


class Glitches(Section):
    """Short disturbances added to simulated noise, in each detector at its own random times."""

    rate: Positive
    """Glitches per second in each detector [Hz]."""
    snr: tuple[Positive, Positive] = (5.0, 50.0)
    """Smallest and largest SNR; drawn with density proportional to SNR to the power -3."""
    frequency: tuple[Positive, Positive] = (40.0, 250.0)
    """Central frequencies of sine-Gaussians, drawn uniformly in the logarithm [Hz]."""
    quality: tuple[Positive, Positive] = (3.0, 20.0)
    """Quality factors of sine-Gaussians, drawn uniformly in the logarithm."""
    shapes: str | None = None
    """File of glitch shapes that `datagen cut-glitches` made, relative to the experiment's folder;
    sine-Gaussians where absent."""

    @model_validator(mode="after")
    def _ordered(self) -> Glitches:
        for name in ("snr", "frequency", "quality"):
            low, high = getattr(self, name)
            if low > high:
                raise ValueError(f"glitches.{name} [{low}, {high}] is not in order")
        return self


class Noise(Section):
    """Gaussian noise coloured by published or measured curves."""

    noise_curves: dict[str, str | tuple[str, ...]]
    """For each detector a lalsimulation noise function, a bilby noise curve, or a file
    with columns frequency [Hz] and ASD [1/sqrt(Hz)], or an HDF5 file of a PSD, relative to the
    experiment's folder; or several of these, which follow each other."""
    variation_length: Positive = 3600.0
    """Time over which, of several curves, one turns into the next; at least 64 s [s]."""
    glitches: Glitches | None = None
    """Glitches to add; none if absent."""

    def curves(self, ifo: str) -> tuple[str, ...]:
        """Noise curves of a detector, at least one."""
        named = self.noise_curves[ifo]
        return (named,) if isinstance(named, str) else named


class Spans(Section):
    """GPS spans of an experiment."""

    training: Span
    """GPS span to train on [s]."""
    validation: Span
    """GPS span to choose the network on [s]."""
    search: Span
    """GPS span to search [s]."""

    @model_validator(mode="after")
    def _disjoint(self) -> Self:
        spans = {name: getattr(self, name) for name in ROLES}
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


def cut(span: Span, longest: float) -> list[Span]:
    """Divide a GPS span into pieces of at most `longest` seconds, the last what is left."""
    start, stop = span
    pieces = []
    while start < stop:
        end = min(start + longest, stop)
        pieces.append((start, end))
        start = end
    return pieces


class SimulatedStrain(Noise, Spans):
    """Strain that is simulated throughout."""

    source: Literal["simulate"]
    file_length: Positive = 4096.0
    """Longest file [s]."""

    @property
    def noise(self) -> Noise:
        """The noise to simulate."""
        return self

    def simulated_files(self) -> list[tuple[Role, float, float]]:
        """Role and GPS span of each file to simulate: spans cut at `file_length`."""
        return [
            (role, *piece)
            for role in ROLES
            for piece in cut(getattr(self, role), self.file_length)
        ]


class Vetoes(Section):
    """Times to leave out, subtracted from the science segments on request."""

    categories: tuple[Literal["CAT1", "CAT2", "CAT3"], ...] = ()
    """Categories of the veto definer to subtract."""
    definer: str | None = None
    """Veto-definer file (LIGO_LW XML), relative to the experiment's folder."""
    segments: str | None = None
    """File of the segments of the definer's flags (LIGO_LW XML, or HDF5 by flag name), relative to
    the experiment's folder; where absent they are asked of DQSegDB."""
    gates: dict[str, str] = Field(default_factory=dict)
    """For each detector a file of gates (centre, half width, taper [s]), relative to the
    experiment's folder."""

    @model_validator(mode="after")
    def _defined(self) -> Vetoes:
        if self.categories and self.definer is None:
            raise ValueError("vetoes.categories needs vetoes.definer, the file that defines them")
        return self


class MinimumLengths(Section):
    """Least lengths of a coincident segment, by what it is for."""

    training: Positive = 1024.0
    """[s]"""
    validation: Positive = 1024.0
    """[s]"""
    search: Positive = 128.0
    """[s]"""


class FetchedStrain(Spans):
    """Strain of the observatories, from public or private archives."""

    source: Literal["fetch"]
    provider: Literal["gwosc", "files", "observatory"] = "gwosc"
    """Where strain comes from: the public archive, a folder of files (given as `--strain`), or
    the observatories' own services."""
    segments: str = "gwosc"
    """Where science segments come from: `gwosc`, `dqsegdb`, or a file of segments relative to the
    experiment's folder (columns start,stop; segwizard; or LIGO_LW XML)."""
    flags: dict[str, str] = Field(default_factory=dict)
    """Data-quality flag of each detector; `<ifo>_DATA` where absent."""
    channels: dict[str, str] = Field(default_factory=dict)
    """Channel of each detector, for providers that have several."""
    minimum_length: MinimumLengths = MinimumLengths()
    file_length: Annotated[float, Field(gt=0, le=20000)] = 20000.0
    """Longest file [s]."""
    vetoes: Vetoes = Vetoes()
    events: str | None = None
    """Catalogue of known events: `gwosc`, or a file relative to the experiment's folder with a
    column of names and one of GPS times; none if absent."""
    known_event_window: tuple[float, float] = (-2.0, 2.0)
    """Around the time of a known event: left out of training and background [s]."""
    simulated: tuple[Role, ...] = ()
    """Roles whose strain is simulated over their whole span, and not fetched."""
    noise: Noise | None = None
    """The noise of what is simulated."""

    def flag(self, ifo: str) -> str:
        """Data-quality flag of a detector."""
        return self.flags.get(ifo, f"{ifo}_DATA")

    @property
    def fetched(self) -> tuple[Role, ...]:
        """Roles whose strain is fetched."""
        return tuple(role for role in ROLES if role not in self.simulated)

    def simulated_files(self) -> list[tuple[Role, float, float]]:
        """Role and GPS span of each file to simulate: spans cut at `file_length`."""
        return [
            (role, *piece)
            for role in ROLES
            if role in self.simulated
            for piece in cut(getattr(self, role), self.file_length)
        ]

    @model_validator(mode="after")
    def _complete(self) -> FetchedStrain:
        if self.simulated and self.noise is None:
            raise ValueError(
                f"strain.simulated names {', '.join(self.simulated)}: give strain.noise too"
            )
        named = {**self.flags, **self.channels, **self.vetoes.gates}
        strange = sorted(name for name in named if not re.fullmatch("[A-Z][0-9]", name))
        if strange:
            raise ValueError(f"{', '.join(strange)} is no detector: expected names as H1, L1, V1")
        if not self.fetched:
            raise ValueError("strain.simulated names every role: use source: simulate")
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


ML4GW_APPROXIMANTS = ("IMRPhenomD", "IMRPhenomPv2", "TaylorF2", "SineGaussian", "Ringdown")


class Waveforms(Section):
    """Signals."""

    approximant: str
    """Waveform model: IMRPhenomD, IMRPhenomPv2, TaylorF2, SineGaussian or Ringdown of ml4gw, or
    any of lalsimulation's."""
    generator: Literal["ml4gw", "lalsimulation"] = "ml4gw"
    """Who makes it: ml4gw in batches, or lalsimulation one by one in several processes."""
    prior: str
    """Name of a population in `libs/priors`, or a file of one (.yaml or .prior), relative to the
    experiment's folder."""
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
    storage: Storage = "waveforms"
    """What is kept of the signals to train on."""
    chirp_mass_exponent: Annotated[float, Field(ge=0, le=5)] = 1.5
    """Training signals are drawn from the prior times the detector-frame chirp mass to this
    power, since training fixes their SNR and heavier sources are seen further. 0 is the prior;
    2.5 is what a Euclidean universe without end would give; 1.5 is near what is accepted as an
    injection from redshifts up to 1 at the sensitivity of O3."""

    @model_validator(mode="after")
    def _known(self) -> Waveforms:
        if self.generator == "ml4gw" and self.approximant not in ML4GW_APPROXIMANTS:
            raise ValueError(
                f"waveforms.approximant {self.approximant}: ml4gw has "
                f"{', '.join(ML4GW_APPROXIMANTS)}; for one of lalsimulation's add "
                "generator: lalsimulation"
            )
        return self


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
    jitter: Annotated[float, Field(ge=0)] = 1.0
    """Each injection is moved later at random by up to this, and by less than the distance of two
    of all passes [s]."""
    shifts: tuple[float, ...] | None = None
    """How much further each detector's data are slid from one pass of the search to the next, as
    many as there are detectors; none are slid if absent. Passes then see different pairs of noise
    [s]."""
    storage: Storage = "waveforms"
    """What is kept of the injections: float32 responses, or parameters alone, from which the same
    responses are made again bit for bit."""


class Search(Section):
    """Scores to events."""

    scores_per_second: Annotated[int, Field(gt=0)]
    """Rate of the scores; divides 64 [Hz]."""
    integration_length: Annotated[float, Field(ge=0)]
    """Length of the running mean over scores; 0 for none [s]."""
    cluster_length: Positive
    """An event is the loudest score within this time to either side [s]."""
    slide_step: Positive
    """Smallest time between two slides; at least kernel plus integration plus `cluster_length`
    [s]."""
    background_livetime: Positive
    """Livetime to reach by slides, if the data allow [s]."""
    vetoes: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    """For each detector files of times to leave out of its background, relative to the
    experiment's folder: text (start and stop, segwizard, or gates), LIGO_LW XML segments, or
    segments.hdf5 of `datagen query`. The zero lag keeps these times, its events there are marked.
    """
    ranking: str = "score"
    """What events are ranked by: `score`, the integrated score, or another of `infer.ranking`."""
    ranking_options: dict[str, float] = Field(default_factory=dict)
    """Options of the ranking."""


class Evaluation(Section):
    """What the report tells."""

    false_alarm_rates: tuple[Positive, ...]
    """False-alarm rates at which found injections are counted [1/yr]."""
    mass_pairs: tuple[tuple[float, float], ...]
    """Source-frame masses at which a sensitive volume is given [Msun]."""
    mass_width: Positive = 0.1
    """Width of the log-normal mass distribution around a pair."""
    populations: tuple[str, ...] = ()
    """Populations, besides, at which a sensitive volume is given: names of `libs/priors` or files
    as for `waveforms.prior`. The first is the one of which events are the signals in p_astro; the
    injections' own if there is none."""
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
    strain: Annotated[
        SimulatedStrain | ImportedStrain | FetchedStrain, Field(discriminator="source")
    ]
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
        search = self.search
        least = self.kernel_length + search.integration_length + search.cluster_length
        if search.slide_step < least:
            raise ValueError(
                f"search.slide_step {search.slide_step} s is less than kernel plus integration "
                f"plus cluster_length, {least} s: one disturbance in each detector could make an "
                "event in two slides, which would not be independent"
            )
        strange = sorted(set(search.vetoes) - set(self.ifos))
        if strange:
            raise ValueError(
                f"search.vetoes names {', '.join(strange)}, which is not among ifos "
                f"{list(self.ifos)}"
            )
        if not isinstance(self.strain, ImportedStrain):
            self._check_spans(self.strain)
        elif self.folds < 2:
            raise ValueError(
                f"folds is {self.folds}: imported strain needs at least 2, so that no file is "
                "searched by a network that was trained on it"
            )
        shifts = self.injections.shifts
        if shifts is not None and len(shifts) != len(self.ifos):
            raise ValueError(
                f"injections.shifts {list(shifts)} must have one number for each of "
                f"{', '.join(self.ifos)}"
            )
        if self.waveforms.right_pad >= self.waveforms.duration:
            raise ValueError(
                f"waveforms.right_pad {self.waveforms.right_pad} is not less than duration "
                f"{self.waveforms.duration}"
            )
        return self

    def _check_spans(self, strain: SimulatedStrain | FetchedStrain) -> None:
        if strain.noise is not None:
            missing = [ifo for ifo in self.ifos if ifo not in strain.noise.noise_curves]
            if missing:
                raise ValueError(f"strain.noise_curves has none for {', '.join(missing)}")
        if isinstance(strain, FetchedStrain):
            for option in ("flags", "channels"):
                others = sorted(set(getattr(strain, option)) - set(self.ifos))
                if others:
                    raise ValueError(
                        f"strain.{option} names {', '.join(others)}, which is not among ifos "
                        f"{list(self.ifos)}"
                    )
            self.require_band(f"strain.source {strain.source}")
        if self.folds != 1:
            raise ValueError(
                f"folds is {self.folds}: strain.source {strain.source} has fixed spans, use 1"
            )
        for name in ROLES:
            start, stop = getattr(strain, name)
            if stop - start < self.shortest_segment:
                raise ValueError(
                    f"strain.{name} is {stop - start} s long, shorter than "
                    f"{self.shortest_segment} s (psd_length + fduration + kernel_length)"
                )

    def require_band(self, reason: str) -> None:
        """Stop if the analysed band is wider than that of strain whose rate was lowered.

        Args:
            reason: Which strain that is, for the message.

        Raises:
            ValueError: `lowpass` is absent or too high.
        """
        top = RESAMPLED_BAND * self.sample_rate / 2
        if self.lowpass is None or self.lowpass > top:
            raise ValueError(
                f"lowpass is {self.lowpass}, expected at most {top:g} Hz: {reason} lowers the "
                f"sample rate to {self.sample_rate:g} Hz with a filter that keeps what is below "
                "that, and nothing may be divided by the PSD of what it takes"
            )

    @property
    def shortest_segment(self) -> float:
        """Least length of strain that gives a score [s]."""
        return self.whitening.psd_length + self.whitening.fduration + self.kernel_length

    def files(self) -> list[str]:
        """Names in the experiment that may be those of files beside it: part of its numbers."""
        names = [self.waveforms.prior, *self.evaluation.populations]
        names += [name for files in self.search.vetoes.values() for name in files]
        noise = None if isinstance(self.strain, ImportedStrain) else self.strain.noise
        if noise is not None:
            names += [curve for ifo in noise.noise_curves for curve in noise.curves(ifo)]
            if noise.glitches is not None and noise.glitches.shapes is not None:
                names.append(noise.glitches.shapes)
        if isinstance(self.strain, FetchedStrain):
            vetoes = self.strain.vetoes
            named = (self.strain.segments, self.strain.events, vetoes.definer, vetoes.segments)
            names += [name for name in (*named, *vetoes.gates.values()) if name is not None]
        return sorted(set(names))

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
        where = ".".join(str(p) for p in item["loc"] if p not in ("simulate", "import", "fetch"))
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
