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
        shift: How much later each signal goes into each detector's data, of shape (slot, ifo) [s].
        block: Which row of `psd` holds there.
        psd: PSD of the strain just before in each detector, of shape (block, ifo, frequency)
            [1/Hz].
    """

    time: np.ndarray
    shift: np.ndarray
    block: np.ndarray
    psd: Tensor


def slot_times(
    gps_start: float,
    gps_stop: float,
    experiment: Experiment,
    passes: int,
    steps: tuple[float, ...],
    generator: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray]:
    """Times for signals in one strain file, and how they are slid.

    Each pass lays a grid of `injections.spacing` over the time that is usable; the passes' grids
    lie evenly between each other, and each time is moved later at random by less than
    `injections.jitter` (and than the distance of two), so that times fall on no multiple of
    anything. In pass p the data of each detector are slid by p times its step. Usable are the
    times whose score can be computed with a kernel and an integration to either side, and whose
    whole signal lies in the file, in every detector.

    Args:
        gps_start: Start of the file [s].
        gps_stop: End of the file [s].
        experiment: The experiment.
        passes: How many grids.
        steps: How much further each detector's data are slid from pass to pass [s].
        generator: For the random part.

    Returns:
        Increasing GPS times, each that of a sample of the file [s], and the shifts, of shape
        (slot, ifo) [s].
    """
    white, signal = experiment.whitening, experiment.waveforms
    settings, rate = experiment.injections, experiment.sample_rate
    scored = experiment.kernel_length + experiment.search.integration_length
    first = gps_start + max(
        white.psd_length + white.fduration / 2 + scored, signal.duration - signal.right_pad
    )
    last = gps_stop - max(white.fduration / 2 + scored, signal.right_pad)
    distance = settings.spacing / passes
    # the grids together are one grid with the distance of two of them
    count = max(0, math.floor((last - first) / distance) + 1)
    jitter = min(settings.jitter, distance) * generator.random(count)
    times = first + distance * np.arange(count) + jitter
    times = gps_start + np.round((times - gps_start) * rate) / rate
    shifts = np.round(np.outer(np.arange(count) % passes, steps) * rate) / rate
    there = times[:, None] + shifts
    usable = ((there >= first) & (there < last)).all(axis=1)
    return times[usable], shifts[usable]


def clear_of_known(times: np.ndarray, known: np.ndarray, reach: float) -> np.ndarray:
    """Which times keep a distance from all windows of known events.

    Args:
        times: GPS times, of shape (slot,) or (slot, ifo), in which case all must [s].
        known: GPS windows, of shape (event, 2) [s].
        reach: Distance [s].
    """
    times = np.asarray(times).reshape(len(times), -1)
    clear = np.ones(len(times), dtype=bool)
    for start, stop in known:
        clear &= ((times + reach <= start) | (times - reach >= stop)).all(axis=1)
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
    # validation looks at each detector's data at the same time
    steps = settings.shifts if role == "search" else None
    steps = steps or (0.0,) * len(experiment.ifos)
    time, shift = slot_times(file.gps_start, file.gps_stop, experiment, passes, steps, generator)
    clear = clear_of_known(time[:, None] + shift, index.known_window, reach)
    time, shift = time[clear], shift[clear]
    if not len(time):
        return None
    recipe = WhiteningRecipe.from_settings(experiment.settings())
    offsets = time[:, None] + shift - file.gps_start
    blocks = np.array([[recipe.block(t) for t in row] for row in offsets])
    # a row for each combination of the detectors' blocks that there is
    pairs, block = np.unique(blocks, axis=0, return_inverse=True)
    psd = running_psd(read_strain(file.path, experiment.ifos), recipe)
    return Slots(
        time=time,
        shift=shift,
        block=block.reshape(-1),
        psd=torch.stack([psd[pairs[:, i], i] for i in range(len(experiment.ifos))], dim=1),
    )


def no_slots(experiment: Experiment) -> Slots:
    """The slots of a file without room for any."""
    ifos = len(experiment.ifos)
    size = round(experiment.whitening.fftlength * experiment.sample_rate) // 2 + 1
    return Slots(
        time=np.zeros(0),
        shift=np.zeros((0, ifos)),
        block=np.zeros(0, dtype=np.int64),
        psd=torch.ones((0, ifos, size), dtype=torch.float64),
    )


def read_strain(path: Path, ifos: tuple[str, ...]) -> Tensor:
    """Strain of a file, of shape (ifo, sample), float32."""
    segment = StrainSegment.read(path, ifos)
    return torch.from_numpy(np.stack([segment.strain[ifo] for ifo in ifos]))
