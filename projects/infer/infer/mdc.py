"""The search of a data set of the mock data challenge MLGWSC-1 (arXiv 2209.11146)."""

from __future__ import annotations

import dataclasses
import logging
import math
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import yaml
from ledger import EventSet, Product, ProductError, StrainFile, column, scalar
from preprocessing.stretches import no_long_file, strain_files
from runtime import Experiment, make_provenance, progress

from infer.prepared import Prepared
from infer.repository import Repository
from infer.scorers import make_scorer
from infer.serving import Transport, served
from infer.session import Session
from infer.stretches import read_stretch, write_stretch
from infer.zero_lag import find_zero_lag

log = logging.getLogger("infer")


@dataclass(kw_only=True)
class ChallengeEvents(Product):
    """Events of a data set, in the challenge's own words; its evaluation reads the columns."""

    product: ClassVar[str] = "challenge-events"
    time: np.ndarray = column("event", "s", "GPS time of coalescence")  # noqa: RUF009
    stat: np.ndarray = column("event", "", "loudness: larger is more likely a signal")  # noqa: RUF009
    var: np.ndarray = column("event", "s", "how far from its signal an event may be")  # noqa: RUF009
    livetime: float = scalar("s", "time searched")


def mdc(
    input: Path,
    repository: Path,
    output: Path,
    tolerance: float = 0.5,
    transport: Transport = "inprocess",
    server: str | None = None,
) -> None:
    """Search strain as it is, and write the events as MLGWSC-1 wants them.

    All settings are those with which the network was trained. A file of the challenge is made
    into a strain index by `datagen import`. Its pieces are searched one after the other, each by
    itself: memory and disk hold what belongs to one of them, however long the data set is.

    The challenge counts an event as found if a signal's time of coalescence lies within the
    event's `var`, and as false otherwise. The default of half a second is a choice: of injections
    found at one false alarm per day, three networks gave the time of half to 22 ms, of 99 in a
    hundred to 0.1 s and of all to 0.14 s, against the time at the Earth's centre. It is wide
    enough for a network that is less exact, and at a false-alarm rate of f it lets noise pass for
    a signal with a probability of f times a second, which is less than one in a thousand at a
    thousand false alarms per month.

    Args:
        input: Strain index.
        repository: Model repository of `export`.
        output: File to write: HDF5 with `time` [GPS s], `stat` and `var` [s] of each event.
        tolerance: How far an event may be from a signal and be its, the challenge's `var` [s].
        transport: Where the networks run: in this process, or on a Triton server.
        server: A Triton server that serves the repository, as HOST:PORT; with the transport
            `triton` one is started on this machine if None.

    Raises:
        FileNotFoundError: An input is missing.
        ProductError: The index was made with other settings than the network, or is broken.
        ServerError: The server does not start, or has died.
        ValueError: The tolerance is no time, or no strain is long enough for a score.
    """
    input, repository, output = Path(input), Path(repository), Path(output)
    if not 0 < tolerance < math.inf:
        raise ValueError(f"--tolerance {tolerance}: expected a time above 0 s")
    settings = settings_of(repository)
    frames = output.with_name(f".{output.name}.frames")
    with (
        served(repository, transport, server) as address,
        Repository(repository, settings, address) as models,
    ):
        try:
            parts = _search(models, settings, input, frames)
        finally:
            shutil.rmtree(frames, ignore_errors=True)
        network = {"network": models.network["sha256"]}
    provenance = make_provenance("infer mdc", settings, None, {"strain": input})
    provenance = dataclasses.replace(provenance, parents=provenance.parents | network)
    events = challenge_events(parts, tolerance)
    events.write(output, provenance)
    log.info("%d events in %.0f s are in %s", len(events.time), events.livetime, output)


def _search(
    models: Repository, settings: Experiment, strain: Path, folder: Path
) -> list[EventSet]:
    """Events of each file that is long enough for a score."""
    fold = 0
    parts = []
    session = _session(models, settings)
    for file in progress(strain_files(strain, settings, "search", fold), "files", unit="file"):
        events = _search_file(_session(models, settings), strain, file, folder, fold)
        # arrays that were mapped are let go of by now, so that the disk has its space again
        shutil.rmtree(folder)
        if events is not None:
            parts.append(events)
    if not parts:
        raise no_long_file(strain, session.recipe, "search", fold, session.shortest)
    return parts


def _session(models: Repository, settings: Experiment) -> Session:
    """A session whose scorer holds no strain yet."""
    return Session(settings, models, make_scorer(models, settings.search.scores_per_second))


def _search_file(
    session: Session, strain: Path, file: StrainFile, folder: Path, fold: int
) -> EventSet | None:
    """Events of one file; None if it is too short."""
    write_stretch(folder, file, strain, session, session.shortest)
    stretch = read_stretch(folder, strain, session)
    if stretch is None:
        return None
    return find_zero_lag(Prepared(session, [stretch], [session.scorer.add(stretch)], fold))


def settings_of(repository: Path) -> Experiment:
    """The experiment in which a repository's network was trained.

    Raises:
        FileNotFoundError: No repository there.
        ProductError: Its settings are not understood.
    """
    path = repository / "repository.yaml"
    if not path.exists():
        raise FileNotFoundError(f"no model repository {repository}: expected {path}")
    settings = yaml.safe_load(path.read_text())["network"]["settings"]
    try:
        return Experiment.model_validate(settings)
    except ValueError as error:
        raise ProductError(
            f"the settings in {path} are of another version of this code, export again: "
            + str(error).splitlines()[0]
        ) from None


def challenge_events(parts: Sequence[EventSet], tolerance: float) -> ChallengeEvents:
    """Events as the challenge wants them, in the order of their times.

    The challenge compares with the time of coalescence at the Earth's centre, up to 21 ms from
    that in a detector. Without slides an event has the same time in all detectors: it is the
    network's estimate, which was made with the time at the Earth's centre.

    Args:
        parts: Events of the zero lag, file by file.
        tolerance: The same for all, `var` [s].

    Raises:
        ValueError: An event has other times in other detectors: it is of a slide.
    """
    times = np.concatenate([np.asarray(part.time, dtype=np.float64) for part in parts])
    slid = np.flatnonzero((times != times[:, :1]).any(axis=1))
    if len(slid):
        raise ValueError(
            f"the event at {times[slid[0]].tolist()} has a time of its own in each detector, as "
            "in a time slide: the challenge asks for events of the data as they are"
        )
    statistic = np.concatenate([np.asarray(part.statistic, dtype=np.float64) for part in parts])
    order = np.argsort(times[:, 0], kind="stable")
    return ChallengeEvents(
        time=times[order, 0],
        stat=statistic[order],
        var=np.full(len(times), tolerance, dtype=np.float64),
        livetime=math.fsum(part.livetime for part in parts),
    )
