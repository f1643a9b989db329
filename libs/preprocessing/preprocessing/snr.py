"""Optimal signal-to-noise ratio."""

import torch
from torch import Tensor

from preprocessing.psd import STRAIN_SCALE


def optimal_snr(
    response: Tensor,
    psd: Tensor,
    sample_rate: float,
    highpass: float,
    lowpass: float | None = None,
) -> Tensor:
    """SNR that a matched filter with the signal itself would have on average.

    The square is 4 times the integral over the band of |h(f)|^2 / S(f) (Allen et al., Phys. Rev. D
    85, 122006 (2012), equation 3.6). The PSD is interpolated linearly to the signal's frequencies.

    Args:
        response: Signals in the detectors, of shape (batch, ifo, time).
        psd: One-sided PSD [1/Hz] from 0 to half the sample rate, of shape (batch, ifo, frequency)
            or (ifo, frequency).
        sample_rate: Sample rate of the signals [Hz].
        highpass: Lowest frequency of the band [Hz].
        lowpass: Highest frequency of the band; half the sample rate if None [Hz].

    Returns:
        Optimal SNR in each detector, float64, of shape (batch, ifo).
    """
    size = response.shape[-1]
    spectrum = torch.fft.rfft(response.double() * STRAIN_SCALE) / sample_rate
    frequency = torch.fft.rfftfreq(size, 1 / sample_rate, dtype=torch.float64).to(response.device)
    top = sample_rate / 2 if lowpass is None else lowpass
    band = (frequency >= highpass) & (frequency <= top)
    # position of each frequency among those of the PSD
    place = frequency[band] / (sample_rate / 2) * (psd.shape[-1] - 1)
    low = place.floor().long().clamp_(max=psd.shape[-1] - 2)
    part = place - low
    noise = psd[..., low] * (1 - part) + psd[..., low + 1] * part
    power = spectrum[..., band].abs().square() / (noise * STRAIN_SCALE**2)
    return (4 * power.sum(dim=-1) * (sample_rate / size)).sqrt()
