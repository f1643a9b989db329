"""Injections: signals at set times of the strain, loud enough to have a chance."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import priors
import torch
from ledger import InjectionSet, StrainIndex, StrainSegment
from ledger.strain import Role
from preprocessing.psd import running_psd
from preprocessing.recipe import WhiteningRecipe
from preprocessing.snr import optimal_snr
from runtime import (
    Experiment,
    generator_for,
    load_experiment,
    make_provenance,
    progress,
    require_same,
)
from runtime.provenance import SAME_STRAIN
from torch import Tensor

from datagen.detectors import antenna_response, project
from datagen.parallel import ordered_threads
from datagen.waveforms import SignalModel, Sources, best_device

log = logging.getLogger("datagen")

VERBS: dict[Role, str] = {"search": "injections", "validation": "validation-waveforms"}
# A draw whose quick SNR is below this part of the threshold is rejected without more ado.
SCREEN = 0.9
# Width of the frequency bins of the quick SNR [Hz].
SCREEN_BIN = 2.0
# Draws evaluated in one round, at least; those left over when a slot is filled are not used.
ROUND_SIZE = 4096
SPECTRA_AT_ONCE = 512
# When this many draws give not one signal above the threshold, something is wrong.
MOST_DRAWS_IN_VAIN = 200_000


@dataclass(frozen=True)
class Slots:
    """Where signals are to go.

    Attributes:
        time: GPS time of coalescence at the geocentre [s].
        block: Which row of `psd` holds at that time.
        psd: PSD of the strain just before, of shape (block, ifo, frequency) [1/Hz].
    """

    time: np.ndarray
    block: np.ndarray
    psd: Tensor


@dataclass
class Draws:
    """Sources drawn, with their network SNR."""

    sources: list[dict[str, np.ndarray]] = field(default_factory=list)
    snr: list[np.ndarray] = field(default_factory=list)

    def add(self, sources: Sources, snr: np.ndarray, chosen: np.ndarray) -> None:
        """Keep some of the sources; `chosen` are their indices."""
        self.sources.append({name: values[chosen] for name, values in sources.items()})
        self.snr.append(snr[chosen])

    def joined(self, names: list[str]) -> tuple[dict[str, np.ndarray], np.ndarray]:
        """All sources as one mapping of arrays, and all SNRs."""
        if not self.snr:
            return {name: np.zeros(0) for name in names}, np.zeros(0)
        sources = {name: np.concatenate([part[name] for part in self.sources]) for name in names}
        return sources, np.concatenate(self.snr)


def slot_times(
    gps_start: float,
    gps_stop: float,
    experiment: Experiment,
    passes: int,
    generator: np.random.Generator,
) -> np.ndarray:
    """Times for signals in one strain file.

    Each pass lays a grid of `injections.spacing` over the time that is usable; the passes' grids
    are shifted evenly against each other, and each time is moved forward at random by less than a
    second (and than the shift), so that times fall on no multiple of anything. Usable are the
    times whose score can be computed with a kernel and an integration to either side, and whose
    whole signal lies in the file.

    Args:
        gps_start: Start of the file [s].
        gps_stop: End of the file [s].
        experiment: The experiment.
        passes: How many grids.
        generator: For the random part.

    Returns:
        Increasing GPS times, each that of a sample of the file [s].
    """
    white, signal = experiment.whitening, experiment.waveforms
    spacing, rate = experiment.injections.spacing, experiment.sample_rate
    scored = experiment.kernel_length + experiment.search.integration_length
    first = gps_start + max(
        white.psd_length + white.fduration / 2 + scored, signal.duration - signal.right_pad
    )
    last = gps_stop - max(white.fduration / 2 + scored, signal.right_pad)
    shift = spacing / passes
    # the grids together are one grid with the spacing of the shifts
    count = max(0, math.floor((last - first) / shift) + 1)
    times = first + shift * np.arange(count) + min(1.0, shift) * generator.random(count)
    samples = np.round((times - gps_start) * rate)
    times = gps_start + samples / rate
    return times[(times >= first) & (times < last)]


def clear_of_known(times: np.ndarray, known: np.ndarray, reach: float) -> np.ndarray:
    """Which times keep a distance from all windows of known events.

    Args:
        times: GPS times [s].
        known: GPS windows, of shape (event, 2) [s].
        reach: Distance [s].
    """
    clear = np.ones(len(times), dtype=bool)
    for start, stop in known:
        clear &= (times + reach <= start) | (times - reach >= stop)
    return clear


def plan_slots(
    experiment: Experiment,
    index: StrainIndex,
    index_path: str | Path,
    role: Role,
    fold: int,
) -> Slots:
    """Find the times for signals in all files of a role, and the PSD at each.

    Raises:
        ValueError: No file leaves room for a signal.
    """
    recipe = WhiteningRecipe.from_settings(experiment.settings())
    settings = experiment.injections
    passes = settings.passes if role == "search" else settings.validation_passes
    reach = experiment.kernel_length + experiment.search.integration_length
    files = index.files(index_path, role, fold)
    times, blocks, psds, num_blocks = [], [], [], 0
    for number, file in enumerate(progress(files, f"PSDs of {role} files", unit="file")):
        generator = generator_for(experiment.seed, "slots", role, fold, number)
        found = slot_times(file.gps_start, file.gps_stop, experiment, passes, generator)
        found = found[clear_of_known(found, index.known_window, reach)]
        if not len(found):
            log.info("%s has no room for an injection", file.label)
            continue
        segment = StrainSegment.read(file.path, experiment.ifos)
        strain = torch.from_numpy(np.stack([segment.strain[ifo] for ifo in experiment.ifos]))
        psds.append(running_psd(strain, recipe))
        times.append(found)
        blocks += [num_blocks + recipe.block(t - file.gps_start) for t in found]
        num_blocks += len(psds[-1])
    if not times:
        raise ValueError(
            f"{index_path}: none of the {len(files)} {role} files of fold {fold} has room for an "
            f"injection; each needs more than {experiment.shortest_segment} s, and time away from "
            "known events"
        )
    return Slots(time=np.concatenate(times), block=np.array(blocks), psd=torch.cat(psds))


class QuickSNR:
    """Network SNR of sources from their spectra on a coarse grid.

    The spectrum of a signal is smooth, that of the noise is not: the inverse PSD is summed over
    bins of 2 Hz, the signal is evaluated once in each. The limited length of the time-domain
    signals is not accounted for, so long signals come out somewhat louder than they are.

    Args:
        model: The signals.
        slots: Times and PSDs.
        experiment: Detectors and band.
    """

    def __init__(self, model: SignalModel, slots: Slots, experiment: Experiment) -> None:
        top = experiment.lowpass or experiment.sample_rate / 2
        frequency = torch.linspace(
            0, experiment.sample_rate / 2, slots.psd.shape[-1], dtype=torch.float64
        )
        band = (frequency >= experiment.highpass) & (frequency <= top)
        number = ((frequency[band] - experiment.highpass) / SCREEN_BIN).long()
        step = float(frequency[1])
        bins = int(number.max()) + 1
        inverse = torch.zeros((*slots.psd.shape[:-1], bins), dtype=torch.float64)
        inverse.index_add_(-1, number, 4 * step / slots.psd[..., band])
        self.inverse = inverse.to(model.device)
        size = torch.bincount(number, minlength=bins)
        centre = torch.zeros(bins, dtype=torch.float64).index_add_(0, number, frequency[band])
        self.frequency = centre / size
        self.model, self.slots, self.ifos = model, slots, experiment.ifos

    def __call__(self, sources: Sources, slot: np.ndarray) -> np.ndarray:
        """Network SNR of each source in its slot."""
        factors, _ = antenna_response(sources, self.slots.time[slot], self.ifos)

        def part_of(first: int) -> Tensor:
            part = slice(first, first + SPECTRA_AT_ONCE)
            polarizations = self.model.spectra(
                {name: values[part] for name, values in sources.items()}, self.frequency
            )
            weights = factors[part].to(self.model.device, torch.complex128)
            response = torch.einsum("npi,pnf->nif", weights, torch.stack(polarizations))
            inverse = self.inverse[torch.from_numpy(self.slots.block[slot[part]])]
            return (response.abs().square() * inverse).sum(dim=(-1, -2)).sqrt().cpu()

        starts = range(0, len(slot), SPECTRA_AT_ONCE)
        on_cpu = self.model.device.type == "cpu"
        parts = ordered_threads(part_of, starts) if on_cpu else map(part_of, starts)
        return torch.cat(list(parts)).numpy()


class Injector:
    """Fill slots with draws from a population.

    Each slot takes draws, one after the other, until one has the network SNR asked for. The draws
    before it are rejected: they and the accepted together are a fair sample of the population.

    A draw whose SNR by `QuickSNR` is below 0.9 of the threshold is rejected with that SNR. For any
    other the response in the detectors decides: its SNR by the local PSD is compared with the
    threshold, and recorded.

    Args:
        experiment: The experiment.
        slots: Times and PSDs.
        population: What to draw from.
        generator: Random numbers.
    """

    def __init__(
        self,
        experiment: Experiment,
        slots: Slots,
        population: priors.Population,
        generator: np.random.Generator,
    ) -> None:
        self.experiment, self.slots = experiment, slots
        self.population, self.generator = population, generator
        self.model = SignalModel(experiment.waveforms, experiment.sample_rate, best_device())
        self.quick_snr = QuickSNR(self.model, slots, experiment)
        count = len(slots.time)
        self.response = np.zeros((count, len(experiment.ifos), self.model.size), dtype=np.float32)
        self.ifo_snr = np.zeros((count, len(experiment.ifos)))
        self.accepted: dict[str, np.ndarray] = {}
        self.rejected = Draws()
        self.num_drawn = 0

    def fill(self) -> Iterator[int]:
        """Fill all slots, giving the number of each when it is filled.

        Raises:
            ValueError: Not one of very many draws is loud enough.
        """
        open_slots = np.arange(len(self.slots.time))
        while len(open_slots):
            tries = max(8, ROUND_SIZE // len(open_slots))
            # row by row: the draws of one slot in their order
            slot = np.repeat(open_slots, tries)
            sources = self.population.sample(len(slot), self.generator)
            snr = self.quick_snr(sources, slot)
            taken = self._decide(sources, snr.reshape(-1, tries), open_slots)
            filled = taken < tries
            # of a slot that is filled, the draws after the accepted one were never made
            used = np.arange(tries) <= taken[:, None]
            rejected = used & (np.arange(tries) != taken[:, None])
            self.rejected.add(sources, snr, np.flatnonzero(rejected))
            self.num_drawn += int(used.sum())
            yield from open_slots[filled]
            open_slots = open_slots[~filled]
            if self.num_drawn > MOST_DRAWS_IN_VAIN and not self.accepted:
                raise ValueError(
                    f"none of {self.num_drawn} draws from {self.population.name} reaches network "
                    f"SNR {self.experiment.injections.snr_threshold}: lower "
                    "injections.snr_threshold or waveforms.redshift_max"
                )

    def _decide(self, sources: Sources, snr: np.ndarray, open_slots: np.ndarray) -> np.ndarray:
        """Index of the first accepted draw of each open slot, or the number of draws if none.

        Writes the SNR of those decided by their response into `snr`, of shape (slot, try).
        """
        tries = snr.shape[1]
        threshold = self.experiment.injections.snr_threshold
        candidate = snr >= SCREEN * threshold
        taken = np.full(len(snr), tries)
        while True:
            row = np.flatnonzero((taken == tries) & candidate.any(axis=1))
            if not len(row):
                return taken
            column = candidate[row].argmax(axis=1)
            candidate[row, column] = False
            chosen = {name: v[row * tries + column] for name, v in sources.items()}
            response, ifo_snr = self._respond(chosen, open_slots[row])
            network = np.sqrt(np.square(ifo_snr).sum(axis=1))
            snr[row, column] = network
            loud = network >= threshold
            taken[row[loud]] = column[loud]
            slot = open_slots[row[loud]]
            self.response[slot] = response[loud]
            self.ifo_snr[slot] = ifo_snr[loud]
            for name, values in chosen.items():
                kept = self.accepted.setdefault(name, np.zeros(len(self.slots.time)))
                kept[slot] = values[loud]

    def _respond(self, sources: Sources, slot: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Responses, float32, of shape (n, ifo, time), and their SNRs, of shape (n, ifo)."""
        experiment = self.experiment
        response = np.zeros((len(slot), *self.response.shape[1:]), dtype=np.float32)
        ifo_snr = np.zeros((len(slot), len(experiment.ifos)))
        factors, delay = antenna_response(sources, self.slots.time[slot], experiment.ifos)
        for chosen, plus, cross in self.model.batches(sources):
            part = project(
                plus, cross, factors[chosen], delay[chosen], experiment.sample_rate
            ).float()
            psd = self.slots.psd[torch.from_numpy(self.slots.block[slot[chosen]])]
            snr = optimal_snr(
                part,
                psd.to(part.device),
                experiment.sample_rate,
                experiment.highpass,
                experiment.lowpass,
            )
            response[chosen], ifo_snr[chosen] = part.cpu().numpy(), snr.cpu().numpy()
        return response, ifo_snr


