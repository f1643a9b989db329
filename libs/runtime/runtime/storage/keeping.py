"""The state of unfinished work in a bucket, for another machine to go on from."""

from __future__ import annotations

import contextlib
import logging
import shutil
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

from runtime.storage.address import StorageError, join, split, url_of
from runtime.storage.marker import is_hidden
from runtime.storage.publishing import publish, remove
from runtime.storage.receiving import exists, fetch

log = logging.getLogger("storage")

# How often a folder in the making is kept [s].
EVERY = 300.0


def state_url(url: str) -> str:
    """Where the state of an unfinished folder is kept."""
    folder, name = split(url)
    return join(folder, f".{name}.unfinished")


@contextlib.contextmanager
def kept(path: Path, every: float = EVERY) -> Iterator[None]:
    """Keep a folder in the making, such as a training with its checkpoints, now and then.

    A state kept before is brought first if there is no folder yet. States are snapshots, products
    in their own right under a hidden name; the last one is removed by `discard`. Keeping one does
    not stop the work: what fails is logged.

    Args:
        path: The folder, the copy of a URL; need not exist. Others are left alone.
        every: Seconds between two snapshots.
    """
    url = url_of(path)
    if url is None:
        yield
        return
    if not path.exists() and exists(state_url(url)):
        log.info("going on from what was kept of %s", url)
        shutil.copytree(fetch(state_url(url)), path, ignore=_hidden_names)
    ended = threading.Event()

    def keep_on() -> None:
        while not ended.wait(every):
            keep(path, url)

    thread = threading.Thread(target=keep_on, daemon=True)
    thread.start()
    try:
        yield
    except BaseException:
        ended.set()
        thread.join()
        keep(path, url)
        raise
    ended.set()
    thread.join()


def keep(path: Path, url: str) -> None:
    """Publish a snapshot of a folder in the making, if there is one."""
    if not path.is_dir():
        return
    with tempfile.TemporaryDirectory(prefix="aframe-") as folder:
        snapshot = Path(folder) / "state"
        try:
            shutil.copytree(path, snapshot, ignore=_hidden_names)
            publish(snapshot, state_url(url))
        except (StorageError, OSError, shutil.Error) as error:
            log.warning("the state of %s was not kept: %s", url, error)


def discard(path: Path) -> None:
    """Remove the kept state of what is complete now."""
    url = url_of(path)
    if url is not None and exists(state_url(url)):
        remove(state_url(url))


def _hidden_names(_: str, names: list[str]) -> set[str]:
    return {name for name in names if is_hidden(name)}
