"""Whether detectors see the same power at the same time and frequency; without a template.

The strain about an event is cut into tiles of time and frequency, with n Fourier bins each. In
white noise of unit variance the energy E_i of a tile of detector i, which is 2 / N times the sum
of the squares of its Fourier coefficients for segments of N samples, follows chi-squared with 2n
degrees of freedom. A signal adds w_i g, where g is its power in the tile and w_i the detector's
sensitivity there, the mean square of its whitening filter's response. With
e_i = (E_i - 2n) / sqrt(4n) and c_i = w_i / |w| the best common power is s = sum_i c_i e_i, and it
leaves

    chi2 = sum over tiles of (sum_i e_i^2 - s^2).

In Gaussian noise the part of a tile has the mean d - 1 for d detectors, so that chi2 over its
degrees of freedom has the mean 1; `Consistency.noise_variance` is its variance. The power of a
glitch, which is in one detector alone, stays in chi2 whatever its shape.

Detectors do not respond to a source alike. As the searches of initial LIGO did for templates that
do not quite match (B. Abbott et al., PRD 69, 122001 (2004); B. Allen, PRD 71, 062001 (2005)), loud
events are forgiven a share of what detectors have in common:

    chi2_r = chi2 / (dof + tolerance max(0, sum of s^2 - number of tiles)).

A pair of equally sensitive detectors whose amplitudes differ by a factor a keeps in chi2 the part
((1 - a^2) / (1 + a^2))^2 of that: with the default of 1/4 a factor of sqrt(3) costs nothing, and a
glitch in one of two detectors reaches at most chi2_r = 4.

The statistic is the reweighted SNR of S. A. Usman et al., CQG 33, 215004 (2016), on a positive map
of the score y, which may be negative:

    log(1 + exp(statistic)) = log(1 + exp(y)) / max(1, (1 + chi2_r^3) / 2)^(1/6).

The map is y itself where y is large, and the statistic is never above y.

A PSD measured in a few segments makes whitened noise louder than of unit variance, and its level
uneven from time to time. In a search the mean and the standard deviation of E_i are therefore
those of Gaussian noise whitened as the experiment says, measured once, and the mean of chi2 over
its degrees of freedom is 1 again. Where the noise changes within the time of a PSD, it is larger.
"""

from __future__ import annotations

import dataclasses
import functools
import json
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from preprocessing import WhiteningRecipe, whiten
from runtime import Experiment, generator_for

from infer.ranking.base import Ranking, register

# From here on log(1 + exp(y)) is exp(y) to double precision.
SMALL = -30.0
# Noise in which the energy of tiles is measured: its length [s], and its root mean square, of the
# order of strain.
NOISE_LENGTH = 600.0
NOISE_SCALE = 1e-21


@dataclass(frozen=True)
class Tiles:
    """Tiles of time and frequency.

    Attributes:
        segment_size: Samples of a segment of time.
        num_segments: Segments.
        edges: Fourier bins at which frequency bands begin and end, of shape (band + 1,).
        mean: Mean energy of noise in each band.
        std: Its standard deviation.
    """

    segment_size: int
    num_segments: int
    edges: np.ndarray
    mean: np.ndarray
    std: np.ndarray

    @property
    def bins(self) -> np.ndarray:
        """Fourier bins in the tiles of each band."""
        result: np.ndarray = np.diff(self.edges)
        return result

    @property
    def number(self) -> int:
        """Tiles of a detector."""
        return self.num_segments * len(self.bins)


