"""When each detector takes science data, from the archive, the database or a file."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from igwn_segments import segmentlist
from runtime.experiment import Experiment, FetchedStrain, Role, Span

from datagen.gwosc_client import server
from datagen.query.archive import Run, public_flag, public_runs, runs_in
from datagen.query.database import database_flag
from datagen.query.intervals import intervals, within
from datagen.query.segment_files import holds_flags, read_flags, read_segments, require_file

log = logging.getLogger("datagen")


@dataclass(frozen=True)
class Science:
    """Science segments of the detectors.

    Attributes:
        flags: What they were taken from, for each detector: a flag, or the name of a file.
        active: Segments of each detector.
        edges: GPS times at which observing runs begin and end, that no segment may cross [s].
    """

    flags: tuple[str, ...]
    active: tuple[segmentlist, ...]
    edges: tuple[float, ...] = ()


def science_segments(
    experiment: Experiment, strain: FetchedStrain, spans: Mapping[Role, Span], folder: Path
) -> Science:
    """Science segments of the experiment's detectors, from where the experiment says.

    Args:
        experiment: The experiment.
        strain: Its strain.
        spans: GPS span of each role that is fetched [s].
        folder: What the names of files are relative to.

    Returns:
        Segments within the spans. Observing runs are known for the public archive alone.

    Raises:
        FileNotFoundError: The file of segments is missing.
        ValueError: A flag does not exist or cannot be had, or a span is in no public run.
    """
    if strain.segments == "gwosc":
        found = _from_archive(experiment.ifos, strain, spans)
    elif strain.segments == "dqsegdb":
        found = _from_database(experiment.ifos, strain, spans)
    else:
        found = _from_file(experiment.ifos, strain, folder / strain.segments)
    wanted = intervals(spans.values())
    return Science(found.flags, tuple(active & wanted for active in found.active), found.edges)


def _check_runs(runs: Sequence[Run], spans: Mapping[Role, Span]) -> None:
    for role, (start, stop) in spans.items():
        if not runs_in(runs, start, stop):
            known = ", ".join(f"{run.name} [{run.start:.0f}, {run.stop:.0f})" for run in runs)
            raise ValueError(
                f"strain.{role} [{start:.0f}, {stop:.0f}) is in no public observing run of "
                f"{server()}: expected a span in one of {known or 'none'}"
            )


def _from_archive(
    ifos: tuple[str, ...], strain: FetchedStrain, spans: Mapping[Role, Span]
) -> Science:
    flags = tuple(strain.flag(ifo) for ifo in ifos)
    for ifo, flag in zip(ifos, flags, strict=True):
        if not flag.startswith(f"{ifo}_"):
            raise ValueError(
                f"strain.flags.{ifo} is {flag}, which is no flag of the public archive for {ifo}: "
                f"expected one such as {ifo}_DATA or {ifo}_CBC_CAT1; for flags of the "
                "observatories' database set strain.segments: dqsegdb"
            )
    runs = public_runs()
    _check_runs(runs, spans)
    active = []
    for ifo, flag in zip(ifos, flags, strict=True):
        # one request for each run: the archive's client does not cross them
        found = []
        for run in runs:
            asked = within(intervals(spans.values()), run.start, run.stop)
            if not asked:
                continue
            if ifo not in run.ifos:
                log.warning("%s has no public data in %s", ifo, run.name)
                continue
            start, stop = asked.extent()
            found.append(within(public_flag(flag, start, stop), start, stop))
        active.append(intervals(itertools.chain(*found)))
    edges = {edge for run in runs for edge in (run.start, run.stop)}
    return Science(flags, tuple(active), tuple(sorted(edges)))


def _from_database(
    ifos: tuple[str, ...], strain: FetchedStrain, spans: Mapping[Role, Span]
) -> Science:
    missing = [ifo for ifo in ifos if ifo not in strain.flags]
    if missing:
        raise ValueError(
            f"strain.segments is dqsegdb, but strain.flags names none for {', '.join(missing)}: "
            f"give for example {missing[0]}: {missing[0]}:DMT-ANALYSIS_READY:1"
        )
    flags = tuple(strain.flags[ifo] for ifo in ifos)
    start, stop = intervals(spans.values()).extent()
    active = tuple(database_flag(flag, start, stop).active for flag in flags)
    return Science(flags, active)


def _from_file(ifos: tuple[str, ...], strain: FetchedStrain, path: Path) -> Science:
    require_file(path, "a file of segments, or `gwosc` or `dqsegdb`, in strain.segments")
    if not holds_flags(path):
        if strain.flags:
            raise ValueError(
                f"{path} holds segments without the names of flags, but strain.flags names some: "
                "remove strain.flags, or use a LIGO_LW XML or HDF5 file"
            )
        return Science((path.name,) * len(ifos), (read_segments(path),) * len(ifos))
    found = read_flags(path)
    flags = []
    for ifo in ifos:
        own = [name for name in found if name.startswith(f"{ifo}:")]
        wanted = [strain.flags[ifo]] if ifo in strain.flags else own
        if len(wanted) != 1 or wanted[0] not in found:
            raise ValueError(
                f"{path} holds for {ifo} the flags {', '.join(own) or 'none'}, expected "
                f"{strain.flags.get(ifo, 'one')}: say in strain.flags which to use"
            )
        flags += wanted
    return Science(tuple(flags), tuple(found[flag].active for flag in flags))
