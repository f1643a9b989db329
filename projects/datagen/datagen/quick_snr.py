"""The SNR of a signal, nearly, from its spectrum on a coarse grid."""

from __future__ import annotations

import numpy as np
import torch
from runtime import Experiment
from torch import Tensor
from waveforms import SignalModel, Sources, antenna_response
from waveforms.threads import ordered_threads

from datagen.slots import Slots

# Width of the frequency bins [Hz].
BIN_WIDTH = 2.0
SPECTRA_AT_ONCE = 512


class QuickSNR:
    """Network SNR of sources from their spectra on a coarse grid.

    The spectrum of a signal is smooth, that of the noise is not: the inverse PSD is summed over
    bins of 2 Hz, the signal is evaluated once in each. The limited length of the time-domain
    signals is not accounted for, so long signals come out somewhat louder than they are.

    Args:
        model: The signals; must have spectra.
        slots: Times and PSDs.
        experiment: Detectors and band.
    """

    def __init__(self, model: SignalModel, slots: Slots, experiment: Experiment) -> None:
        top = experiment.lowpass or experiment.sample_rate / 2
        frequency = torch.linspace(
            0, experiment.sample_rate / 2, slots.psd.shape[-1], dtype=torch.float64
        )
        band = (frequency >= experiment.highpass) & (frequency <= top)
        number = ((frequency[band] - experiment.highpass) / BIN_WIDTH).long()
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
        """Network SNR of each source in its slot; NaN where the model has no finite spectrum."""
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
        if not len(starts):
            return np.zeros(0)
        on_cpu = self.model.device.type == "cpu"
        parts = ordered_threads(part_of, starts) if on_cpu else map(part_of, starts)
        return torch.cat(list(parts)).numpy()
