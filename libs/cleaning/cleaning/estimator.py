"""From witnesses to the noise in the strain, over any whole seconds, always the same."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from cleaning.bandpass import BandPass
from cleaning.predictor import Predictor
from cleaning.problem import Layer, Problem
from cleaning.resampling import Resampler
from cleaning.series import Series


class Reach(NamedTuple):
    """What a sample of noise sees of the witnesses.

    Attributes:
        past: Time before it [s].
        future: Time after it [s].
    """

    past: float
    future: float


@dataclass(frozen=True)
class LayerEstimator:
    """The noise that one layer takes off.

    Attributes:
        layer: Bands and rate.
        channels: Full names of the witnesses, in the order of the network's inputs.
        predictor: From witnesses to noise.
        sample_rate: Rate of the noise [Hz].
        batch_length: Longest stretch that it is given at once [s]; bounds the memory.
    """

    layer: Layer
    channels: tuple[str, ...]
    predictor: Predictor
    sample_rate: int
    batch_length: int = 64

    @property
    def band_pass(self) -> BandPass:
        """Filter of the network's output."""
        return BandPass(self.layer.bands, self.layer.sample_rate)

    @property
    def upsampler(self) -> Resampler:
        """From the network's rate to the strain's."""
        return Resampler(self.layer.sample_rate, self.sample_rate)

    def reach(self, rates: Mapping[str, int]) -> Reach:
        """What an output sample sees of the witnesses.

        Args:
            rates: Rate of each channel [Hz].
        """
        rate, predictor = self.layer.sample_rate, self.predictor
        resampled = max(Resampler(rates[name], rate).reach for name in self.channels)
        band = self.band_pass.half_size / rate
        filters = resampled + band + self.upsampler.reach + 1 / rate
        # the network begins at whole hops
        past = (predictor.past_size + predictor.hop_size) / rate
        future = (predictor.future_size + predictor.hop_size) / rate
        return Reach(filters + past, filters + future)

    def __call__(self, witnesses: Mapping[str, Series], start: int, stop: int) -> np.ndarray:
        """Noise in whole seconds.

        Args:
            witnesses: By full name; they must go `reach` beyond the span on either side.
            start: First second [GPS s].
            stop: Second after the last [GPS s].

        Returns:
            Noise of shape ((stop - start) * sample_rate,), float64, in strain.

        Raises:
            ValueError: The witnesses are too short.
        """
        parts = [np.zeros(0)]
        for first in range(start, stop, self.batch_length):
            last = min(first + self.batch_length, stop)
            part = self._part(witnesses, first, last)
            if not np.isfinite(part).all() and last - first > 1:
                # what is not finite spreads over all that is filtered with it
                part = np.concatenate(
                    [self._part(witnesses, second, second + 1) for second in range(first, last)]
                )
            parts.append(part)
        return np.concatenate(parts)

    def _part(self, witnesses: Mapping[str, Series], start: int, stop: int) -> np.ndarray:
        rate, predictor = self.layer.sample_rate, self.predictor
        hop, past, future = predictor.hop_size, predictor.past_size, predictor.future_size
        margin = self.band_pass.half_size + math.ceil(self.upsampler.reach * rate) + 1
        # the network starts at a multiple of its hop, counted from GPS 0, wherever data begin
        first = (start * rate - margin - past) // hop * hop
        last = -(-(stop * rate + margin + future) // hop) * hop
        inputs = np.stack(
            [self._resampled(witnesses[name], rate, first, last) for name in self.channels]
        )
        noise = np.asarray(predictor.predict(inputs, first), dtype=np.float64)
        series = Series(noise[past : len(noise) - future], rate, first + past)
        return self.upsampler(self.band_pass(series)).seconds(start, stop).values

    @staticmethod
    def _resampled(series: Series, rate: int, first: int, stop: int) -> np.ndarray:
        resampler = Resampler(series.rate, rate)
        # no more than is asked for goes through the filter
        margin = math.ceil(resampler.reach * series.rate) + 1
        begin = first * series.rate // rate - margin
        end = -(-stop * series.rate // rate) + margin
        wanted = series.cut(max(begin, series.first), min(end, series.stop))
        return resampler(wanted).cut(first, stop).values


@dataclass(frozen=True)
class NoiseEstimator:
    """The noise in the strain by all layers of a problem.

    Layers add up. Everything between witnesses and noise is a finite filter or a network of
    finite reach that begins at whole hops counted from GPS 0: the noise in a second is the same,
    to rounding, whatever stretch it is computed in.

    Attributes:
        problem: What is cleaned.
        layers: One for each layer of the problem.
    """

    problem: Problem
    layers: tuple[LayerEstimator, ...]

    @classmethod
    def of(cls, problem: Problem, predictors: Sequence[Predictor]) -> NoiseEstimator:
        """Put networks to a problem's layers.

        Raises:
            ValueError: There are more or fewer networks than layers.
        """
        if len(predictors) != len(problem.layers):
            raise ValueError(
                f"{len(predictors)} networks for the {len(problem.layers)} layers of "
                f"{problem.name}: give one for each"
            )
        layers = (
            LayerEstimator(layer, problem.layer_witnesses(layer), predictor, problem.sample_rate)
            for layer, predictor in zip(problem.layers, predictors, strict=True)
        )
        return cls(problem, tuple(layers))

    def reach(self, rates: Mapping[str, int]) -> Reach:
        """What a sample of noise sees of the witnesses."""
        reaches = [layer.reach(rates) for layer in self.layers]
        return Reach(max(r.past for r in reaches), max(r.future for r in reaches))

    def __call__(self, witnesses: Mapping[str, Series], start: int, stop: int) -> np.ndarray:
        """Noise in whole seconds; see `LayerEstimator`."""
        total = np.zeros((stop - start) * self.problem.sample_rate)
        for layer in self.layers:
            total += layer(witnesses, start, stop)
        return total
