"""What is to be cleaned, and by what: detector, bands, witnesses."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Annotated, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

Positive = Annotated[float, Field(gt=0)]
Band = tuple[Positive, Positive]


class ProblemError(ValueError):
    """A problem file is missing or says something that cannot be."""


class Section(BaseModel):
    """A part of the file: no unknown keys, no change after reading."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Layer(Section):
    """One network's work. Layers add up: each learns what those before it have left."""

    bands: Annotated[tuple[Band, ...], Field(min_length=1)]
    """Lower and upper edge of each band that noise is subtracted from [Hz]."""
    witnesses: Annotated[tuple[str, ...], Field(min_length=1)]
    """Channels that see the noise, without the detector's prefix. Their order is that of the
    network's inputs."""
    sample_rate: Annotated[int, Field(gt=0)]
    """Rate at which the network runs [Hz]."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        previous = 0.0
        for low, high in self.bands:
            if not previous <= low < high <= self.sample_rate / 2:
                raise ValueError(
                    f"band [{low}, {high}] Hz: bands must rise, must not overlap, and must end "
                    f"below half the layer's sample_rate, {self.sample_rate / 2} Hz"
                )
            previous = high
        if len(set(self.witnesses)) < len(self.witnesses):
            double = sorted({w for w in self.witnesses if self.witnesses.count(w) > 1})
            raise ValueError(f"witnesses named twice: {', '.join(double)}")
        return self


class Problem(Section):
    """What a cleaner is made for."""

    name: str
    """Name of the problem, such as `60Hz-H1`."""
    ifo: Annotated[str, Field(pattern=r"^[A-Z][0-9]$")]
    """Detector."""
    strain: str = "GDS-CALIB_STRAIN"
    """Strain channel, without the detector's prefix."""
    sample_rate: Annotated[int, Field(gt=0)] = 4096
    """Rate of the cleaned strain [Hz]."""
    state: str | None = None
    """Channel of the state vector, without the detector's prefix; none if no sample is to be
    judged by one."""
    state_mask: Annotated[int, Field(gt=0)] = 3
    """Bits of the state vector that all must be set where data are analysed."""
    layers: Annotated[tuple[Layer, ...], Field(min_length=1)]
    """One network each, applied one after the other."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        for layer in self.layers:
            if layer.sample_rate > self.sample_rate:
                raise ValueError(
                    f"a layer runs at {layer.sample_rate} Hz, above the cleaned strain's "
                    f"{self.sample_rate} Hz"
                )
        return self

    @property
    def strain_channel(self) -> str:
        """Full name of the strain channel."""
        return f"{self.ifo}:{self.strain}"

    @property
    def state_channel(self) -> str | None:
        """Full name of the state vector."""
        return None if self.state is None else f"{self.ifo}:{self.state}"

    @property
    def witnesses(self) -> tuple[str, ...]:
        """Full names of all layers' witnesses, each once, in the order of their first use."""
        names = dict.fromkeys(w for layer in self.layers for w in layer.witnesses)
        return tuple(f"{self.ifo}:{name}" for name in names)

    @property
    def bands(self) -> tuple[Band, ...]:
        """Bands of all layers, in rising order, each once."""
        return tuple(sorted({band for layer in self.layers for band in layer.bands}))

    @property
    def digest(self) -> str:
        """Short digest of all that a trained network depends on."""
        text = json.dumps(self.model_dump(mode="json"), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    def layer_witnesses(self, layer: Layer) -> tuple[str, ...]:
        """Full names of a layer's witnesses, in the order of its network's inputs."""
        return tuple(f"{self.ifo}:{name}" for name in layer.witnesses)

    def require_channels(self, found: set[str], where: str) -> None:
        """See that data have all channels.

        Args:
            found: Full names of the channels there.
            where: What holds them, for the message.

        Raises:
            ProblemError: Channels are missing.
        """
        wanted = [self.strain_channel, *self.witnesses]
        if self.state_channel is not None:
            wanted.append(self.state_channel)
        missing = [name for name in wanted if name not in found]
        if missing:
            raise ProblemError(
                f"{where} lacks {', '.join(missing)}, which the problem {self.name} names: give "
                "data with these channels, or take them out of the problem"
            )


def load_problem(path: str | Path) -> Problem:
    """Read a problem from its YAML file.

    Raises:
        ProblemError: The file is missing, or says something that cannot be.
    """
    path = Path(path)
    if not path.is_file():
        raise ProblemError(f"no problem file {path}: expected a YAML file of a problem")
    try:
        content = yaml.safe_load(path.read_text())
        return Problem.model_validate(content)
    except yaml.YAMLError as error:
        raise ProblemError(f"{path} is not YAML: {error}") from None
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"])) or "the file"
        raise ProblemError(f"{path}, {place}: {first['msg']}") from None
