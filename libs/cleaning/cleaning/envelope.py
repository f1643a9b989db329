"""Where noise may be subtracted: away from what was dropped, and where the gate is open."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np


def rising(place: np.ndarray) -> np.ndarray:
    """Half a Hann window: 0 up to 0, 1 from 1 on."""
    return 0.5 - 0.5 * np.cos(np.pi * np.clip(place, 0.0, 1.0))


def gap_envelope(
    dropped: Collection[int],
    start: int,
    stop: int,
    rate: int,
    past: float,
    future: float,
    taper: float,
) -> np.ndarray:
    """Weight of the noise estimate beside frames that are missing.

    The estimate sees `past` of the witnesses before a sample and `future` after it, so it is
    worthless from `future` before a missing second to `past` after it, and is tapered over
    `taper` beyond that.

    Args:
        dropped: GPS seconds that are missing; those farther away play no part.
        start: First second of the span [GPS s].
        stop: Second after the last of the span [GPS s].
        rate: Sample rate of the weights [Hz].
        past: What the estimate sees before a sample [s].
        future: What it sees after a sample [s].
        taper: Length of the tapers [s].

    Returns:
        Weights from 0 to 1 of shape ((stop - start) * rate,).
    """
    time = start + np.arange((stop - start) * rate) / rate
    weight = np.ones(len(time))
    for second in dropped:
        if start - past - taper - 1 < second < stop + future + taper:
            # beyond what is worthless on either side
            distance = np.maximum(second - time - future, time - (second + 1) - past)
            np.minimum(weight, rising(distance / taper), out=weight)
    return weight


def gate_envelope(before: bool, now: bool, after: bool, rate: int) -> np.ndarray:
    """Weight of the noise estimate in one second, from whether the gate holds it for good.

    Nothing is subtracted in a second that is not good; the seconds beside it are tapered over
    their whole length. Only three seconds matter, so a cleaner that begins anew gives what one
    that never ended gives.

    Args:
        before: Whether the second before is good.
        now: Whether this one is.
        after: Whether the next one is.
        rate: Sample rate of the weights [Hz].

    Returns:
        Weights from 0 to 1 of shape (rate,).
    """
    place = np.arange(rate) / rate
    weight = np.full(rate, float(now))
    if not before:
        weight *= rising(place)
    if not after:
        weight *= rising(1 - place)
    return weight


def fade(rate: int) -> np.ndarray:
    """Weight of a new model in the second in which it takes over from the old one."""
    return rising(np.arange(rate) / rate)