def make_injections(
    experiment: str | Path,
    strain: str | Path,
    fold: int,
    output: str | Path,
    role: Role,
) -> None:
    """Make the injections for the files of a role.

    Args:
        experiment: Experiment file or its folder.
        strain: Strain index.
        fold: Which fold.
        output: File to write.
        role: `search` or `validation`.

    Raises:
        ValueError: No such fold or population, no room for a signal, or none loud enough.
        ledger.ProductError: The strain is of other detectors or another sample rate.
    """
    settings = load_experiment(experiment)
    population = priors.population(settings.waveforms.prior, settings.waveforms.redshift_max)
    index = StrainIndex.read(strain)
    require_same(strain, settings, SAME_STRAIN)
    if not 0 <= fold < index.num_folds:
        raise ValueError(f"no fold {fold}: {strain} has folds 0 to {index.num_folds - 1}")
    slots = plan_slots(settings, index, strain, role, fold)
    verb = VERBS[role]
    injector = Injector(settings, slots, population, generator_for(settings.seed, verb, fold))
    for _ in progress(injector.fill(), verb, total=len(slots.time), unit="injection"):
        pass
    log.info(
        "%s: %d accepted of %d draws (%.1f %%)",
        verb,
        len(slots.time),
        injector.num_drawn,
        100 * len(slots.time) / injector.num_drawn,
    )
    rejected, rejected_snr = injector.rejected.joined(sorted(injector.accepted))
    injections = InjectionSet(
        ifos=settings.ifos,
        sample_rate=settings.sample_rate,
        coalescence=injector.model.coalescence,
        snr_threshold=settings.injections.snr_threshold,
        volume=population.volume,
        time=slots.time,
        snr=np.sqrt(np.square(injector.ifo_snr).sum(axis=1)),
        ifo_snr=injector.ifo_snr,
        parameters=injector.accepted,
        response=injector.response,
        rejected=rejected,
        rejected_snr=rejected_snr,
    )
    provenance = make_provenance(
        f"datagen {verb}", settings, seed=settings.seed, parents={"strain": strain}
    )
    injections.write(output, provenance)
