"""To the bucket: objects first, the marker last."""

from __future__ import annotations

import logging
import shutil
from pathlib import Path

from runtime.storage import bucket, records
from runtime.storage.address import as_url, join, local_path
from runtime.storage.marker import Marker, claim_url, describe, is_hidden, marker_url
from runtime.storage.receiving import forget_listing, read_marker

log = logging.getLogger("storage")


def publish(path: str | Path, url: str | Path) -> bool:
    """Put a product into a bucket, where it exists from the moment that all of it is there.

    The old product, if there is one, ceases to exist first. A reader sees the old one, none, or
    the new one. One of the same content is left as it is.

    Args:
        path: File or folder; hidden files in it are left out.
        url: Where to.

    Returns:
        Whether anything had to be done.

    Raises:
        FileNotFoundError: There is nothing to publish.
        StorageError: The bucket cannot be used, or did not answer for too long. The product does
            not exist then; do it again.
    """
    path, url = Path(path), as_url(url)
    with records.locked(local_path(url)):
        marker = describe(path)
        old = read_marker(url)
        changed = old != marker
        if changed:
            _replace(path, url, old, marker)
        if path == local_path(url):
            records.remember(path, {name: entry.sha256 for name, entry in marker.files.items()})
    return changed


def _replace(path: Path, url: str, old: Marker | None, new: Marker) -> None:
    size = sum(entry.size for entry in new.files.values())
    log.info("publishing %s, %.1f MB", url, size / 1e6)
    if new.is_folder:
        bucket.write(claim_url(url), b"")
    bucket.delete(marker_url(url))
    forget_listing(url)
    kept = set() if old is None else {n for n, e in new.files.items() if old.files.get(n) == e}
    present = set(bucket.objects_below(url)) if new.is_folder or old is not None else set()
    for name in new.files:
        if name not in kept & present:
            bucket.upload(path / name if name else path, join(url, name))
    strangers = {name for name in present if not is_hidden(name)} - set(new.files)
    bucket.delete(url, sorted(strangers))
    bucket.write(marker_url(url), new.encode())
    if new.is_folder:
        bucket.delete(claim_url(url))
    forget_listing(url)


def remove(url: str | Path) -> None:
    """Remove a product, or a folder of products, from its bucket and its copy from this machine.

    Raises:
        StorageError: The bucket cannot be used.
    """
    url = as_url(url)
    path = local_path(url)
    with records.locked(path):
        bucket.delete(marker_url(url))
        forget_listing(url)
        bucket.delete(url)
        # markers first, here too
        below = sorted(bucket.objects_below(url), key=lambda name: (not is_hidden(name), name))
        bucket.delete(url, below)
        bucket.delete(claim_url(url))
        records.forget(path)
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
