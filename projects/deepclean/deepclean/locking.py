"""One process for a folder."""

from __future__ import annotations

import contextlib
import fcntl
from collections.abc import Iterator
from pathlib import Path


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
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ValueError(
                f"{what} is already running in {path.parent}: end it, or give another --output"
            ) from None
        yield
