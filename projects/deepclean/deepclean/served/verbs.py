"""What `python -m deepclean export` does."""

from __future__ import annotations

import logging
import time
from pathlib import Path

from deepclean.locking import alone
from deepclean.models import ModelError
from deepclean.served.building import Form, PlatformName, add_version, is_served
from deepclean.served.following import Follower, versions_in_use

log = logging.getLogger("deepclean")


def export(
    store: Path,
    repository: Path,
    version: int = 0,
    platform: PlatformName = "onnx",
    update_length: float = 1.0,
    num_updates: int = 1,
    follow: bool = False,
    keep_duration: float = 600.0,
    period: float = 1.0,
) -> None:
    """Make a model repository of versions, for `clean` and `online` with `--transport`.

    Args:
        store: Folder of all versions.
        repository: Folder of the repository; what it has already stays.
        version: Version to export; all that have a role if 0.
        platform: What runs the networks.
        update_length: Length of what is sent at a time [s].
        num_updates: Overlapping windows that are averaged; more than one costs as many times as
            much and changes nothing.
        follow: Whether to go on for ever, and add and remove versions as roles change.
        keep_duration: With `follow`, time that a version stays after its role was lost [s].
        period: With `follow`, time between two looks at the roles [s].
    """
    store, repository = Path(store), Path(repository)
    form = Form(platform, update_length, num_updates)
    repository.mkdir(parents=True, exist_ok=True)
    # a server takes a folder in the repository for a model, but not a file
    with alone(repository / ".export", "an export"):
        if follow:
            if version:
                raise ValueError(
                    f"--version {version} and --follow exclude each other: leave one out"
                )
            follower = Follower(store, repository, form, keep_duration)
            while True:
                follower.step()
                time.sleep(period)
        versions = [version] if version else sorted(versions_in_use(store))
        if not versions:
            raise ModelError(f"no version in {store} has a role: publish one, or name one")
        for number in versions:
            if not is_served(store, number, repository):
                add_version(store, number, repository, form)
            log.info("version %d in %s", number, repository)
