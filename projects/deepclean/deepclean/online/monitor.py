"""Watches what is cleaned: judges versions, keeps the newest frames, stores long stretches."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from pathlib import Path

from deepclean.models import list_versions, read_roles, set_state
from deepclean.online.storage import ColdStorage, prune
from deepclean.online.telemetry import Record, Telemetry
from deepclean.online.verdict import Rules, judge_canary, judge_production

log = logging.getLogger("deepclean")


@dataclass
class Monitor:
    """Does what follows from the telemetry, again and again; holds nothing that must be kept.

    Attributes:
        store: Folder of all versions.
        telemetry: What the cleaner measured.
        rules: How versions are judged.
        cleaned: Folder of cleaned frames, of which `carousel` are kept.
        carousel: Frames that are kept [s].
        storage: Where long stretches go before their frames are removed; nowhere if None.
    """

    store: Path
    telemetry: Telemetry
    rules: Rules = field(default_factory=Rules)
    cleaned: Path | None = None
    carousel: int = 300
    storage: ColdStorage | None = None

    def step(self) -> None:
        """Judge, store, prune."""
        last = self.telemetry.last()
        if last is None:
            return
        self.judge(last.second)
        if self.cleaned is not None:
            stored = None
            if self.storage is not None:
                stored = self.storage.collect(self.cleaned)
            prune(self.cleaned, self.carousel, before=stored)
            self.telemetry.forget(last.second - 100 * self.rules.trial)

    def judge(self, now: int) -> None:
        """Promote, reject or roll back.

        Args:
            now: The newest second that was cleaned [GPS s].
        """
        # dropped seconds lengthen a trial
        records = self.telemetry.since(now - 20 * self.rules.trial)
        roles = read_roles(self.store)
        if roles.canary:
            verdict = judge_canary(records, roles.canary, self.rules)
            if verdict.decision == "reject":
                set_state(self.store, roles.canary, "rejected", verdict.reason)
                log.warning("version %d rejected: %s", roles.canary, verdict.reason)
            elif verdict.decision == "promote" and not roles.pinned:
                set_state(self.store, roles.canary, "production", verdict.reason)
                log.info("version %d promoted: %s", roles.canary, verdict.reason)
        if roles.production and not roles.pinned:
            self._watch_production(records, roles.production)

    def _watch_production(self, records: list[Record], version: int) -> None:
        verdict = judge_production(records, version, self.rules)
        if verdict.decision != "roll back":
            return
        retired = [m for m in list_versions(self.store) if m.state == "retired"]
        earlier = [m.version for m in retired if m.version < version]
        if earlier:
            # first, so that ended in between the one before is in place
            reason = f"back after version {version}: {verdict.reason}"
            set_state(self.store, max(earlier), "production", reason)
        set_state(self.store, version, "rejected", verdict.reason)
        log.warning(
            "version %d rolled back to %s: %s",
            version,
            max(earlier) if earlier else "raw strain",
            verdict.reason,
        )
