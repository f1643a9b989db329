"""Coincident science segments of an experiment, with all that they were made of."""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
import logging
from collections.abc import Mapping, Sequence
from decimal import Decimal
from pathlib import Path

import numpy as np
from igwn_segments import segmentlist
from ledger import ROLES, SegmentList, staged
from runtime import Experiment, load_experiment, make_provenance
from runtime.experiment import FetchedStrain, Role, Span

from datagen.query.archive import public_events
from datagen.query.catalogues import read_events
from datagen.query.coincidence import Yield, role_yield
from datagen.query.intervals import columns, intervals
from datagen.query.picture import draw_livetime
from datagen.query.science import Science, science_segments
from datagen.query.segment_files import require_file
from datagen.query.vetoes import Veto, category_vetoes, gate_vetoes
from datagen.replacing import refuse_to_destroy

log = logging.getLogger("datagen")

PRODUCT, TEXT, PICTURE = "segments.hdf5", "segments.txt", "livetime.png"


def fetched_strain(experiment: Experiment) -> FetchedStrain:
    """The settings of an experiment on strain of the observatories.

    Raises:
        ValueError: The experiment has none.
    """
    if not isinstance(experiment.strain, FetchedStrain):
        raise ValueError(
            f"{experiment.source} has strain.source: {experiment.strain.source}, expected fetch: "
            "it has no science segments to ask for"
        )
    return experiment.strain


def known_events(
    strain: FetchedStrain, spans: Mapping[Role, Span], folder: Path
) -> list[tuple[str, float]]:
    """Known events of which the window reaches into a span.

    Args:
        strain: The experiment's strain.
        spans: GPS span of each role that is fetched [s].
        folder: What the name of a catalogue is relative to.

    Returns:
        Name and GPS time of each, in order of time.
    """
    if strain.events is None:
        return []
    before, after = strain.known_event_window
    if strain.events == "gwosc":
        start, stop = intervals(spans.values()).extent()
        events = public_events(start - after, stop - before)
    else:
        path = require_file(folder / strain.events, "a catalogue, or `gwosc`, in strain.events")
        events = read_events(path)
    return [
        (name, time)
        for name, time in events
        if any(time + before < stop and start < time + after for start, stop in spans.values())
    ]


def digests(strain: FetchedStrain, folder: Path) -> dict[str, str]:
    """SHA-256 digest of each file that the segments come from, by its name."""
    vetoes = strain.vetoes
    names = [
        strain.segments, strain.events, vetoes.definer, vetoes.segments, *vetoes.gates.values(),
    ]  # fmt: skip
    return {
        name: hashlib.sha256((folder / name).read_bytes()).hexdigest()
        for name in names
        if name is not None and (folder / name).is_file()
    }


def write_segwizard(path: Path, yields: Sequence[Yield]) -> None:
    """Write segments as text: number, start, stop, duration; comments say the role.

    Any reader of the segwizard form takes all roles together.

    Args:
        path: File to write.
        yields: What each role gets.
    """
    lines = ["# seg\tstart\tstop\tduration"]
    numbers = itertools.count()
    for item in sorted(yields, key=lambda item: item.span):
        lines.append(f"# {item.role}: {len(item.segments)} segments, {item.livetime:.0f} s")
        for start, stop in item.segments:
            # in decimals, so that the duration is the difference of the numbers as they stand
            first, last = Decimal(f"{start:.9f}"), Decimal(f"{stop:.9f}")
            texts = [f"{value.normalize():f}" for value in (first, last, last - first)]
            lines.append("\t".join([str(next(numbers)), *texts]))
    path.write_text("\n".join(lines) + "\n")


def segment_list(
    experiment: Experiment,
    science: Science,
    vetoes: Sequence[Veto],
    events: Sequence[tuple[str, float]],
    yields: Sequence[Yield],
) -> SegmentList:
    """Put the segments, and what they were made of, into a product."""
    rows = sorted(
        (start, stop, ROLES.index(item.role)) for item in yields for start, stop in item.segments
    )
    start, stop = columns(row[:2] for row in rows)
    science_start, science_stop = columns(itertools.chain(*science.active))
    veto_start, veto_stop = columns(pair for veto in vetoes for pair in veto.segments)
    return SegmentList(
        ifos=experiment.ifos,
        flags=science.flags,
        start=start,
        stop=stop,
        role=np.array([row[2] for row in rows], dtype=np.int8),
        science_ifo=_repeated(range(len(science.active)), science.active),
        science_start=science_start,
        science_stop=science_stop,
        veto_name=[veto.name for veto in vetoes for _ in veto.segments],
        veto_ifo=_repeated([veto.ifo for veto in vetoes], [veto.segments for veto in vetoes]),
        veto_start=veto_start,
        veto_stop=veto_stop,
        event_label=[name for name, _ in events],
        event_time=np.array([time for _, time in events], dtype=np.float64),
    )


def _repeated(values: Sequence[int], lists: Sequence[segmentlist]) -> np.ndarray:
    """Each value as often as its list is long."""
    return np.repeat(np.array(values, dtype=np.int8), [len(found) for found in lists])


def query_segments(experiment: str | Path, output: str | Path) -> None:
    """Find the times to analyse.

    From each detector's science segments its vetoes are subtracted; what all detectors have is cut
    to the span of each role that is fetched, and at the edges of observing runs; pieces shorter
    than `minimum_length`, or too short to give a score, are dropped. Known events are recorded,
    not subtracted: their windows are left out of training and background when strain is indexed.

    Args:
        experiment: Experiment file or its folder.
        output: Folder to write, complete or not at all: `segments.hdf5`, `segments.txt` (in
            segwizard form) and the picture `livetime.png`.

    Raises:
        FileNotFoundError: A file that the experiment names is missing.
        ValueError: The strain is not to be fetched, a file is broken, an archive does not answer,
            or nothing is left for a role; says what each cut took.
    """
    settings = load_experiment(experiment)
    strain = fetched_strain(settings)
    output, folder = Path(output), Path(settings.source).parent
    refuse_to_destroy(output, PRODUCT, SegmentList)
    spans: dict[Role, Span] = {role: getattr(strain, role) for role in strain.fetched}
    wanted = intervals(spans.values())
    # science segments come last: they are the longest to ask for
    vetoes = gate_vetoes(strain.vetoes, settings.ifos, wanted, folder)
    vetoes = category_vetoes(strain.vetoes, settings.ifos, wanted, folder) + vetoes
    events = known_events(strain, spans, folder)
    science = science_segments(settings, strain, spans, folder)
    yields = [
        role_yield(
            role,
            span,
            max(getattr(strain.minimum_length, role), settings.shortest_segment),
            settings.ifos,
            science,
            vetoes,
        )
        for role, span in spans.items()
    ]
    for item in yields:
        log.info("%s", item)
    empty = [item for item in yields if not item.segments]
    if empty:
        raise ValueError(
            f"nothing is left for {', '.join(item.role for item in empty)}: "
            f"{'. '.join(str(item) for item in empty)}: choose another span, fewer vetoes or a "
            "shorter strain.minimum_length"
        )
    provenance = dataclasses.replace(
        make_provenance("datagen query", settings), parents=digests(strain, folder)
    )
    product = segment_list(settings, science, vetoes, events, yields)
    with staged(output) as partial:
        partial.mkdir()
        product.write(partial / PRODUCT, provenance)
        write_segwizard(partial / TEXT, yields)
        draw_livetime(product, yields, settings.name, partial / PICTURE)
