"""Cleaned strain, second by second: the same computation for a file and for live frames."""

from __future__ import annotations

import math
from collections.abc import Callable, Container
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np

from cleaning.envelope import fade, gap_envelope, gate_envelope
from cleaning.estimator import NoiseEstimator
from cleaning.problem import Problem
from cleaning.recording import Recording
from cleaning.spectra import Ratios, band_ratios, newest_ratios

GATE_LENGTH = 8
"""Time over which the gate measures what cleaning left [s]."""
TAPER_LENGTH = 0.2
"""Tapers of the noise beside missing seconds [s]."""
LATENCY = 2
"""Seconds after a second's own end until all of its channels are known: one for what the filters
see, one for the gate to close before a bad second begins [s]."""
PAST = 6
"""Seconds of witnesses before a sample that a network and its filters may see, tapers included
[s]."""
GATED = GATE_LENGTH + 1
"""Seconds before a second whose noise plays a part in it, as the second before has a gate [s]."""
HISTORY = GATED + PAST
"""Seconds before a second that play a part in it; a cleaner that is begun with so many gives what
one that never ended gives [s]."""
UNKNOWN = Ratios((), ())

Role = Literal["production", "canary"]


@dataclass(frozen=True)
class Model:
    """A trained cleaner.

    Attributes:
        version: Number of the version.
        estimator: From witnesses to noise.
    """

    version: int
    estimator: NoiseEstimator


@dataclass(frozen=True)
class Choice:
    """Models in use in a second; None for none."""

    production: Model | None = None
    canary: Model | None = None


@dataclass(frozen=True)
class Cleaned:
    """A second of strain, cleaned.

    Attributes:
        second: Its time [GPS s].
        raw: Strain as it came, at the cleaned strain's rate, of shape (sample_rate,).
        production: Less the noise by the production model.
        canary: Less the noise by the canary; as `raw` where there is none.
        out_dq: As `production` where the gate is open, as `raw` where it is closed.
        production_version: Version of the production model; 0 for none.
        canary_version: Version of the canary; 0 for none.
        dropped: Whether witnesses are missing in this second, or a model in use gave no answer.
        good: Whether the gate holds this second for good.
        ratios: What the gate measured, over the last `GATE_LENGTH`; empty where it could not.
        canary_ratios: The same for the canary.
    """

    second: int
    raw: np.ndarray
    production: np.ndarray
    canary: np.ndarray
    out_dq: np.ndarray
    production_version: int
    canary_version: int
    dropped: bool
    good: bool
    ratios: Ratios
    canary_ratios: Ratios


@dataclass
class _Second:
    """What is known of a second before its gate is."""

    raw: np.ndarray
    noise: np.ndarray
    canary_noise: np.ndarray
    choice: Choice
    dropped: bool
    ratios: Ratios = UNKNOWN
    canary_ratios: Ratios = UNKNOWN
    good: bool = False


