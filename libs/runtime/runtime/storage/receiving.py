"""From the bucket: what exists there, and copies of it, checked on arrival."""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from ledger import staged

from runtime.storage import bucket, records
from runtime.storage.address import (
    StorageError,
    as_url,
    is_bucket,
    join,
    local_path,
    mirror,
    split,
    url_of,
)
from runtime.storage.bucket import Object
from runtime.storage.marker import (
    COMPLETE,
    INCOMPLETE,
    Entry,
    Marker,
    digest,
    is_hidden,
    marker_url,
)

log = logging.getLogger("storage")

# How long a listing of markers answers for `exists` [s]: one request for a thousand branches.
LISTING_AGE = 1.0
# A product that is replaced while it is fetched is fetched anew, so many times.
ATTEMPTS = 5
# From here on a transfer is worth a line in the log [bytes].
LARGE = 100_000_000

_listings: dict[str, tuple[float, dict[str, Object]]] = {}
_markers: dict[tuple[str, str], Marker] = {}
_seen: set[Path] = set()


class _Changed(Exception):  # noqa: N818 - not an error of anybody
    """An object is not what its marker says."""


@dataclass(frozen=True)
class _Found:
    """The product that a URL is, or is part of.

    Attributes:
        url: The product.
        inner: Name of what was asked for, relative to the product; empty for all of it.
        marker: What the product consists of.
    """

    url: str
    inner: str
    marker: Marker


def _hidden(folder: str, age: float) -> dict[str, Object]:
    at, names = _listings.get(folder, (-age, {}))
    if time.monotonic() - at >= age:
        at, names = time.monotonic(), bucket.hidden_in(folder)
        _listings[folder] = at, names
    return names


def forget_listing(url: str) -> None:
    """See anew what is beside a URL at the next question."""
    _listings.pop(split(url)[0], None)


def read_marker(url: str) -> Marker | None:
    """Marker of a product; None if it is not complete."""
    try:
        return Marker.decode(bucket.read(marker_url(url)), marker_url(url))
    except FileNotFoundError:
        return None


def _cached_marker(url: str, etag: str) -> Marker | None:
    marker = _markers.get((url, etag))
    if marker is None and (marker := read_marker(url)) is not None:
        _markers[url, etag] = marker
    return marker


def _find(url: str, age: float = 0.0) -> _Found | str | None:
    """The product that a URL is, or is part of; the folder if that is incomplete; else None."""
    unit, inner = url, ""
    while not is_bucket(unit):
        folder, name = split(unit)
        hidden = _hidden(folder, age)
        if noted := hidden.get(f".{name}{COMPLETE}"):
            marker = _cached_marker(unit, noted.etag)
            if marker is None:
                return unit  # deleted since the listing
            return _Found(unit, inner, marker) if marker.part(inner) else None
        if f".{name}{INCOMPLETE}" in hidden:
            return unit
        unit, inner = folder, f"{name}/{inner}" if inner else name
    return None


def exists(url: str | Path) -> bool:
    """Whether a product, or what is part of one, is complete in its bucket.

    What has no marker does not exist. The answer may be a second old.

    Raises:
        StorageError: The bucket cannot be reached.
    """
    return isinstance(_find(as_url(url), LISTING_AGE), _Found)


def listing(url: str | Path) -> list[tuple[str, int, str]]:
    """Name, size in bytes and version of each file in a folder, in order, without fetching it.

    Raises:
        StorageError: The bucket cannot be reached.
    """
    below = bucket.objects_below(as_url(url))
    return [(n, o.size, o.etag) for n, o in sorted(below.items()) if not is_hidden(n)]


def fetch(url: str | Path) -> Path:
    """Bring something from a bucket, and nothing that is here already.

    A product is checked against the digests in its marker; it arrives as it was before or after a
    publication, never in between. What has no marker, put there by other programs, is checked by
    its MD5 where the bucket tells it. A folder that is no product brings all that is in it.

    Args:
        url: File or folder, a product or part of one.

    Returns:
        Its copy on this machine, not to be written to.

    Raises:
        FileNotFoundError: There is nothing.
        StorageError: It is incomplete or damaged, or the bucket cannot be reached.
    """
    url = as_url(url)
    path = local_path(url)
    for attempt in range(ATTEMPTS):
        found = _find(url)
        try:
            if isinstance(found, str):
                raise StorageError(
                    f"{found} is incomplete: its upload is under way or was interrupted; make it "
                    "again"
                )
            if found is None:
                _fetch_objects(url, path)
            else:
                _fetch_product(found)
            return path
        except (_Changed, FileNotFoundError) as error:
            if isinstance(error, FileNotFoundError) and found is None:
                raise
            again = _find(url)
            if isinstance(again, _Found) and again == found and attempt:
                raise StorageError(
                    f"{error}: the object was damaged, or changed by hand; remove "
                    f"{marker_url(again.url)} and make the product again"
                ) from None
            time.sleep(min(0.1 * 2**attempt, 2.0))
    raise StorageError(f"{url} is replaced again and again: try later")


