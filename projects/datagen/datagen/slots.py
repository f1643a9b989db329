"""Where signals are to go in a strain file, and the noise there."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from ledger import StrainFile, StrainIndex, StrainSegment
from ledger.strain import Role
from preprocessing.psd import running_psd
from preprocessing.recipe import WhiteningRecipe
from runtime import Experiment, generator_for
from torch import Tensor


@dataclass(frozen=True)
class Slots:
    """Places for signals in one strain file.

    Attributes:
        time: Increasing GPS times of coalescence at the geocentre [s].
        block: Which row of `psd` holds at that time.
        psd: PSD of the strain just before, of shape (block, ifo, frequency) [1/Hz].
    """

    time: np.ndarray
    block: np.ndarray
    psd: Tensor


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


def find_slots(
    experiment: Experiment,
    index: StrainIndex,
    file: StrainFile,
    role: Role,
    fold: int,
    number: int,
) -> Slots | None:
    """Times for signals in a strain file, and the PSD at each.

    Args:
        experiment: The experiment.
        index: The strain index, for the known events.
        file: The file.
        role: What the file is for.
        fold: Fold of the experiment.
        number: Number of the file among those of its role.

    Returns:
        None if the file has no room for a signal.
    """
    settings = experiment.injections
    passes = settings.passes if role == "search" else settings.validation_passes
    reach = experiment.kernel_length + experiment.search.integration_length
    generator = generator_for(experiment.seed, "slots", role, fold, number)
    time = slot_times(file.gps_start, file.gps_stop, experiment, passes, generator)
    time = time[clear_of_known(time, index.known_window, reach)]
    if not len(time):
        return None
    recipe = WhiteningRecipe.from_settings(experiment.settings())
    return Slots(
        time=time,
        block=np.array([recipe.block(t - file.gps_start) for t in time]),
        psd=running_psd(read_strain(file.path, experiment.ifos), recipe),
    )


def read_strain(path: Path, ifos: tuple[str, ...]) -> Tensor:
    """Strain of a file, of shape (ifo, sample), float32."""
    segment = StrainSegment.read(path, ifos)
    return torch.from_numpy(np.stack([segment.strain[ifo] for ifo in ifos]))
