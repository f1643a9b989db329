"""Copies of strain files with injections in them, to try a search on."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from ledger import (
    ROLES,
    InjectionSet,
    ProductError,
    StrainFile,
    StrainIndex,
    StrainSegment,
    read_provenance,
    staged,
    strain_file_name,
)
from ledger.strain import INDEX, Role
from runtime import load_experiment, make_provenance, progress, require_same
from runtime.provenance import SAME_STRAIN
from waveforms import Responses, injection_responses

from datagen.injections import VERBS

GENERATOR = "datagen inject"
# Part of a sample by which a signal may miss those of a file: GPS times in float64 are good to
# 2e-7 s.
TOLERANCE = 0.01


def inject_signals(
    experiment: str | Path,
    strain: str | Path,
    injections: str | Path,
    output: str | Path,
    fold: int,
) -> None:
    """Write copies of strain files with injections added, and an index of the copies.

    The files are those that the injections were made for: of the search, or of validation. The
    signal in each detector goes in at `time + shift`, where signals overlap they add up, and a
    signal is in every file that it reaches into, as far as the file goes. In the index of the
    copies a file has its role in this fold and none in others, since a network that is trained on
    it would have seen the injections.

    Args:
        experiment: Experiment file or its folder.
        strain: Strain index.
        injections: Injections, with responses or with parameters alone.
        output: Folder to write, complete or not at all: strain files and `index.hdf5`.
        fold: Which fold, that of the injections.

    Raises:
        FileNotFoundError: An input, or a strain file of the index, is missing.
        ValueError: The injections are of another fold, or one of them lies outside the files or
            between their samples; or the output is something that should not be replaced.
        ledger.ProductError: Strain or injections are broken, or made with other settings.
    """
    settings = load_experiment(experiment)
    require_same(strain, settings, SAME_STRAIN)
    require_same(injections, settings, (*SAME_STRAIN, "waveforms"))
    index, signals = StrainIndex.read(strain), InjectionSet.read(injections)
    role = _role(signals, injections, fold)
    if not 0 <= fold < index.num_folds:
        raise ValueError(f"no fold {fold}: {strain} has folds 0 to {index.num_folds - 1}")
    files = index.files(strain, role, fold)
    _require_within(signals, files, f"{role} files of fold {fold} in {strain}")
    output = Path(output)
    _refuse_to_destroy(output, [Path(strain), Path(injections), *(file.path for file in files)])
    responses = injection_responses(signals, settings.waveforms)
    size = round(settings.waveforms.duration * settings.sample_rate)
    parents = {"strain": strain, "injections": injections}
    provenance = make_provenance(GENERATOR, settings, parents=parents)
    with staged(output) as partial:
        partial.mkdir()
        names = []
        for file in progress(files, "files", unit="file"):
            segment = StrainSegment.read(file.path, settings.ifos)
            names.append(strain_file_name(role, segment.gps_start, segment.duration))
            added = add_signals(segment, signals, responses, size)
            added.write(partial / names[-1], provenance)
        _index_of_copies(index, files, names, role, fold).write(partial / INDEX, provenance)


def add_signals(
    segment: StrainSegment, injections: InjectionSet, responses: Responses, size: int
) -> StrainSegment:
    """Add to strain the injections that reach into it.

    They are added in float64 and rounded to float32 once.

    Args:
        segment: The strain.
        injections: Injections, of the detectors of the strain in their order.
        responses: Their signals in the detectors.
        size: Samples of a signal.

    Returns:
        Strain of the same span.

    Raises:
        ValueError: An injection lies between the samples of the strain.
    """
    first = first_samples(injections, segment)
    within = ((first < segment.size) & (first + size > 0)).any(axis=1)
    strain = {ifo: values.astype(np.float64) for ifo, values in segment.strain.items()}
    for row in np.flatnonzero(within):
        for place, signal, values in zip(first[row], responses[row], strain.values(), strict=True):
            start, stop = max(place, 0), min(place + size, segment.size)
            # slid, one detector's signal may lie in this file and another's outside
            if start < stop:
                values[start:stop] += signal[start - place : stop - place]
    rounded = {ifo: values.astype(np.float32) for ifo, values in strain.items()}
    return dataclasses.replace(segment, strain=rounded)


def first_samples(injections: InjectionSet, segment: StrainSegment) -> np.ndarray:
    """Sample of the strain at which each injection begins in each detector.

    Args:
        injections: The injections.
        segment: The strain.

    Returns:
        Whole numbers of shape (injection, ifo), negative where a signal begins before the strain.

    Raises:
        ValueError: An injection lies between the samples of the strain.
    """
    # of the GPS times first the difference, which is exact
    offset = (np.asarray(injections.time) - segment.gps_start)[:, None] + injections.shift
    place = (offset - injections.coalescence) * segment.sample_rate
    nearest = np.round(place)
    between = np.argwhere(np.abs(place - nearest) > TOLERANCE)
    if len(between):
        row, column = between[0]
        raise ValueError(
            f"{_described(injections, row)}, lies between two samples of "
            f"{injections.ifos[column]} in strain from GPS {segment.gps_start} at "
            f"{segment.sample_rate:g} Hz: make the injections for this strain"
        )
    return nearest.astype(np.int64)


def _described(injections: InjectionSet, row: int) -> str:
    """An injection, for messages."""
    shifts = zip(injections.ifos, injections.shift[row], strict=True)
    moved = ", ".join(f"{shift:g} s in {ifo}" for ifo, shift in shifts)
    return f"injection {row} at GPS {injections.time[row]}, shifted by {moved}"


def _role(injections: InjectionSet, path: str | Path, fold: int) -> Role:
    """What the files are for that injections were made for."""
    verb, _, made_for = injections.stream.partition("/")
    roles = {name: role for role, name in VERBS.items()}
    if verb not in roles:
        raise ValueError(
            f"{path} has the stream {injections.stream!r}, expected one that begins with "
            f"{' or '.join(roles)}: make it with one of these verbs"
        )
    if made_for != str(fold):
        raise ValueError(
            f"{path} was made for fold {made_for}, not for fold {fold}: name that fold, or the "
            "injections of this one"
        )
    return roles[verb]


def _require_within(injections: InjectionSet, files: Sequence[StrainFile], source: str) -> None:
    """Stop if an injection coalesces outside all files, in any detector."""
    time = np.asarray(injections.time)[:, None]
    times = np.concatenate((time, time + injections.shift), axis=1)
    within = np.zeros(times.shape, dtype=bool)
    for file in files:
        within |= (times >= file.gps_start) & (times < file.gps_stop)
    outside = np.flatnonzero(~within.all(axis=1))
    if len(outside):
        raise ValueError(
            f"{_described(injections, outside[0])}, lies in none of the {len(files)} {source} "
            f"({len(outside)} such of {len(within)}): make the injections for this strain and fold"
        )


def _refuse_to_destroy(output: Path, inputs: Sequence[Path]) -> None:
    """Stop if the output folder, which is replaced as a whole, is anything but old copies."""
    for path in inputs:
        if output.resolve() in path.resolve().parents:
            raise ValueError(f"output {output} would replace {path}: name another folder")
    if not output.exists():
        return
    try:
        ours = not any(output.iterdir()) or read_provenance(output / INDEX).generator == GENERATOR
    except (FileNotFoundError, NotADirectoryError, ProductError):
        ours = False
    if not ours:
        raise ValueError(
            f"{output} exists and is no folder of strain with injections: it would be replaced; "
            "remove it or name another folder"
        )


def _index_of_copies(
    index: StrainIndex, files: Sequence[StrainFile], names: list[str], role: Role, fold: int
) -> StrainIndex:
    """Index of the copies of some files, which have a role in one fold alone."""
    roles = np.full((len(files), index.num_folds), -1, dtype=np.int8)
    roles[:, fold] = ROLES.index(role)
    return dataclasses.replace(
        index,
        path=names,
        label=[file.label for file in files],
        gps_start=np.array([file.gps_start for file in files]),
        gps_stop=np.array([file.gps_stop for file in files]),
        role=roles,
    )