def _fetch_product(found: _Found) -> None:
    """Bring the wanted part of a product."""
    unit = local_path(found.url)
    path = unit / found.inner if found.inner else unit
    files = found.marker.part(found.inner)
    with records.locked(path):
        known = {**_inner_contents(unit, found.inner), **records.known_contents(path)}
        for name, entry in files.items():
            inner = name[len(found.inner) :].lstrip("/")
            if known.get(inner) != entry.sha256:
                _receive(join(found.url, name), path / inner if inner else path, entry)
        if found.marker.is_folder and not found.inner:
            _remove_strangers(unit, set(files))
        contents = {n[len(found.inner) :].lstrip("/"): e.sha256 for n, e in files.items()}
        if known != contents:
            records.remember(path, contents)


def _inner_contents(unit: Path, inner: str) -> dict[str, str]:
    """What the record of a whole folder says of a part of it."""
    if not inner:
        return {}
    known = records.known_contents(unit)
    return {
        name[len(inner) :].lstrip("/"): text
        for name, text in known.items()
        if name == inner or name.startswith(f"{inner}/")
    }


def _remove_strangers(folder: Path, names: set[str]) -> None:
    """Remove files that are no part of the product."""
    for file in folder.rglob("*"):
        name = file.relative_to(folder).as_posix()
        if file.is_file() and name not in names and not is_hidden(name):
            file.unlink()


def _receive(url: str, path: Path, entry: Entry) -> None:
    """Bring one file, unless one of the same content is here.

    Raises:
        _Changed: The object is not what the marker says.
        FileNotFoundError: The object is gone.
    """
    if path.is_file() and path.stat().st_size == entry.size and digest(path) == entry.sha256:
        return
    _announce(url, entry.size)
    if path.is_dir():
        raise StorageError(f"{path} is a folder, {url} a file: remove the folder")
    with staged(path) as partial:
        bucket.download(url, partial)
        size, found = partial.stat().st_size, digest(partial)
        if (size, found) != (entry.size, entry.sha256):
            raise _Changed(
                f"{url} has {size} bytes and sha256 {found}, its marker says {entry.size} and "
                f"{entry.sha256}"
            )


def _announce(url: str, size: int) -> None:
    level = logging.INFO if size >= LARGE else logging.DEBUG
    log.log(level, "fetching %s, %.1f MB", url, size / 1e6)


def _fetch_objects(url: str, path: Path) -> None:
    """Bring what is no product: a plain object, or a folder of products and plain objects."""
    single = bucket.look_up(url)
    if single is not None:
        _fetch_plain(url, path, {"": single})
        return
    below = bucket.objects_below(url)
    parts, unfinished = _owners(below, COMPLETE), _owners(below, INCOMPLETE)
    plain = {
        name: found
        for name, found in below.items()
        if not is_hidden(name) and not _belongs(name, parts | unfinished)
    }
    if not (parts or plain):
        bucket.require_bucket(url)
        raise FileNotFoundError(f"nothing at {url}")
    for part in sorted(parts):
        if not is_hidden(part):
            fetch(join(url, part))
    if plain:
        _fetch_plain(url, path, plain)


def _owners(names: Iterable[str], suffix: str) -> set[str]:
    """The products, by their names relative to a folder, that markers among its objects are of."""
    found = set()
    for name in names:
        folder, _, last = name.rpartition("/")
        if last.startswith(".") and last.endswith(suffix):
            owner = last[1:].removesuffix(suffix)
            found.add(f"{folder}/{owner}" if folder else owner)
    return found


def _belongs(name: str, owners: set[str]) -> bool:
    parts = name.split("/")
    return any("/".join(parts[:count]) in owners for count in range(1, len(parts) + 1))


def _fetch_plain(url: str, path: Path, objects: dict[str, Object]) -> None:
    with records.locked(path):
        known = records.known_contents(path)
        for name, found in objects.items():
            if known.get(name) != found.etag:
                _receive_plain(join(url, name), path / name if name else path, found)
        records.remember(path, known | {name: found.etag for name, found in objects.items()})


def _receive_plain(url: str, path: Path, found: Object) -> None:
    _announce(url, found.size)
    with staged(path) as partial:
        bucket.download(url, partial)
        size = partial.stat().st_size
        with partial.open("rb") as file:
            md5 = hashlib.file_digest(file, "md5").hexdigest()
        # An object that was uploaded in parts has another ETag, with a dash in it.
        if size != found.size or (len(found.etag) == len(md5) and found.etag != md5):
            raise StorageError(
                f"{url} arrived with {size} bytes and MD5 {md5}, expected {found.size} and "
                f"{found.etag}: it changed meanwhile, or was damaged; run it again"
            )


def require(path: str | Path) -> None:
    """Bring a file that is about to be opened, if it is the copy of something in a bucket.

    Once per file and process. Work of this machine that was not published yet stays as it is.

    Raises:
        StorageError: It is damaged, or the bucket cannot be reached.
    """
    path = Path(path)
    if path in _seen or (url := url_of(path)) is None:
        return
    if not path.exists() or records.is_copy(path, mirror()):
        try:
            fetch(url)
        except FileNotFoundError:
            return
    _seen.add(path)
