"""Put the strain of a piece together from stretches, at a lower sample rate."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from datagen.fetch.stretch import Stretch
from datagen.fetch.verification import verify
from datagen.resampling import Decimator, reach, whole_factor


@dataclass(frozen=True)
class Assembled:
    """Strain of one detector over a piece.

    Attributes:
        values: Samples of the piece, float32.
        lost_left: Samples at the beginning that could not be made, since there is no strain
            before the piece for the anti-alias filter to see.
        lost_right: The same at the end.
    """

    values: np.ndarray
    lost_left: int
    lost_right: int


def assemble(
    ifo: str, stretches: Iterable[Stretch], start: float, stop: float, sample_rate: float
) -> Assembled:
    """Verify stretches, lower their sample rate, and put them together.

    One stretch is held at a time. Strain beyond the ends serves the filter alone.

    Args:
        ifo: Detector, for messages.
        stretches: Strain in time order; what overlaps with what came before is not used.
        start: GPS start of the piece, a whole number of samples [s].
        stop: GPS stop of the piece [s].
        sample_rate: Sample rate wanted [Hz].

    Raises:
        ValueError: There is a gap, strain is unfit (see `verify`), the sample rate changes or is
            no multiple of that wanted, or samples are not on whole seconds' grid.
    """
    work = _Assembly(ifo, start, stop, sample_rate)
    for stretch in stretches:
        work.add(stretch)
    return work.finish()


class _Assembly:
    """State of the work: samples are counted at the old rate, from 0 at the piece's start."""

    def __init__(self, ifo: str, start: float, stop: float, sample_rate: float) -> None:
        self.ifo, self.start, self.stop, self.rate = ifo, start, stop, sample_rate
        self.size = round((stop - start) * sample_rate)
        self.out = np.empty(self.size, dtype=np.float32)
        self.found_rate: float | None = None
        self.position = 0
        self.lead = np.zeros(0)
        self.lead_stop = 0
        self.tail = np.zeros(0)

    def _begin(self, stretch: Stretch) -> None:
        factor = whole_factor(stretch.sample_rate, self.rate, stretch.origin)
        self.found_rate, self.total = stretch.sample_rate, self.size * factor
        self.needed = reach(factor) * factor
        self.filled, self.lost_left = 0, 0
        self.decimator = Decimator(factor)
        self.factor = factor

    def add(self, stretch: Stretch) -> None:
        if self.found_rate is None:
            self._begin(stretch)
        if stretch.sample_rate != self.found_rate:
            raise ValueError(
                f"{stretch.origin} has {stretch.sample_rate:g} Hz, the strain before it "
                f"{self.found_rate:g} Hz: use files of one sample rate"
            )
        offset = (stretch.gps_start - self.start) * stretch.sample_rate
        if abs(offset - round(offset)) > 0.01:
            raise ValueError(
                f"{stretch.origin} begins at {stretch.gps_start}, {self.start} is not the time of "
                f"a sample of it at {stretch.sample_rate:g} Hz: fetch other files"
            )
        verify(stretch, self.start, self.stop)
        first, values = round(offset), stretch.values
        if first < 0:
            self._keep_lead(first, values[:-first])
        inside = values[max(0, self.position - first) : max(0, self.total - first)]
        if len(inside):
            self._use(max(first, self.position), inside)
        self._keep_tail(first, values)

    def _keep_lead(self, first: int, values: np.ndarray) -> None:
        """Keep the last samples before the piece, if they join."""
        if self.lead_stop != first:
            self.lead = np.zeros(0)
        self.lead = np.concatenate((self.lead, values))[-max(self.needed, 1) :]
        self.lead_stop = min(0, first + len(values))

    def _use(self, first: int, values: np.ndarray) -> None:
        if first > self.position:
            self._refuse_gap(self.position, first)
        if self.position == 0:
            lead = self.lead[len(self.lead) - self.needed :] if self.needed else self.lead[:0]
            whole = self.lead_stop == 0 and len(lead) == self.needed and np.isfinite(lead).all()
            if whole:
                self._feed(lead)
            else:
                self.lost_left = self.filled = self.needed // self.factor
        self._feed(values)
        self.position += len(values)

    def _keep_tail(self, first: int, values: np.ndarray) -> None:
        """Keep the first samples after the piece, if they join."""
        begin = self.total + len(self.tail) - first
        if 0 <= begin < len(values) and len(self.tail) < self.needed:
            missing = self.needed - len(self.tail)
            self.tail = np.concatenate((self.tail, values[begin : begin + missing]))

    def _feed(self, values: np.ndarray) -> None:
        for new in self.decimator.feed(values):
            self.out[self.filled : self.filled + len(new)] = new
            self.filled += len(new)

    def _refuse_gap(self, first: int, last: int) -> None:
        rate = self.found_rate or self.rate
        raise ValueError(
            f"no strain of {self.ifo} in [{self.start + first / rate}, "
            f"{self.start + last / rate}), within [{self.start}, {self.stop}) which is to be "
            "used: segments and strain disagree; query them again, or add the missing files"
        )

    def finish(self) -> Assembled:
        if self.found_rate is None:
            self._refuse_gap(0, self.size)
        if self.position < self.total:
            self._refuse_gap(self.position, self.total)
        if len(self.tail) == self.needed and np.isfinite(self.tail).all():
            self._feed(self.tail)
        return Assembled(self.out, self.lost_left, self.size - self.filled)
