"""Which versions are to be used."""

from __future__ import annotations

import contextlib
import fcntl
from collections.abc import Iterator
from pathlib import Path

import yaml
from ledger import staged
from pydantic import BaseModel, ConfigDict

NAME = "roles.yaml"


class Roles(BaseModel):
    """Versions in use; 0 for none.

    Attributes:
        production: What OUT_DQ and PRODUCTION are made with.
        canary: What is on trial.
        pinned: Whether the production version is to stay, whatever the monitor finds.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    production: int = 0
    canary: int = 0
    pinned: bool = False


def read_roles(store: Path) -> Roles:
    """Which versions of a store are to be used; none if nothing was said yet."""
    path = store / NAME
    if not path.is_file():
        return Roles()
    return Roles.model_validate(yaml.safe_load(path.read_text()))


def set_roles(store: Path, roles: Roles) -> None:
    """Say which versions are to be used; call it under `locked`."""
    with staged(store / NAME) as partial:
        partial.write_text(yaml.safe_dump(roles.model_dump(), sort_keys=False))


@contextlib.contextmanager
def locked(store: Path) -> Iterator[None]:
    """Keep other processes from changing versions and roles of a store meanwhile.

    The lock goes with the process that holds it, however it ends.
    """
    store.mkdir(parents=True, exist_ok=True)
    with (store / ".lock").open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
