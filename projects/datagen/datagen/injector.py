"""Fill the slots of a strain file with draws from a population."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import torch
from preprocessing.snr import optimal_snr
from priors.draws import NumberedDraws
from runtime import Experiment
from waveforms import SignalModel, SnrBound, Sources, antenna_response, project

from datagen.quick_snr import QuickSNR
from datagen.slots import Slots

# A draw whose quick SNR is below this part of the threshold is rejected without more ado.
SCREEN = 0.9
# Draws looked at in one round, at least; those left over when a slot is filled are not used.
ROUND_SIZE = 4096
# When this many draws give not one signal above the threshold, something is wrong.
MOST_DRAWS_IN_VAIN = 200_000
# Codes of `InjectionSet.rejected_by`
BOUND, ESTIMATE, OPTIMAL = range(3)


@dataclass
class Rejected:
    """Draws that are not loud enough, by number."""

    draw: list[np.ndarray] = field(default_factory=list)
    snr: list[np.ndarray] = field(default_factory=list)
    by: list[np.ndarray] = field(default_factory=list)

    def add(self, draw: np.ndarray, snr: np.ndarray, by: np.ndarray) -> None:
        """Keep some, with their SNRs and what they are."""
        self.draw.append(draw)
        self.snr.append(snr)
        self.by.append(by)


class Injector:
    """Fill slots with draws from a population.

    Each slot takes draws, one after the other, until one has the network SNR asked for. The draws
    before it are rejected: they and the accepted together are a fair sample of the population.

    A draw is looked at as closely as it deserves: rejected if an upper bound of its SNR, which
    needs no waveform, is below the threshold; or if its SNR by `QuickSNR` is below 0.9 of the
    threshold, where the model has spectra. For any other the response in the detectors decides:
    its SNR by the local PSD is compared with the threshold, and recorded. A draw of which the
    model makes nothing physical takes no part; it is listed in `failures`.

    Args:
        experiment: The experiment.
        slots: Times and PSDs.
        draws: What to draw from.
        model: Makes the signals.
    """

    def __init__(
        self, experiment: Experiment, slots: Slots, draws: NumberedDraws, model: SignalModel
    ) -> None:
        self.experiment, self.slots, self.draws, self.model = experiment, slots, draws, model
        self.bound = SnrBound(
            experiment.waveforms,
            slots.psd,
            experiment.sample_rate,
            experiment.highpass,
            experiment.lowpass,
            experiment.ifos,
        )
        self.quick_snr = QuickSNR(model, slots, experiment) if model.has_spectra else None
        count = len(slots.time)
        self.ifo_snr = np.zeros((count, len(experiment.ifos)))
        self.draw = np.full(count, -1, dtype=np.int64)
        self.rejected = Rejected()
        self.failures: dict[int, str] = {}
        self.num_drawn = 0

    def fill(self) -> Iterator[int]:
        """Fill all slots, giving the number of each when it is filled.

        Raises:
            ValueError: Not one of very many draws is loud enough.
        """
        open_slots = np.arange(len(self.slots.time))
        begin = 0
        while len(open_slots):
            tries = max(8, ROUND_SIZE // len(open_slots))
            # row by row: the draws of one slot in their order
            slot = np.repeat(open_slots, tries)
            number = np.arange(begin, begin + len(slot))
            begin += len(slot)
            taken = self._decide(number.reshape(-1, tries), open_slots)
            filled = taken < tries
            yield from open_slots[filled]
            open_slots = open_slots[~filled]
            if self.num_drawn > MOST_DRAWS_IN_VAIN and (self.draw < 0).all():
                raise ValueError(
                    f"none of {self.num_drawn} draws from {self.draws.population.name} reaches "
                    f"network SNR {self.experiment.injections.snr_threshold}: lower "
                    "injections.snr_threshold or waveforms.redshift_max"
                )

    def _decide(self, number: np.ndarray, open_slots: np.ndarray) -> np.ndarray:
        """Index of the first accepted draw of each open slot, or the number of draws if none.

        Args:
            number: Numbers of the draws, of shape (slot, try).
            open_slots: The slots.
        """
        tries = number.shape[1]
        threshold = self.experiment.injections.snr_threshold
        sources = self.draws.take(number.ravel())
        snr, by = self._screen(sources, np.repeat(open_slots, tries))
        snr, by = snr.reshape(number.shape), by.reshape(number.shape)
        least = np.where(by == ESTIMATE, SCREEN, 1.0) * threshold
        candidate = ~(snr < least)  # NaN, a failed spectrum, is looked at more closely
        failed = np.zeros(number.shape, dtype=bool)
        taken = np.full(len(number), tries)
        while True:
            row = np.flatnonzero((taken == tries) & candidate.any(axis=1))
            if not len(row):
                break
            column = candidate[row].argmax(axis=1)
            candidate[row, column] = False
            chosen = {name: v[row * tries + column] for name, v in sources.items()}
            ifo_snr, reasons = self._measure(chosen, open_slots[row])
            snr[row, column] = np.sqrt(np.square(ifo_snr).sum(axis=1))
            by[row, column] = OPTIMAL
            for which, reason in reasons.items():
                failed[row[which], column[which]] = True
                self.failures[int(number[row[which], column[which]])] = reason
            loud = (snr[row, column] >= threshold) & ~failed[row, column]
            taken[row[loud]] = column[loud]
            self.ifo_snr[open_slots[row[loud]]] = ifo_snr[loud]
            self.draw[open_slots[row[loud]]] = number[row[loud], column[loud]]
        # of a slot that is filled, the draws after the accepted one were never made
        used = (np.arange(tries) <= taken[:, None]) & ~failed
        rejected = used & (np.arange(tries) != taken[:, None])
        self.rejected.add(number[rejected], snr[rejected], by[rejected])
        self.num_drawn += int(used.sum())
        return taken

    def _screen(self, sources: Sources, slot: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """SNR of each draw, as an upper bound or as an estimate, and which of the two it is."""
        snr = self.bound(sources, self.slots.time[slot], self.slots.block[slot])
        by = np.full(len(slot), BOUND, dtype=np.int8)
        near = np.flatnonzero(snr >= self.experiment.injections.snr_threshold)
        if self.quick_snr is not None and len(near):
            some = {name: values[near] for name, values in sources.items()}
            snr[near] = self.quick_snr(some, slot[near])
            by[near] = ESTIMATE
        return snr, by

    def _measure(self, sources: Sources, slot: np.ndarray) -> tuple[np.ndarray, dict[int, str]]:
        """SNR of each source in each detector, and why those failed that did, by their row."""
        experiment = self.experiment
        ifo_snr = np.zeros((len(slot), len(experiment.ifos)))
        factors, delay = antenna_response(sources, self.slots.time[slot], experiment.ifos)
        for batch in self.model.batches(sources):
            chosen = batch.index
            response = project(
                batch.plus, batch.cross, factors[chosen], delay[chosen], experiment.sample_rate
            )
            psd = self.slots.psd[torch.from_numpy(self.slots.block[slot[chosen]])]
            ifo_snr[chosen] = (
                optimal_snr(
                    response.float(),
                    psd.to(response.device),
                    experiment.sample_rate,
                    experiment.highpass,
                    experiment.lowpass,
                )
                .cpu()
                .numpy()
            )
        return ifo_snr, {failure.index: failure.reason for failure in self.model.failures}
