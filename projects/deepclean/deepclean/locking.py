"""One process for a folder."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from runtime.locking import held


@contextlib.contextmanager
def alone(path: Path, what: str) -> Iterator[None]:
    """Be the only process that does something in a folder.

    The lock goes with the process that holds it, however it ends.

    Args:
        path: File of the lock.
        what: What is done, for the error.

    Raises:
        ValueError: Another process does it.
    """
    with held(path) as mine:
        if not mine:
            raise ValueError(
                f"{what} is already running in {path.parent}: end it, or give another --output"
            )
        yield
