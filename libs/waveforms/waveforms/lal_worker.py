"""One signal from lalsimulation, and processes to make it in; without torch, to start soon."""

from __future__ import annotations

import multiprocessing
import os
import re
import tempfile
import threading
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing.connection import wait
from pathlib import Path

import lal
import lalsimulation
import numpy as np

from waveforms.window import rising_window

# Detector-frame total mass times the frequency below which a binary still has an inspiral
# [Msun Hz]: a signal begins there if that is lower than the minimum frequency.
INSPIRAL_MASS_FREQUENCY = 1899.0
TIDES = {"lambda_1": "lambda1", "lambda_2": "lambda2"}


@dataclass(frozen=True)
class Task:
    """What all signals of a model share.

    Attributes:
        approximant: lalsimulation's number of it.
        precessing: Whether spins may lie in the orbital plane; if not, their components along the
            orbital angular momentum are taken.
        sample_rate: Sample rate [Hz].
        minimum_frequency: Where signals begin [Hz].
        reference_frequency: Where spins are given [Hz].
        size: Samples of the array.
        coalescence_sample: Its sample at lalsimulation's zero of time.
        taper_size: Samples over which a signal that is cut at its left is tapered in.
    """

    approximant: int
    precessing: bool
    sample_rate: float
    minimum_frequency: float
    reference_frequency: float
    size: int
    coalescence_sample: int
    taper_size: int


def new_pool(workers: int) -> ProcessPoolExecutor:
    """Processes for `answer`."""
    # not forked: this process has threads
    context = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(workers, mp_context=context, initializer=set_up)


def set_up() -> None:
    """Make this process quiet, and end it with its parent."""
    # lalsimulation writes there, past Python; what it says of a failure is read back
    with Path(os.devnull).open("wb") as nothing, tempfile.TemporaryFile() as log:
        os.dup2(nothing.fileno(), 1)
        os.dup2(log.fileno(), 2)
    parent = multiprocessing.parent_process()
    if parent is None:
        return

    def watch() -> None:
        wait([parent.sentinel])
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def answer(task: Task, source: Mapping[str, float]) -> tuple[int, np.ndarray] | str:
    """`make_signal` for another process, after `set_up`: a failure is answered by its reason."""
    os.lseek(2, 0, os.SEEK_SET)
    os.ftruncate(2, 0)
    try:
        return make_signal(task, source)
    except RuntimeError as error:
        text = os.pread(2, 4096, 0).decode(errors="replace")
        found = re.search(r"XLAL Error - \w+ \([^)]*\): (?:Error: )?(.*)", text)
        return found[1].strip().rstrip(".") if found else str(error)


def make_signal(task: Task, source: Mapping[str, float]) -> tuple[int, np.ndarray]:
    """One signal, cut to the array.

    Args:
        task: What all signals share.
        source: Parameters by bilby's names.

    Returns:
        The sample of the array where the signal begins, and its plus and cross polarizations, of
        shape (2, n).

    Raises:
        RuntimeError: lalsimulation fails.
    """
    parameters = lal_parameters(task, source)
    generator = lalsimulation.SimInspiralChooseGenerator(task.approximant, parameters)
    plus, cross = lalsimulation.SimInspiralGenerateTDWaveform(parameters, generator)
    total = source["mass_1_detector"] + source["mass_2_detector"]
    orbit = 6**1.5 * np.pi * lal.MTSUN_SI * total
    return place(
        np.stack((plus.data.data, cross.data.data)),
        round(-float(plus.epoch) * task.sample_rate),
        max(4, round(orbit * task.sample_rate)),
        task,
    )


def lal_parameters(task: Task, source: Mapping[str, float]) -> lal.Dict:
    """A source as lalsimulation takes it, in SI units."""
    masses = [source[f"mass_{i}_detector"] for i in (1, 2)]
    start = min(task.minimum_frequency, INSPIRAL_MASS_FREQUENCY / sum(masses))
    inclination, spins = _spins(task, source, [m * lal.MSUN_SI for m in masses])
    values = {
        "mass1": masses[0] * lal.MSUN_SI,
        "mass2": masses[1] * lal.MSUN_SI,
        **dict(zip(("spin1x", "spin1y", "spin1z"), spins[:3], strict=True)),
        **dict(zip(("spin2x", "spin2y", "spin2z"), spins[3:], strict=True)),
        "distance": source["luminosity_distance"] * 1e6 * lal.PC_SI,
        "inclination": inclination,
        "phi_ref": source["phase"],
        "longAscNodes": 0.0,
        "eccentricity": 0.0,
        "meanPerAno": 0.0,
        "deltaT": 1 / task.sample_rate,
        "f22_start": start,
        "f22_ref": task.reference_frequency,
    }
    values |= {theirs: source[ours] for ours, theirs in TIDES.items() if ours in source}
    parameters = lal.CreateDict()
    for name, value in values.items():
        lal.DictInsertREAL8Value(parameters, name, float(value))
    lal.DictInsertINT4Value(parameters, "condition", 1)
    return parameters


def _spins(
    task: Task, source: Mapping[str, float], masses: list[float]
) -> tuple[float, tuple[float, ...]]:
    """Inclination, and the components of both spins in lalsimulation's frame."""
    sizes, tilts = zip(*((source[f"a_{i}"], source[f"tilt_{i}"]) for i in (1, 2)), strict=True)
    aligned = all(a == 0 or np.sin(tilt) == 0 for a, tilt in zip(sizes, tilts, strict=True))
    if aligned or not task.precessing:
        along = [a * np.cos(tilt) for a, tilt in zip(sizes, tilts, strict=True)]
        return source["theta_jn"], (0.0, 0.0, along[0], 0.0, 0.0, along[1])
    inclination, *spins = lalsimulation.SimInspiralTransformPrecessingNewInitialConditions(
        *(source[name] for name in ("theta_jn", "phi_jl", "tilt_1", "tilt_2", "phi_12")),
        *sizes,
        *masses,
        task.reference_frequency,
        source["phase"],
    )
    return inclination, tuple(spins)


def place(signal: np.ndarray, zero: int, fall_size: int, task: Task) -> tuple[int, np.ndarray]:
    """Cut a signal to the array, and taper it where it was cut.

    Args:
        signal: Polarizations, of shape (2, n).
        zero: Sample of coalescence in the signal.
        fall_size: Samples over which a signal that is cut at its right is tapered out.
        task: The array.

    Returns:
        The sample of the array where the signal begins, and what lies in the array.
    """
    first = zero - task.coalescence_sample
    stop = first + task.size
    kept = np.ascontiguousarray(signal[:, max(first, 0) : stop])
    if first > 0:
        kept[:, : task.taper_size] *= rising_window(task.taper_size)[: kept.shape[1]]
    if stop < signal.shape[1]:
        # from the last sample back, the one behind it being zero
        fall = rising_window(fall_size + 1)[1:][::-1]
        size = min(fall_size, kept.shape[1])
        kept[:, -size:] *= fall[-size:]
    return max(-first, 0), kept
