"""The last seconds of strain and witnesses, with what was dropped."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from cleaning.resampling import Resampler
from cleaning.series import Series


class Recording:
    """Strain and witnesses second by second, in order; seconds may be missing.

    A second is missing for good once a later one was added: what comes late is refused, so that
    every sample that was cleaned was cleaned with what is here.

    Args:
        strain_rate: Rate of the strain as it comes [Hz].
        witness_rates: Rate of each witness as it comes [Hz], by full name.
        sample_rate: Rate of the cleaned strain [Hz].
        first: The first second [GPS s].
    """

    def __init__(
        self, strain_rate: int, witness_rates: Mapping[str, int], sample_rate: int, first: int
    ) -> None:
        self.strain_rate = strain_rate
        self.witness_rates = dict(witness_rates)
        self.sample_rate = sample_rate
        self.first = self.stop = first
        self._strain: dict[int, np.ndarray] = {}
        self._witnesses: dict[int, dict[str, np.ndarray]] = {}

    def add(
        self,
        second: int,
        strain: np.ndarray | None,
        witnesses: Mapping[str, np.ndarray] | None,
    ) -> None:
        """Add a second; those between the last one and it are missing.

        A second with samples that are not finite is missing, too.

        Args:
            second: Its time [GPS s].
            strain: Of shape (strain_rate,); None if missing.
            witnesses: Of shape (rate,) each; None if missing.

        Raises:
            ValueError: The second has passed, or has the wrong number of samples.
        """
        if second < self.stop:
            raise ValueError(
                f"second {second} comes after second {self.stop - 1}: it counts as dropped"
            )
        if strain is not None:
            _require_size("strain", second, strain, self.strain_rate)
            if np.isfinite(strain).all():
                self._strain[second] = np.asarray(strain, dtype=np.float64)
        if witnesses is not None:
            for name, rate in self.witness_rates.items():
                if name not in witnesses:
                    raise ValueError(f"second {second} lacks {name}: give all witnesses")
                _require_size(name, second, witnesses[name], rate)
            values = {name: np.asarray(witnesses[name]) for name in self.witness_rates}
            if all(np.isfinite(v).all() for v in values.values()):
                self._witnesses[second] = values
        self.stop = second + 1

    def forget(self, before: int) -> None:
        """Let go of all seconds before one."""
        for second in range(self.first, min(before, self.stop)):
            self._strain.pop(second, None)
            self._witnesses.pop(second, None)
        self.first = max(self.first, before)

    def has_strain(self, second: int) -> bool:
        """Whether there is strain in a second."""
        return second in self._strain

    def dropped(self, start: int, stop: int) -> set[int]:
        """Seconds of a span without witnesses; before the beginning and beyond the end, too."""
        return {second for second in range(start, stop) if second not in self._witnesses}

    def witnesses(self, start: int, stop: int) -> dict[str, Series]:
        """Witnesses of a span, zero where they are missing.

        Args:
            start: First second [GPS s].
            stop: Second after the last [GPS s].
        """
        found = {}
        for name, rate in self.witness_rates.items():
            nothing = np.zeros(rate)
            parts = [
                self._witnesses[second][name] if second in self._witnesses else nothing
                for second in range(start, stop)
            ]
            found[name] = Series(np.concatenate(parts), rate, start * rate)
        return found

    def strain(self, start: int, stop: int) -> np.ndarray:
        """Strain of a span at `sample_rate`, of shape ((stop - start) * sample_rate,).

        NaN in missing seconds. Beside one the filter that lowers the rate sees, in place of what
        is missing, the nearest sample that is there.
        """
        found = np.full((stop - start) * self.sample_rate, np.nan)
        second = start
        while second < stop:
            if second not in self._strain:
                second += 1
                continue
            end = second
            while end < stop and end in self._strain:
                end += 1
            place = slice((second - start) * self.sample_rate, (end - start) * self.sample_rate)
            found[place] = self._lowered(second, end)
            second = end
        return found

    def _lowered(self, start: int, stop: int) -> np.ndarray:
        resampler = Resampler(self.strain_rate, self.sample_rate)
        margin = int(np.ceil(resampler.reach * self.strain_rate)) + 1
        parts = [self._strain[second] for second in range(start, stop)]
        before, after = self._strain.get(start - 1), self._strain.get(stop)
        head = np.full(margin, parts[0][0]) if before is None else before[-margin:]
        tail = np.full(margin, parts[-1][-1]) if after is None else after[:margin]
        values = np.concatenate((head, *parts, tail))
        series = Series(values, self.strain_rate, start * self.strain_rate - margin)
        return resampler(series).seconds(start, stop).values


def _require_size(name: str, second: int, values: np.ndarray, rate: int) -> None:
    if values.shape != (rate,):
        raise ValueError(
            f"second {second} of {name} has shape {values.shape}, expected ({rate},) samples"
        )
