"""The search of a data set of the mock data challenge MLGWSC-1 (arXiv 2209.11146)."""

from __future__ import annotations

import dataclasses
import logging
import math
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import yaml
from ledger import EventSet, Product, ProductError, column, scalar
from runtime import Experiment, make_provenance

from infer.prepared import read_prepared, write_prepared
from infer.repository import Repository
from infer.scorers import make_scorer
from infer.serving import Transport, served
from infer.session import Session
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
    into a strain index by `datagen import`.

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
        scorer = make_scorer(models, settings.search.scores_per_second)
        session = Session(settings, models, scorer)
        try:
            write_prepared(session, input, frames, fold=0)
            events = find_zero_lag(read_prepared(session, input, frames, fold=0))
        finally:
            shutil.rmtree(frames, ignore_errors=True)
        network = {"network": models.network["sha256"]}
    provenance = make_provenance("infer mdc", settings, None, {"strain": input})
    provenance = dataclasses.replace(provenance, parents=provenance.parents | network)
    challenge_events(events, tolerance).write(output, provenance)
    log.info("%d events in %.0f s are in %s", len(events.statistic), events.livetime, output)


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


def challenge_events(events: EventSet, tolerance: float) -> ChallengeEvents:
    """Events as the challenge wants them, in the order of their times.

    The challenge compares with the time of coalescence at the Earth's centre, up to 21 ms from
    that in a detector. The time given is the mean of the detectors'.

    Args:
        events: Events of the zero lag.
        tolerance: The same for all, `var` [s].
    """
    times = np.asarray(events.time, dtype=np.float64).mean(axis=1)
    order = np.argsort(times, kind="stable")
    return ChallengeEvents(
        time=times[order],
        stat=np.asarray(events.statistic, dtype=np.float64)[order],
        var=np.full(len(times), tolerance, dtype=np.float64),
        livetime=events.livetime,
    )