@register("consistency")
@dataclass(frozen=True)
class Consistency(Ranking):
    """Ranks by the score, less where detectors see power at different times and frequencies.

    Attributes:
        num_segments: Segments of time between `before` and `after`.
        num_bands: Bands of frequency, of equal expected noise power, between the experiment's
            `highpass` and `lowpass` (0.8 of half the sample rate if it has none).
        tolerance: Share of the common power that may differ without loss.
    """

    least_ifos: ClassVar[int] = 2
    before: float = 0.5
    after: float = 0.1
    num_segments: float = 3
    num_bands: float = 6
    tolerance: float = 0.25

    def __post_init__(self) -> None:
        """Check the options.

        Raises:
            ValueError: One cannot be.
        """
        for name in ("num_segments", "num_bands"):
            value = getattr(self, name)
            if value < 1 or value != int(value):
                raise ValueError(
                    f"search.ranking_options.{name} is {value}, expected a whole number from 1 on"
                )
        if not (self.before + self.after > 0 and self.tolerance >= 0):
            raise ValueError(
                f"search.ranking_options: expected before + after above 0 s, found "
                f"{self.before + self.after}, and a tolerance of 0 or more, found {self.tolerance}"
            )

    def tiles(self, experiment: Experiment) -> Tiles:
        """Tiles of the strain of an experiment, in white noise of unit variance.

        Raises:
            ValueError: Segments are too short for so many bands.
        """
        rate = experiment.sample_rate
        size = round((self.before + self.after) * rate) // int(self.num_segments)
        top = experiment.lowpass or 0.8 * rate / 2
        low, high = np.ceil(experiment.highpass * size / rate), np.floor(top * size / rate)
        edges = np.unique(np.round(np.linspace(low, high, int(self.num_bands) + 1)).astype(int))
        if len(edges) != self.num_bands + 1:
            raise ValueError(
                f"search.ranking_options: {size / rate:g} s of strain from "
                f"{experiment.highpass:g} to {top:g} Hz have {int(max(0, high - low))} "
                f"independent frequencies, fewer than num_bands {int(self.num_bands)}: give fewer "
                "bands or segments"
            )
        bins = np.diff(edges)
        return Tiles(size, int(self.num_segments), edges, 2.0 * bins, np.sqrt(4 * bins))

    def energy(self, strain: np.ndarray, tiles: Tiles) -> np.ndarray:
        """Energy in each tile.

        Args:
            strain: Whitened strain, of shape (..., sample).
            tiles: Tiles; samples beyond them are left alone.

        Returns:
            Array of shape (..., segment, band).
        """
        used = strain[..., : tiles.num_segments * tiles.segment_size]
        segments = used.reshape(*used.shape[:-1], tiles.num_segments, tiles.segment_size)
        power = np.square(np.abs(np.fft.rfft(segments.astype(np.float64), axis=-1)))
        inside = power[..., : tiles.edges[-1]] * (2 / tiles.segment_size)
        result: np.ndarray = np.add.reduceat(inside, tiles.edges[:-1], axis=-1)
        return result

    def sensitivity(self, taps: np.ndarray, tiles: Tiles) -> np.ndarray:
        """Sensitivity of each detector in each band, as a unit vector over detectors.

        Args:
            taps: Whitening filters, of shape (..., ifo, filter_size).
            tiles: Tiles.

        Returns:
            Array of shape (..., ifo, band).
        """
        # on the bins of a segment, by a transform of a multiple of its length
        fold = -(-taps.shape[-1] // tiles.segment_size)
        response = np.fft.rfft(taps.astype(np.float64), fold * tiles.segment_size, axis=-1)
        power = np.square(np.abs(response))[..., : fold * tiles.edges[-1]]
        bands = np.add.reduceat(power, fold * tiles.edges[:-1], axis=-1) / tiles.bins
        return bands / np.linalg.norm(bands, axis=-2, keepdims=True)

    def chi_squared(self, strain: np.ndarray, taps: np.ndarray, tiles: Tiles) -> np.ndarray:
        """chi2, and the common part, each summed over tiles.

        Args:
            strain: Whitened strain, of shape (event, ifo, sample).
            taps: Whitening filters, of shape (event, ifo, filter_size).
            tiles: Tiles.

        Returns:
            Array of shape (2, event).
        """
        excess = (self.energy(strain, tiles) - tiles.mean) / tiles.std
        weights = self.sensitivity(taps, tiles)[:, :, None, :]
        common = np.square((weights * excess).sum(axis=1))
        left = np.square(excess).sum(axis=1) - common
        return np.stack([left.sum(axis=(1, 2)), common.sum(axis=(1, 2))])

    def noise_variance(self, weights: np.ndarray, tiles: Tiles) -> float:
        """Variance of chi2 in white noise of unit variance.

        For independent e_i of unit variance and excess kurtosis k, the quadratic form of the
        projection P = 1 - c c^T has the variance 2 tr(P^2) + k sum_i P_ii^2, and k = 6 / n for
        chi-squared with 2n degrees of freedom.

        Args:
            weights: Of one event, of shape (ifo, band).
            tiles: Tiles.
        """
        diagonal = 1 - np.square(weights)
        by_band = 2 * (len(weights) - 1) + 6 / tiles.bins * np.square(diagonal).sum(axis=0)
        return float(tiles.num_segments * by_band.sum())

    def reduced(self, strain: np.ndarray, taps: np.ndarray, experiment: Experiment) -> np.ndarray:
        """chi2_r of each event, of shape (event,)."""
        tiles = measured(self, json.dumps(experiment.settings()))
        left, common = self.chi_squared(strain, taps, tiles)
        degrees = tiles.number * (strain.shape[1] - 1)
        forgiven = self.tolerance * np.maximum(0, common - tiles.number)
        result: np.ndarray = left / (degrees + forgiven)
        return result

    def statistic(
        self, score: np.ndarray, strain: np.ndarray, taps: np.ndarray, experiment: Experiment
    ) -> np.ndarray:
        """The score, divided on its positive map."""
        reduced = self.reduced(strain, taps, experiment)
        return divided(score, np.maximum(1, (1 + reduced**3) / 2) ** (1 / 6))


@functools.cache
def measured(ranking: Consistency, settings: str) -> Tiles:
    """Tiles with the mean and standard deviation of noise that was whitened; once per process.

    Args:
        ranking: Says which tiles.
        settings: The experiment, as JSON.
    """
    experiment = Experiment.model_validate_json(settings)
    tiles = ranking.tiles(experiment)
    recipe = WhiteningRecipe.from_settings(experiment.settings())
    generator = generator_for(experiment.seed, "infer", "consistency")
    size = round((NOISE_LENGTH + recipe.lead) * experiment.sample_rate)
    noise = torch.from_numpy(generator.standard_normal((2, size), dtype=np.float32))
    whitened = whiten(noise * NOISE_SCALE, recipe).values.numpy()
    window = tiles.num_segments * tiles.segment_size
    count = whitened.shape[-1] // window
    pieces = whitened[:, : count * window].reshape(2, count, window)
    energy = ranking.energy(pieces, tiles)
    axes = tuple(range(energy.ndim - 1))
    return dataclasses.replace(tiles, mean=energy.mean(axis=axes), std=energy.std(axis=axes))


def divided(score: np.ndarray, factor: np.ndarray) -> np.ndarray:
    """Divide scores on the map log(1 + exp(y)).

    Args:
        score: Scores y.
        factor: What to divide by, 1 or more.

    Returns:
        Scores of which the map is that of y over the factor; y itself where the factor is 1.
    """
    score = np.asarray(score, dtype=np.float64)
    mapped = np.logaddexp(0, np.maximum(score, SMALL)) / factor
    # log(exp(m) - 1), without overflow
    back = mapped + np.log(-np.expm1(-mapped))
    back = np.where(score < SMALL, score - np.log(factor), back)
    result: np.ndarray = np.where(factor == 1, score, np.minimum(back, score))
    return result
