"""One strain file from an archive, a folder or the observatories."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import math
from collections.abc import Iterator
from pathlib import Path

from ledger import SegmentList, StrainSegment
from runtime import Experiment, load_experiment, make_provenance, progress, require_same
from runtime.experiment import FetchedStrain

from datagen.fetch.assembly import assemble
from datagen.fetch.stretch import Provider

log = logging.getLogger("datagen")


def fetched_strain(experiment: Experiment) -> FetchedStrain:
    """The settings of an experiment on fetched strain.

    Raises:
        ValueError: The experiment simulates or imports its strain.
    """
    if not isinstance(experiment.strain, FetchedStrain):
        raise ValueError(
            f"{experiment.source} has strain.source: {experiment.strain.source}, expected fetch: "
            f"use `datagen {experiment.strain.source}` for it"
        )
    return experiment.strain


@contextlib.contextmanager
def open_provider(
    experiment: Experiment, start: float, stop: float, output: Path, source: str | Path | None
) -> Iterator[Provider]:
    """Open what gives the strain of a span; see `fetch_strain` for the arguments."""
    settings = fetched_strain(experiment)
    if (settings.provider == "files") != (source is not None):
        raise ValueError(
            f"{experiment.source} has strain.provider: {settings.provider}, for which --source "
            f"is {'missing: give the folder of files' if source is None else 'of no use'}"
        )
    # each provider has its own clients, which take a while to load
    if settings.provider == "gwosc":
        from datagen.fetch.gwosc import GwoscArchive

        with GwoscArchive(experiment.ifos, start, stop, experiment.sample_rate, output) as archive:
            yield archive
    elif settings.provider == "files":
        from datagen.fetch.files import FileFolder

        yield FileFolder(Path(str(source)), experiment.ifos, settings.channels, start, stop)
    else:
        from datagen.fetch.observatory import Observatory

        yield Observatory(experiment.ifos, settings.channels, start, stop)


def fetch_strain(
    experiment: str | Path,
    segments: str | Path,
    branch: int,
    output: str | Path,
    source: str | Path | None = None,
) -> None:
    """Fetch one strain file.

    Strain is verified, lowered to the experiment's sample rate by a filter that keeps all up to
    82 % of the new Nyquist frequency, and stored as float32. Sample times do not move. Where
    there is no strain beyond an end of the piece for the filter to see, the file is shorter there
    by `resampling.reach` samples.

    Rounding to float32 adds white noise, whose size follows the strain at the lowest frequencies
    (2e-19 to 1e-18). In H1 and L1 around GW150914 and GW151012, at 1024 to 4096 Hz, it is 1e-28
    to 2e-27 / sqrt(Hz): less than 5e-7 of the power at any frequency from 20 to 1000 Hz.

    Args:
        experiment: Experiment file or its folder.
        segments: What `datagen query` found.
        branch: Which of the segments' pieces, from 0.
        output: File to write, complete or not at all.
        source: Folder of strain files, for the provider `files`.

    Raises:
        FileNotFoundError: No such segments or folder.
        ValueError: No such branch, or strain is missing, broken, or not fit for use; says where.
    """
    settings, output = load_experiment(experiment), Path(output)
    rate = settings.sample_rate
    fetched = fetched_strain(settings)
    require_same(segments, settings, ("ifos", "strain"))
    pieces = SegmentList.read(segments).pieces(fetched.file_length)
    if not 0 <= branch < len(pieces):
        raise ValueError(
            f"no branch {branch}: {segments} and {settings.source} have strain files 0 to "
            f"{len(pieces) - 1}"
        )
    role, *span = pieces[branch]
    # whole samples within the piece; segments that were gated end anywhere
    start = math.ceil(span[0] * rate - 1e-3) / rate
    stop = math.floor(span[1] * rate + 1e-3) / rate
    with open_provider(settings, start, stop, output, source) as provider:
        found = {
            ifo: assemble(ifo, provider.stretches(ifo), start, stop, rate)
            for ifo in progress(settings.ifos, f"{role} [{start}, {stop})", unit="ifo")
        }
        left = max(one.lost_left for one in found.values())
        right = max(one.lost_right for one in found.values())
        if left or right:
            log.info("no strain beyond the ends: %d samples cut before, %d after", left, right)
        size = round((stop - start) * rate)
        segment = StrainSegment(
            strain={ifo: one.values[left : size - right] for ifo, one in found.items()},
            gps_start=start + left / rate,
            sample_rate=rate,
        )
        provenance = make_provenance("datagen fetch", settings, parents={"segments": segments})
        parents = {**provider.parents(), **provenance.parents}
        segment.write(output, dataclasses.replace(provenance, parents=parents))