@dataclass
class Cleaner:
    """Cleans a recording from one second on.

    What it gives in a second depends on the frames from `HISTORY` before it to `LATENCY` after
    it and on the models chosen there, and not on how many seconds are cleaned at once.

    Attributes:
        problem: What is cleaned.
        recording: Strain and witnesses; added to by the caller.
        choose: Models in use in a second [GPS s]; asked once for each second, in order.
        start: First second to be cleaned [GPS s]; seconds before it that are in the recording
            are looked at.
        given_up: Roles and seconds whose models gave no answer; they get no estimate, though an
            answer may come by now, so that a second is cleaned alike whenever it is cleaned.
        give_up: Called with role, second and reason when a model that runs elsewhere gives no
            answer (`ConnectionError`), to be in `given_up` from then on. If None the error is
            raised.
    """

    problem: Problem
    recording: Recording
    choose: Callable[[int], Choice]
    start: int
    given_up: Container[tuple[Role, int]] = ()
    give_up: Callable[[Role, int, str], None] | None = None
    _seconds: dict[int, _Second] = field(default_factory=dict, repr=False)
    _choices: dict[int, Choice] = field(default_factory=dict, repr=False)
    _estimated: int = field(default=0, repr=False)
    _given: int = field(default=0, repr=False)

    def __post_init__(self) -> None:
        self._estimated = max(self.recording.first, self.start - GATED)
        self._given = self.start

    def advance(self, final: bool = False) -> list[Cleaned]:
        """Clean all seconds that the recording suffices for.

        Args:
            final: Whether nothing will be added any more: the last two seconds are cleaned as if
                what follows them were missing.

        Returns:
            Seconds that have strain, in order, each once.
        """
        stop = self.recording.stop
        known = stop if final else stop - 1
        if known > self._estimated:
            self._estimate(self._estimated, known)
            self._estimated = known
        found = []
        while self._given < (stop if final else stop - LATENCY):
            second = self._seconds.get(self._given)
            if second is not None:
                found.append(self._finish(self._given, second))
            self._given += 1
        oldest = self._given - HISTORY
        for old in [s for s in self._choices if s < oldest]:
            del self._choices[old]
            self._seconds.pop(old, None)
        self.recording.forget(oldest)
        return found

    def newest(self) -> tuple[int, np.ndarray] | None:
        """Production strain one second earlier than `advance` gives it, without the gate.

        Returns:
            The last second that is estimated [GPS s] and its strain; None before the first, and
            where that second has no strain.
        """
        second = self._seconds.get(self._estimated - 1)
        if second is None or self._estimated <= self.start:
            return None
        return self._estimated - 1, second.raw - self._beside(self._estimated - 1, "production")

    def _estimate(self, start: int, stop: int) -> None:
        """Noise and the gate's measure of a span."""
        for second in range(start, stop):
            self._choices[second] = self.choose(second)
        noise = self._noise(start, stop, "production")
        canary = self._noise(start, stop, "canary")
        raw = self.recording.strain(start, stop).reshape(-1, self.problem.sample_rate)
        dropped = self.recording.dropped(start, stop)
        for i, second in enumerate(range(start, stop)):
            if not self.recording.has_strain(second):
                continue
            choice = self._choices[second]
            mine = _Second(raw[i], noise[i], canary[i], choice, second in dropped)
            self._seconds[second] = mine
            mine.ratios = self._measure(second, canary=False)
            mine.canary_ratios = self._measure(second, canary=True)
            # nothing measured is not good
            mine.good = bool(mine.ratios.inside) and mine.ratios.well()

    def _noise(self, start: int, stop: int, role: Role) -> np.ndarray:
        """Noise of consecutive seconds by the model of each, of shape (second, sample_rate)."""
        noise = np.zeros((stop - start, self.problem.sample_rate))
        begin = start
        while begin < stop:
            model, missing = self._model(role, begin), (role, begin) in self.given_up
            end = begin + 1
            while (
                end < stop
                and self._model(role, end) is model
                and ((role, end) in self.given_up) is missing
            ):
                end += 1
            if not missing:
                try:
                    noise[begin - start : end - start] = self._stretch(role, begin, end)
                except ConnectionError as error:
                    if self.give_up is None:
                        raise
                    # seconds before the start were cleaned by an earlier cleaner
                    for second in range(max(begin, self.start), end):
                        self.give_up(role, second, str(error))
            begin = end
        return noise

    def _model(self, role: Role, second: int) -> Model | None:
        choice = self._choices[second]
        return choice.production if role == "production" else choice.canary

    def _stretch(self, role: Role, start: int, stop: int) -> np.ndarray:
        """Noise of seconds with one model, faded over from the one before."""
        rate = self.problem.sample_rate
        model = self._model(role, start)
        noise = np.zeros((stop - start, rate))
        if model is not None:
            noise[:] = self._weighted(model, start, stop).reshape(-1, rate)
        if start - 1 in self._choices:
            before = self._model(role, start - 1)
            if before is not model:
                weight = fade(rate)
                noise[0] *= weight
                if before is not None:
                    noise[0] += (1 - weight) * self._weighted(before, start, start + 1)
        return noise

    def _weighted(self, model: Model, start: int, stop: int) -> np.ndarray:
        """Noise by one model, nothing beside missing seconds."""
        recording = self.recording
        past, future = model.estimator.reach(recording.witness_rates)
        before, after = past + TAPER_LENGTH, future + TAPER_LENGTH
        if after > 1 or before > PAST:
            raise ValueError(
                f"version {model.version} sees {past:.3f} s of the witnesses before a sample and "
                f"{future:.3f} s after it, and tapers take {TAPER_LENGTH} s: more than {PAST} s, "
                "or than the one second that is waited for; use a network that sees less, or a "
                "layer of a higher rate"
            )
        first, last = start - math.ceil(before), stop + 1
        dropped = recording.dropped(first, last)
        witnesses = recording.witnesses(first, last)
        noise = model.estimator(witnesses, start, stop)
        rate = self.problem.sample_rate
        weight = gap_envelope(dropped, start, stop, rate, past, future, TAPER_LENGTH)
        return np.where(weight > 0, weight * noise, 0.0)

    def _measure(self, second: int, canary: bool) -> Ratios:
        """Ratios over the last seconds up to the end of one; empty if they are not all there."""
        last = [self._seconds.get(s) for s in range(second - GATE_LENGTH + 1, second + 1)]
        seconds = [known for known in last if known is not None]
        newest = seconds[-1].choice
        model = newest.canary if canary else newest.production
        if len(seconds) < GATE_LENGTH or model is None:
            return UNKNOWN
        raw = np.concatenate([known.raw for known in seconds])
        noise = np.concatenate(
            [known.canary_noise if canary else known.noise for known in seconds]
        )
        of = (raw, raw - noise, self.problem.sample_rate, self.problem.bands)
        return replace(band_ratios(*of), newest=newest_ratios(*of))

    def _good(self, second: int) -> bool:
        known = self._seconds.get(second)
        return known is not None and known.good

    def _beside(self, second: int, role: Role) -> np.ndarray:
        """Noise of a second, tapered beside one that got no estimate.

        What the gate measures is not tapered: of the newest second it is not known yet what
        follows.
        """
        known = self._seconds[second]
        noise = known.noise if role == "production" else known.canary_noise
        missing = {s for s in (second - 1, second, second + 1) if (role, s) in self.given_up}
        if not missing:
            return noise
        weight = gap_envelope(
            missing, second, second + 1, self.problem.sample_rate, 0.0, 0.0, TAPER_LENGTH
        )
        return np.where(weight > 0, weight * noise, 0.0)

    def _finish(self, second: int, known: _Second) -> Cleaned:
        noise = self._beside(second, "production")
        canary_noise = self._beside(second, "canary")
        missing = any((role, second) in self.given_up for role in ("production", "canary"))
        gate = gate_envelope(
            self._good(second - 1), known.good, self._good(second + 1), self.problem.sample_rate
        )
        # where the gate is closed nothing of the noise may pass, not even what is not finite
        gated = np.where(gate > 0, gate * noise, 0.0)
        production, canary = known.choice.production, known.choice.canary
        return Cleaned(
            second=second,
            raw=known.raw,
            production=known.raw - noise,
            canary=known.raw - canary_noise,
            out_dq=known.raw - gated,
            production_version=0 if production is None else production.version,
            canary_version=0 if canary is None else canary.version,
            dropped=known.dropped or missing,
            good=known.good,
            ratios=known.ratios,
            canary_ratios=known.canary_ratios,
        )
