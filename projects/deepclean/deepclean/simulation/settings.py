"""What is simulated: sources of noise, who sees them, and how they get into the strain."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

Positive = Annotated[float, Field(gt=0)]
Rate = Annotated[int, Field(gt=0)]


class Section(BaseModel):
    """A part of the file: no unknown keys, no change after reading."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Mains(Section):
    """The power line: a carrier whose frequency and size wander."""

    kind: Literal["mains"]
    frequency: Positive = 60.0
    """Its mean frequency [Hz]."""
    frequency_wander: Annotated[float, Field(ge=0)] = 0.01
    """Root mean square of the frequency's wander, over minutes [Hz]."""
    size_wander: Annotated[float, Field(ge=0, lt=0.5)] = 0.05
    """Root mean square of the amplitude's wander, relative."""


class Motion(Section):
    """Random motion, such as that of a mirror's angle."""

    kind: Literal["motion"]
    band: tuple[Annotated[float, Field(ge=0)], Positive] = (0.0, 1.0)
    """Where its power lies [Hz]."""


Source = Annotated[Mains | Motion, Field(discriminator="kind")]


class Sensor(Section):
    """A witness channel."""

    source: str
    """What it sees."""
    rate: Rate
    """Its sample rate [Hz]."""
    gain: float = 1.0
    """Counts per unit of the source, whose root mean square is 1 (the amplitude, of mains)."""
    noise: Annotated[float, Field(ge=0)] = 0.0
    """Root mean square of its own white noise, relative to what it sees of the source."""


class Resonance(Section):
    """What rings between a source and the strain, such as the suspension of a mirror.

    A damped oscillator that the source drives: f0^2 / (f0^2 - f^2 + i f f0 / Q), divided by Q, so
    that the gain is 1 at the resonance and 1 / Q far below it.
    """

    frequency: Positive
    """Frequency f0 of the oscillator without its damping [Hz]."""
    quality: Annotated[float, Field(gt=0.5)]
    """Quality factor Q: it rings for Q / (pi f0) seconds, until 1 / e is left."""


class Coupling(Section):
    """A way into the strain: a source, or the product of two."""

    sources: Annotated[tuple[str, ...], Field(min_length=1, max_length=2)]
    """One source for a linear coupling, two for a bilinear one."""
    size: Positive
    """Root mean square of the noise, in units of the background's within 1 Hz around `at`; with a
    resonance, of what a source that lies at its frequency makes."""
    at: Positive = 60.0
    """Frequency at which the background is taken as the unit [Hz]."""
    delay: Annotated[float, Field(ge=0, le=0.05)] = 0.0
    """Time from the sources to the strain [s]."""
    resonance: Resonance | None = None
    """What the source goes through; for linear couplings."""
    drift: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """How far the size swings about its mean, relative."""
    period: Positive = 3600.0
    """Period of that swing [s]."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.resonance is not None and len(self.sources) != 1:
            raise ValueError(
                f"a resonance of the product of {' and '.join(self.sources)}: give it to a "
                "coupling of one source"
            )
        return self


class Glitches(Section):
    """Short disturbances of the strain that no witness sees."""

    rate: Annotated[float, Field(ge=0)] = 0.0
    """Glitches per second [Hz]."""
    size: Positive = 50.0
    """Peak, in units of the background's root mean square within 1 Hz around 150 Hz."""


class Simulation(Section):
    """What is simulated."""

    seed: int = 0
    """Everything random follows from it and the GPS time."""
    strain_rate: Rate = 4096
    """Sample rate of the strain [Hz]."""
    sources: dict[str, Source]
    """Sources by name."""
    witnesses: dict[str, Sensor]
    """Witness channels, by name without the detector's prefix."""
    couplings: tuple[Coupling, ...] = ()
    """Ways into the strain; they add up."""
    glitches: Glitches = Glitches()
    drop_rate: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Part of the seconds whose witness frame is never written."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        named = [(f"witness {n}", (s.source,)) for n, s in self.witnesses.items()]
        named += [(f"coupling {i}", c.sources) for i, c in enumerate(self.couplings)]
        for who, sources in named:
            for source in sources:
                if source not in self.sources:
                    raise ValueError(
                        f"{who} names the source {source}, found {', '.join(self.sources)}"
                    )
        return self


def load_simulation(path: str | Path) -> Simulation:
    """Read what to simulate from its YAML file.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: The file says something that cannot be.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no simulation file {path}: expected a YAML file")
    try:
        return Simulation.model_validate(yaml.safe_load(path.read_text()))
    except yaml.YAMLError as error:
        raise ValueError(f"{path} is not YAML: {error}") from None
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"])) or "the file"
        raise ValueError(f"{path}, {place}: {first['msg']}") from None
