"""Keep a repository in step with the roles of a store."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from hermes.errors import RepositoryError

from deepclean.models import ModelError, list_versions, read_roles
from deepclean.served.building import (
    Form,
    add_version,
    is_served,
    remove_version,
    served_versions,
)

log = logging.getLogger("deepclean")


def versions_in_use(store: Path) -> set[int]:
    """Versions that have a role."""
    roles = read_roles(store)
    return {roles.production, roles.canary} - {0}


@dataclass
class Follower:
    """Adds versions to a repository when they get a role, and removes them when they had none.

    A version in production or on trial is never removed. One that lost its role is still asked:
    while another takes over, and by a cleaner that begins anew and looks at the seconds before;
    so it stays for a while.

    Attributes:
        store: Folder of all versions.
        repository: Folder of the repository.
        form: How versions are served.
        keep_duration: Time that a version stays after its role was lost [s].
        clock: Tells the time [s].
    """

    store: Path
    repository: Path
    form: Form
    keep_duration: float = 600.0
    clock: Callable[[], float] = time.monotonic
    _idle_since: dict[int, float] = field(default_factory=dict, repr=False)
    _failed: set[int] = field(default_factory=set, repr=False)

    def step(self) -> None:
        """Add and remove what is due.

        A version that cannot be exported is tried once; the log says why.
        """
        if not list_versions(self.store):
            # nothing is known of the store, which may be on its way
            return
        used = versions_in_use(self.store)
        for version in sorted(used - self._failed):
            try:
                if not is_served(self.store, version, self.repository):
                    add_version(self.store, version, self.repository, self.form)
                    log.info("%s: version %d", self.repository, version)
            except (ModelError, RepositoryError) as error:
                log.warning("version %d is not served: %s", version, error)
                self._failed.add(version)
        now = self.clock()
        idle = served_versions(self.repository) - used
        self._idle_since = {v: self._idle_since.get(v, now) for v in idle}
        for version, since in list(self._idle_since.items()):
            if now - since > self.keep_duration:
                remove_version(version, self.repository)
                log.info("%s: version %d has no role any more: removed", self.repository, version)
