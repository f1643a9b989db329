"""Simulated data as frame files, and the truth beside them."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
from cleaning import Problem
from ledger import staged
from runtime import progress

from deepclean.frames import frame_name, write_frame
from deepclean.simulation.plant import Plant, Simulated

STATE_RATE = 16
"""Rate of the simulated state vector [Hz]."""


def write_simulated(
    plant: Plant,
    problem: Problem,
    folder: Path,
    start: int,
    stop: int,
    frame_length: int = 1,
    truth: bool = True,
) -> None:
    """Write strain and witnesses of a span as frame files.

    Args:
        plant: Makes the data.
        problem: Names the channels.
        folder: Gets `strain/`, `witness/` and, with the truth, `truth/`.
        start: First second [GPS s].
        stop: Second after the last [GPS s].
        frame_length: Length of each file; the last may be shorter [s].
        truth: Whether to write what no observatory has: background and noise, as HDF5.

    Raises:
        ProblemError: The simulation lacks channels of the problem.
    """
    there = {problem.strain_channel, *plant.rates}
    if problem.state_channel is not None:
        there.add(problem.state_channel)
    problem.require_channels(there, "the simulation")
    for name in ("strain", "witness", *(["truth"] if truth else [])):
        (folder / name).mkdir(parents=True, exist_ok=True)
    for first in progress(range(start, stop, frame_length), "frames", unit="file"):
        last = min(first + frame_length, stop)
        made = plant(first, last)
        write_span(made, plant, problem, folder, last)
        if truth:
            _write_truth(made, plant, folder / "truth", last)


def write_span(made: Simulated, plant: Plant, problem: Problem, folder: Path, stop: int) -> None:
    """Write one file of strain and, unless it was dropped, one of witnesses."""
    site, start = problem.ifo[0], made.start
    duration = stop - start
    strain = {problem.strain_channel: np.ascontiguousarray(made.strain)}
    path = folder / "strain" / frame_name(site, "STRAIN", start, duration)
    write_frame(path, start, duration, strain)
    # a long file has all of its seconds
    if duration == 1 and plant.dropped(start):
        return
    witnesses = {name: np.ascontiguousarray(made.witnesses[name]) for name in plant.rates}
    if problem.state_channel is not None:
        state = np.full(STATE_RATE * duration, problem.state_mask, dtype=np.int32)
        witnesses[problem.state_channel] = state
    path = folder / "witness" / frame_name(site, "WITNESS", start, duration)
    write_frame(path, start, duration, witnesses)


def _write_truth(made: Simulated, plant: Plant, folder: Path, stop: int) -> None:
    path = folder / f"truth-{made.start}-{stop - made.start}.hdf5"
    with staged(path) as partial, h5py.File(partial, "w") as file:
        file.attrs["gps_start"], file.attrs["gps_stop"] = made.start, stop
        file.attrs["sample_rate"] = plant.settings.strain_rate
        file["background"] = made.background
        file["noise"] = made.noise


def read_truth(folder: Path, start: int, stop: int) -> dict[str, np.ndarray]:
    """Background and noise of a span.

    Args:
        folder: Folder of the truth's files.
        start: First second [GPS s].
        stop: Second after the last [GPS s].

    Raises:
        FileNotFoundError: A second is missing.
    """
    found: dict[str, list[np.ndarray]] = {"background": [], "noise": []}
    second = start
    # in the order of their times, and not of their names' letters
    for path in sorted(folder.glob("truth-*.hdf5"), key=lambda p: int(p.stem.split("-")[1])):
        with h5py.File(path) as file:
            first, last = int(file.attrs["gps_start"]), int(file.attrs["gps_stop"])
            rate = int(file.attrs["sample_rate"])
            if not first <= second < last:
                continue
            part = slice((second - first) * rate, (min(last, stop) - first) * rate)
            for name, values in found.items():
                values.append(file[name][part])
            second = min(last, stop)
        if second == stop:
            return {name: np.concatenate(values) for name, values in found.items()}
    raise FileNotFoundError(f"{folder} holds no truth of GPS second {second}")
