"""Signals as detectors see them."""

from collections.abc import Mapping

import lal
import numpy as np
import torch
from ml4gw.constants import C
from ml4gw.gw import compute_antenna_responses, get_ifo_geometry
from scipy import fft
from torch import Tensor

# Longest light travel time from the geocentre to a detector, rounded up [s].
EARTH_RADIUS_TIME = 0.022


def sidereal_angle(gps: np.ndarray) -> np.ndarray:
    """Greenwich mean sidereal time of each GPS time [rad]."""
    times = np.asarray(gps)
    return np.array([lal.GreenwichMeanSiderealTime(lal.LIGOTimeGPS(float(t))) for t in times])


def antenna_response(
    sources: Mapping[str, np.ndarray], gps: np.ndarray, ifos: tuple[str, ...]
) -> tuple[Tensor, Tensor]:
    """Antenna factors and arrival times.

    Args:
        sources: `ra`, `dec`, `psi` [rad], of length n.
        gps: GPS time of each source's signal at the geocentre [s]; its fraction of a day places
            the source over the turning Earth, which is held still during a signal.
        ifos: Detectors.

    Returns:
        Antenna factors of plus and cross, of shape (n, 2, ifo), and the delay of each detector
        after the geocentre, of shape (n, ifo) [s]; float64, on the CPU.
    """
    hour_angle = torch.as_tensor(sources["ra"] - sidereal_angle(gps))
    theta = torch.pi / 2 - torch.as_tensor(sources["dec"])
    tensors, vertices = get_ifo_geometry(*ifos)
    factors = compute_antenna_responses(
        theta, torch.as_tensor(sources["psi"]), hour_angle, tensors.double(), ["plus", "cross"]
    )
    direction = torch.stack(
        (
            torch.sin(theta) * torch.cos(hour_angle),
            torch.sin(theta) * torch.sin(hour_angle),
            torch.cos(theta),
        ),
        dim=-1,
    )
    return factors, -(direction @ vertices.double().T) / C


def project(
    plus: Tensor, cross: Tensor, factors: Tensor, delay: Tensor, sample_rate: float
) -> Tensor:
    """Add polarizations up with a detector's factors, each detector at its own time.

    Delays are exact, not whole samples: they are phases in the frequency domain, with zeros behind
    the signal so that nothing comes round.

    Args:
        plus: Plus polarization, of shape (n, time).
        cross: Cross polarization, of shape (n, time).
        factors: Antenna factors, of shape (n, 2, ifo).
        delay: Delays after the geocentre, of shape (n, ifo) [s].
        sample_rate: Sample rate [Hz].

    Returns:
        Strain in each detector, float64, of shape (n, ifo, time).
    """
    factors, delay = factors.to(plus.device), delay.to(plus.device)
    size = plus.shape[-1]
    padded = fft.next_fast_len(size + 2 * round(EARTH_RADIUS_TIME * sample_rate), real=True)
    frequency = torch.fft.rfftfreq(
        padded, 1 / sample_rate, dtype=torch.float64, device=plus.device
    )
    polarizations = torch.fft.rfft(torch.stack((plus, cross), dim=1), n=padded)
    spectrum = torch.einsum("npi,npf->nif", factors.to(polarizations.dtype), polarizations)
    turned = spectrum * torch.exp(-2j * torch.pi * delay[..., None] * frequency)
    return torch.fft.irfft(turned, n=padded)[..., :size]
