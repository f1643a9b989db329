"""The cleaner as a service: frames in, cleaned frames out, for ever."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

from cleaning import Choice, Cleaned, Cleaner, Model, Problem, Recording
from cleaning.cleaner import HISTORY, LATENCY

from deepclean.models import Journal, ModelError, Roles, read_roles
from deepclean.online.output import Output
from deepclean.online.source import FrameSource
from deepclean.served import MemorySource, Source

log = logging.getLogger("deepclean")

KEPT = 8
"""Versions in memory: more than can have a role within the seconds that play a part in one."""


@dataclass
class Versions:
    """Models by their number, each loaded once; the last few are kept.

    Attributes:
        store: Folder of all versions.
        problem: What they must be trained for.
        runs_on: What they run on.
    """

    store: Path
    problem: Problem
    runs_on: Source
    _load: Callable[[int], Model] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        keep = lru_cache(KEPT)
        self._load = keep(lambda version: self.runs_on.load(self.store, version))

    def get(self, version: int) -> Model | None:
        """A model; None for version 0.

        Raises:
            ModelError: It is missing, broken, or made for another problem.
        """
        if not version:
            return None
        model = self._load(version)
        if model.estimator.problem.digest != self.problem.digest:
            raise ModelError(
                f"version {version} in {self.store} was made for another problem than "
                f"{self.problem.name}: train one for it"
            )
        return model


@dataclass
class OnlineCleaner:
    """Cleans second after second, and goes on where an earlier one ended.

    What it gives does not depend on when it was ended and begun again: it begins with the seconds
    before the next one that play a part in it, gives up what was given up before, and uses the
    versions that were used before.

    Attributes:
        problem: What is cleaned.
        source: Where frames come from.
        output: Where they go.
        store: Folder of all versions.
        journal: Which versions were used from which second on.
        strain_rate: Rate of the strain frames [Hz].
        witness_rates: Rate of each witness [Hz], by full name.
        written: Called for each second that was written, with the time it took to compute [s].
        runs_on: What versions run on.
    """

    problem: Problem
    source: FrameSource
    output: Output
    store: Path
    journal: Journal
    strain_rate: int
    witness_rates: dict[str, int]
    written: Callable[[Cleaned, float], None] = lambda cleaned, seconds: None
    runs_on: Source = field(default_factory=MemorySource)

    def __post_init__(self) -> None:
        self._versions = Versions(self.store, self.problem, self.runs_on)
        self._cleaner: Cleaner | None = None
        self._desired = Roles()
        self._unseen = 0

    def step(self) -> bool:
        """Do what can be done; whether a second went in."""
        cleaner = self._cleaner or self._begin()
        if cleaner is None:
            return False
        recording = cleaner.recording
        arrival = self.source.get(recording.stop)
        if arrival is None:
            return False
        begun = time.perf_counter()
        strain = None if arrival.strain is None else arrival.strain[self.problem.strain_channel]
        recording.add(arrival.second, strain, arrival.witnesses)
        self._desired = self._usable(read_roles(self.store))
        cleaned = cleaner.advance()
        took = time.perf_counter() - begun
        newest = cleaner.newest()
        if newest is not None:
            self.output.write_early(*newest)
        for second in cleaned:
            self.output.write(second)
            self.written(second, took)
        return True

    def _begin(self) -> Cleaner | None:
        """Make the cleaner once there is anything to clean."""
        start, first = self.output.next_second(), self.source.earliest()
        if first is None:
            return None
        self.output.tidy()
        if start is None:
            start = begin = first
        else:
            # what came and went while nothing was running is given up, not waited for
            begin = min(max(first, start - HISTORY), start)
        recording = Recording(
            self.strain_rate, self.witness_rates, self.problem.sample_rate, begin
        )
        self._unseen = start + LATENCY
        drops = self.source.drops
        self._cleaner = Cleaner(self.problem, recording, self._choose, start, drops, drops.add)
        log.info("cleaning from GPS %d on, with frames from GPS %d on", start, begin)
        return self._cleaner

    def _usable(self, roles: Roles) -> Roles:
        """Roles whose models can be loaded; in place of others stays what was there before."""
        changes = {}
        for role in ("production", "canary"):
            version = getattr(roles, role)
            try:
                model = self._versions.get(version)
                if model is not None and version != getattr(self._desired, role):
                    # on a server a version appears some time after it got its role
                    self.runs_on.require(model)
            except (ModelError, ConnectionError) as error:
                log.warning("%s", error)
                # what is in use and still in memory stays
                changes[role] = getattr(self._desired, role)
        return roles.model_copy(update=changes)

    def _choose(self, second: int) -> Choice:
        # an earlier run may have looked at the first seconds after what it wrote last
        if self.journal.last is None or second >= self._unseen:
            self.journal.add(second, self._desired)
        roles = self.journal.at(second)
        return Choice(self._versions.get(roles.production), self._versions.get(roles.canary))
