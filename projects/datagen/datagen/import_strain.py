"""Import of strain files of other makers."""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from ledger import StrainIndex, StrainSegment, staged, strain_file_name
from ledger.strain import INDEX
from runtime import Experiment, load_experiment, make_provenance, progress
from runtime.experiment import FetchedStrain, ImportedStrain

from datagen.challenge import cut_overlaps
from datagen.channel import Channel
from datagen.foreign import SUFFIXES, channels
from datagen.masks import true_spans
from datagen.replacing import refuse_to_destroy
from datagen.resampling import decimate, reach, whole_factor

log = logging.getLogger("datagen")

TRAINING, VALIDATION, SEARCH = range(3)


@dataclass(frozen=True)
class Source:
    """A stretch of time for which there is a file of each detector.

    Attributes:
        channels: Channel of each detector, in the experiment's order.
        gps_start: Where the last of them begins [s].
        gps_stop: Where the first of them ends [s].
    """

    channels: tuple[Channel, ...]
    gps_start: float
    gps_stop: float

    @property
    def label(self) -> str:
        """Name for reports."""
        return self.channels[0].path.stem


def import_rules(experiment: Experiment) -> ImportedStrain:
    """How an experiment wants strain imported; the defaults where its own strain is no import."""
    if isinstance(experiment.strain, ImportedStrain):
        return experiment.strain
    return ImportedStrain(source="import")


def find_files(folder: Path) -> list[Path]:
    """Strain files of a folder by name; a file is all there is in itself.

    Raises:
        FileNotFoundError: There is no such folder, or no such file in it.
    """
    if folder.is_file():
        return [folder]
    if not folder.is_dir():
        raise FileNotFoundError(
            f"no folder {folder}: expected a folder of strain files, or one file"
        )
    files = sorted(p for p in folder.iterdir() if p.suffix in SUFFIXES and p.name != INDEX)
    if not files:
        raise FileNotFoundError(
            f"{folder} holds no strain file: expected files ending in {', '.join(SUFFIXES)}"
        )
    return files


def pair(found: Sequence[Channel], ifos: tuple[str, ...], folder: Path) -> list[Source]:
    """Put the files of the detectors together where their times overlap.

    Args:
        found: Channels of all files.
        ifos: Detectors that must all be there.
        folder: Where they come from, for messages.

    Returns:
        Sources in time order.

    Raises:
        ValueError: A detector is in no file, the detectors have no time in common, or two files
            of one detector overlap.
    """
    present = sorted({channel.ifo for channel in found})
    missing = [ifo for ifo in ifos if ifo not in present]
    if missing:
        raise ValueError(
            f"{folder} holds no {', '.join(missing)}: found {', '.join(present)}, expected "
            f"{', '.join(ifos)}"
        )
    sources = [Source((), -np.inf, np.inf)]
    for ifo in ifos:
        own = sorted((c for c in found if c.ifo == ifo), key=lambda c: (c.gps_start, c.path))
        for left, right in itertools.pairwise(own):
            # less than half a sample is the rounding of GPS times
            if left.gps_stop > right.gps_start + 0.5 / right.sample_rate:
                raise ValueError(
                    f"two files overlap in {ifo}: {left.path} [{left.gps_start}, "
                    f"{left.gps_stop}) and {right.path} [{right.gps_start}, {right.gps_stop}); "
                    "remove one"
                )
        sources = [
            Source((*source.channels, channel), start, stop)
            for source in sources
            for channel in own
            if (start := max(source.gps_start, channel.gps_start))
            < (stop := min(source.gps_stop, channel.gps_stop))
        ]
    if not sources:
        raise ValueError(f"the files in {folder} have no time at which {', '.join(ifos)} all are")
    return sorted(sources, key=lambda source: source.gps_start)


