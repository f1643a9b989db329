"""What a report has to tell."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from cleaning import CleaningExperiment

from deepclean.report.parts import SHORTEST_PART, Part, Reader, Second
from deepclean.report.sensitivity import inspiral_range
from deepclean.report.signals import DURATION, Recovered, recover
from deepclean.report.spectra import FFTLENGTH, MeanCoherence, MeanDensity

SERIES = ("raw", "out_dq", "production")
MAIN_LOBE = 2 / FFTLENGTH
"""Half width of what a bin sees; bins nearer to a band see some of it [Hz]."""
LOWEST = 20.0
"""Below this frequency bins are not looked at [Hz]."""
SHORTEST = 8
"""Parts shorter than this have no range [s]."""


@dataclass(frozen=True)
class Ranges:
    """Inspiral range of a part.

    Attributes:
        time: Its middle [GPS s].
        before: That of raw strain [Mpc].
        after: That of OUT_DQ [Mpc].
    """

    time: float
    before: float
    after: float


@dataclass(frozen=True)
class Findings:
    """What was found in a span.

    Attributes:
        experiment: What was cleaned.
        start: First second [GPS s].
        stop: Second after the last [GPS s].
        density: Mean densities of `raw`, `out_dq`, `production` and, where the truth is known,
            `background`.
        coherence: Of `raw` and `out_dq` with each layer's witnesses.
        ranges: In each part.
        seconds: What the cleaner did in each second.
        signals: Injected signals, found before and after.
    """

    experiment: CleaningExperiment
    start: int
    stop: int
    density: MeanDensity
    coherence: list[MeanCoherence]
    ranges: list[Ranges]
    seconds: list[Second]
    signals: list[Recovered]

    @property
    def bands(self) -> tuple[tuple[float, float], ...]:
        """Bands of all layers [Hz]."""
        return self.experiment.load_problem().bands

    def inside(self, bands: Sequence[tuple[float, float]]) -> np.ndarray:
        """Which bins lie in any of some bands [Hz]."""
        frequency = self.density.frequency
        return np.any([(frequency >= low) & (frequency < high) for low, high in bands], axis=0)

    @property
    def outside(self) -> np.ndarray:
        """Which bins see nothing of any band."""
        frequency = self.density.frequency
        highest = 0.8 * self.density.rate / 2
        found = (frequency >= LOWEST) & (frequency < highest)
        for low, high in self.bands:
            found &= (frequency < low - MAIN_LOBE) | (frequency > high + MAIN_LOBE)
        return found

    def ratio(self, name: str) -> np.ndarray:
        """Density of a series over that of raw strain, of shape (frequency,)."""
        with np.errstate(divide="ignore", invalid="ignore"):
            return self.density.asd(name) / self.density.asd("raw")

    def in_band(self, name: str, *bands: tuple[float, float]) -> float | None:
        """Mean of the ratio over the bins of some bands, of all if none is given.

        None if there is no such series.
        """
        if name not in self.density:
            return None
        return float(self.ratio(name)[self.inside(bands or self.bands)].mean())

    def largest_change(self, name: str) -> tuple[float, float]:
        """Largest change of a bin that sees nothing of any band, relative, and where [Hz]."""
        change = np.where(self.outside, np.abs(self.ratio(name) - 1), 0.0)
        place = int(change.argmax())
        return float(change[place]), float(self.density.frequency[place])

    def coherences(self) -> list[dict[str, Any]]:
        """Mean coherence of each witness in the bands of its layer, before and after."""
        found = []
        problem = self.experiment.load_problem()
        for number, (layer, mine) in enumerate(zip(problem.layers, self.coherence, strict=True)):
            frequency = mine.frequency
            inside = np.any(
                [(frequency >= low) & (frequency < high) for low, high in layer.bands], axis=0
            )
            before, after = mine.coherence("raw"), mine.coherence("out_dq")
            for i, channel in enumerate(mine.channels):
                found.append(
                    {
                        "channel": channel,
                        "layer": number,
                        "before": float(before[i, inside].mean()),
                        "after": float(after[i, inside].mean()),
                        "highest_before": float(before[i, inside].max()),
                        "highest_after": float(after[i, inside].max()),
                    }
                )
        return found

    def summary(self) -> dict[str, Any]:
        """The numbers, as plain values."""
        change, place = self.largest_change("out_dq")
        optimum, cleaned = self.in_band("background"), self.in_band("production")
        snr = np.array([[s.pull_before, s.pull_after, s.phase_pull] for s in self.signals])
        before = np.array([r.before for r in self.ranges])
        after = np.array([r.after for r in self.ranges])
        analysed = [second for second in self.seconds if second.analysed]
        return {
            "experiment": self.experiment.name,
            "digest": self.experiment.digest,
            "problem": self.experiment.load_problem().name,
            "span": [self.start, self.stop],
            "seconds": len(self.seconds),
            "analysed": len(analysed),
            "asd_ratio": {
                "out_dq": self.in_band("out_dq"),
                "production": cleaned,
                "optimum": optimum,
                "above_optimum": None
                if optimum is None or cleaned is None
                else cleaned / optimum - 1,
            },
            "bands": [
                {
                    "band": list(band),
                    "out_dq": self.in_band("out_dq", band),
                    "production": self.in_band("production", band),
                    "optimum": self.in_band("background", band),
                }
                for band in self.bands
            ],
            "outside": {"largest_change": change, "frequency_hz": place},
            "range_mpc": {
                "before": _mean(before),
                "after": _mean(after),
                "least_change": float((after / before - 1).min()) if len(before) else None,
            },
            "gate": {
                "open": sum(s.cleaned for s in analysed),
                "good": sum(s.good for s in analysed),
                "dropped": sum(s.dropped for s in analysed),
            },
            "versions": sorted({s.version for s in self.seconds}),
            "coherence": self.coherences(),
            "coherence_floor": 1 / max(1, self.coherence[0].number),
            "signals": {
                "number": len(self.signals),
                "mean_pull_before": _mean(snr[:, 0]) if len(snr) else None,
                "mean_pull_after": _mean(snr[:, 1]) if len(snr) else None,
                "mean_phase_pull": _mean(snr[:, 2]) if len(snr) else None,
                "largest_pull": float(np.abs(snr[:, 1:]).max()) if len(snr) else None,
                "optimal_snr_gain": float(
                    np.mean([s.optimal[1] / s.optimal[0] - 1 for s in self.signals])
                )
                if self.signals
                else None,
                "found": [s.content() for s in self.signals],
            },
        }


def _mean(values: np.ndarray) -> float | None:
    return float(values.mean()) if len(values) else None


def find(experiment: CleaningExperiment, reader: Reader, start: int, stop: int) -> Findings:
    """Look at a span of raw and cleaned frames.

    Args:
        experiment: What was cleaned.
        reader: Reads the frames.
        start: First second [GPS s].
        stop: Second after the last [GPS s].

    Raises:
        ValueError: There is no part with strain before and after.
    """
    problem = experiment.load_problem()
    rate = problem.sample_rate
    density = MeanDensity(rate)
    coherence = [
        MeanCoherence(layer.sample_rate, problem.layer_witnesses(layer))
        for layer in problem.layers
    ]
    ranges = []
    for part in reader(start, stop):
        known = {} if part.background is None else {"background": part.background}
        density.add(raw=part.raw, out_dq=part.out_dq, production=part.production, **known)
        if part.witnesses is not None:
            both = {"raw": part.raw, "out_dq": part.out_dq}
            for layer in coherence:
                layer.add(part.start, both, rate, part.witnesses)
        seconds = len(part.raw) / rate
        if seconds >= SHORTEST:
            middle = part.start + seconds / 2
            before, after = (inspiral_range(s, rate) for s in (part.raw, part.out_dq))
            ranges.append(Ranges(middle, before, after))
    if not density.number:
        raise ValueError(
            f"nothing to report on in [{start}, {stop}): {len(reader.seconds)} s have raw and "
            f"cleaned strain, {sum(s.analysed for s in reader.seconds)} of them are analysed, and "
            f"there are no {SHORTEST_PART} in a row; give the span that was cleaned"
        )
    seconds_found = list(reader.seconds)
    signals = recover(
        _long(reader, start, stop),
        density.frequency,
        density.asd("raw"),
        density.asd("out_dq"),
        rate,
        experiment.seed,
    )
    return Findings(experiment, start, stop, density, coherence, ranges, seconds_found, signals)


def _long(reader: Reader, start: int, stop: int) -> Iterator[Part]:
    """Parts that a signal has room in, once more: not all of a long span is kept in memory."""
    rate = reader.problem.sample_rate
    return (part for part in reader(start, stop) if len(part.raw) >= DURATION * rate)