def cut_and_resample(source: Source, experiment: Experiment) -> list[StrainSegment]:
    """Turn a source into gapless coincident segments at the experiment's sample rate.

    Left out: `edge_fraction` at either end, samples that are NaN or infinite in any detector, and
    at the ends of each piece what the anti-alias filter cannot make (36 new samples, where the
    rate is lowered). Samples stay at their GPS times. Pieces too short to be searched are dropped.

    Args:
        source: Channels and their common time.
        experiment: The experiment.

    Returns:
        The segments, in time order; none if all are too short.

    Raises:
        ValueError: Sample rate or sample times do not fit, or there is no finite sample.
    """
    settings, rate = import_rules(experiment), experiment.sample_rate
    factors = [whole_factor(c.sample_rate, rate, str(c.path)) for c in source.channels]
    offsets, sizes = [], []
    for channel, factor in zip(source.channels, factors, strict=True):
        offset = (source.gps_start - channel.gps_start) * channel.sample_rate
        # GPS times in float64 are good to 2e-7 s
        if abs(offset - round(offset)) > 0.01:
            raise ValueError(
                f"{channel.path} and {source.channels[0].path} do not have their samples at the "
                f"same times: {channel.gps_start} and {source.channels[0].gps_start} differ by a "
                f"fraction of a sample at {channel.sample_rate:g} Hz"
            )
        offsets.append(round(offset))
        sizes.append((channel.size - round(offset)) // factor)
    size = min(sizes)
    values, finite = [], np.ones(size, dtype=bool)
    for channel, factor, offset in zip(source.channels, factors, offsets, strict=True):
        samples = channel.read()[offset : offset + size * factor]
        good = np.isfinite(samples).reshape(size, factor).all(axis=1)
        if not good.any():
            raise ValueError(
                f"{channel.path}: {channel.ifo} is NaN throughout [{source.gps_start}, "
                f"{source.gps_stop}); remove the file"
            )
        values.append(samples)
        finite &= good
    edge = round(settings.edge_fraction * size)
    finite[:edge] = False
    finite[size - edge :] = False
    lost = max(reach(factor) for factor in factors)
    segments = []
    for start, stop in true_spans(finite):
        first, last = start + lost, stop - lost
        if (last - first) / rate < experiment.shortest_segment:
            log.info(
                "%s: a piece of %.1f s at %s is shorter than %s s, dropped",
                source.label,
                (stop - start) / rate,
                source.gps_start + start / rate,
                experiment.shortest_segment,
            )
            continue
        strain = {}
        for ifo, samples, factor in zip(experiment.ifos, values, factors, strict=True):
            lower = decimate(samples[start * factor : stop * factor], factor)
            # a detector with a shorter filter loses as much as the others
            more = lost - reach(factor)
            strain[ifo] = lower[more : len(lower) - more].astype(np.float32)
        segments.append(
            StrainSegment(
                strain=strain, gps_start=source.gps_start + first / rate, sample_rate=rate
            )
        )
    return segments


def assign_roles(num_sources: int, folds: int, validation_fraction: float) -> np.ndarray:
    """Say what each source is for in each fold.

    Source i is searched in fold `i % folds`. Of the others, counted in time order from 0, number j
    is for validation where `(j + 1) * validation_fraction` passes a whole number (each fourth for
    0.25), or else the last is; the rest is for training.

    Args:
        num_sources: Number of sources.
        folds: Number of folds.
        validation_fraction: Part of the sources not searched that is for validation.

    Returns:
        Codes of `StrainIndex.role`, of shape (source, fold).

    Raises:
        ValueError: Too few sources for each fold to have all three roles.
    """
    roles = np.full((num_sources, folds), TRAINING, dtype=np.int8)
    for fold in range(folds):
        searched = np.arange(num_sources) % folds == fold
        others = np.flatnonzero(~searched)
        # a small number against the rounding of 3 * (1 / 3)
        passed = np.floor((np.arange(len(others)) + 1) * validation_fraction + 1e-9)
        chosen = np.diff(passed, prepend=0) > 0
        if len(others) and not chosen.any():
            chosen[-1] = True
        roles[searched, fold] = SEARCH
        roles[others[chosen], fold] = VALIDATION
        if {TRAINING, VALIDATION, SEARCH} - set(roles[:, fold].tolist()):
            raise ValueError(
                f"{num_sources} usable file(s) are too few for {folds} folds: in each, some are "
                f"searched, and of the others {validation_fraction:g} are for validation and the "
                "rest for training; add files, or lower folds"
            )
    return roles


def digest_of(path: Path) -> str:
    """SHA-256 of a file of any size."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def warn_of_known(sources: Sequence[Source], experiment: Experiment) -> None:
    """Say which files to be searched hold times on which the experiment's network was trained."""
    strain = experiment.strain
    if not isinstance(strain, FetchedStrain):
        return  # of a simulated span nothing is known but its number
    for role in ("training", "validation"):
        start, stop = getattr(strain, role)
        known = [s.label for s in sources if s.gps_start < stop and start < s.gps_stop]
        if known and role in strain.fetched:
            log.warning(
                "%s: holds times of the %s of %s [%s, %s): a network has seen them, events there "
                "are no test of it",
                ", ".join(dict.fromkeys(known)),
                role,
                experiment.name,
                start,
                stop,
            )


def import_strain(
    experiment: str | Path,
    source: str | Path,
    output: str | Path,
) -> None:
    """Import a folder of strain files, with roles for each fold.

    An experiment whose strain is not imported has other strain to train on: then all files are
    to be searched.

    Args:
        experiment: Experiment file or its folder.
        source: Folder of the files, or one file; see `datagen.foreign.channels` for what is
            understood.
        output: Folder to write, complete or not at all: strain files and `index.hdf5`.

    Raises:
        FileNotFoundError: No such folder, or no file in it.
        ValueError: The strain cannot be used; says which file and why.
    """
    settings = load_experiment(experiment)
    rules = import_rules(settings)
    source, output = Path(source), Path(output)
    if output.resolve() == source.resolve() or output.resolve() in source.resolve().parents:
        raise ValueError(f"output {output} would replace the source {source}: name another folder")
    refuse_to_destroy(output, INDEX, StrainIndex)
    files = find_files(source)
    found = [
        channel for path in progress(files, "files", unit="file") for channel in channels(path)
    ]
    found = [channel for channel in found if channel.ifo in settings.ifos] or found
    sources = pair(cut_overlaps(found), settings.ifos, source)
    warn_of_known(sources, settings)
    for channel in (c for item in sources for c in item.channels):
        factor = whole_factor(channel.sample_rate, settings.sample_rate, str(channel.path))
        if factor > 1:
            settings.require_band(f"import of {channel.path} at {channel.sample_rate:g} Hz")
    digests = {path.name: digest_of(path) for path in files}
    provenance = dataclasses.replace(make_provenance("datagen import", settings), parents=digests)
    with staged(output) as partial:
        partial.mkdir()
        used: list[Source] = []
        rows: list[tuple[str, str, float, float, int]] = []
        for item in progress(sources, "import", unit="source"):
            segments = cut_and_resample(item, settings)
            for segment in segments:
                name = strain_file_name("data", segment.gps_start, segment.duration)
                segment.write(partial / name, provenance)
                rows.append((name, item.label, segment.gps_start, segment.gps_stop, len(used)))
            if segments:
                used.append(item)
        if not used:
            raise ValueError(
                f"no piece of strain in {source} is as long as {settings.shortest_segment} s "
                "(psd_length + fduration + kernel_length): nothing to import"
            )
        roles = (
            assign_roles(len(used), settings.folds, rules.validation_fraction)
            if rules is settings.strain
            else np.full((len(used), settings.folds), SEARCH, dtype=np.int8)
        )
        events = dict.fromkeys(c.event for item in used for c in item.channels if c.event)
        times = np.array([time for _, time in events], dtype=np.float64)
        names, labels, starts, stops, numbers = zip(*rows, strict=True)
        index = StrainIndex(
            ifos=settings.ifos,
            sample_rate=settings.sample_rate,
            path=list(names),
            label=list(labels),
            gps_start=np.array(starts),
            gps_stop=np.array(stops),
            role=roles[list(numbers)],
            known_label=[label for label, _ in events],
            known_time=times,
            known_window=times[:, None] + np.array(rules.known_event_window),
        )
        index.write(partial / INDEX, provenance)
