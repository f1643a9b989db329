"""URLs of products, and where their copies lie on this machine.

The copy of `s3://bucket/place/file` is `<cache>/buckets/<endpoint>/bucket/place/file`: the cache
mirrors the bucket, so that what lies beside a product there lies beside its copy here, too, and
the URL of a copy follows from its path.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from urllib.parse import urlsplit

SCHEME = "s3"
_PREFIX = f"{SCHEME}://"
_BUCKETS = "buckets"


class StorageError(ValueError):
    """A bucket cannot be reached or used, or an object in it is not what it should be."""


def is_url(value: object) -> bool:
    """Whether a text or a path names something in a bucket.

    `Path("s3://bucket/file")` drops a slash, and is recognised nevertheless.
    """
    if isinstance(value, Path):
        return value.parts[:1] == (f"{SCHEME}:",)
    return isinstance(value, str) and value.startswith(_PREFIX)


def as_url(value: str | Path) -> str:
    """The URL in its one form, without slashes at its end.

    Raises:
        StorageError: It names no bucket or nothing in it, or leaves its folder by `..`.
    """
    text = _PREFIX + "/".join(value.parts[1:]) if isinstance(value, Path) else value
    parts = [part for part in text.removeprefix(_PREFIX).split("/") if part]
    if not text.startswith(_PREFIX) or len(parts) < 2 or {".", ".."} & set(parts):
        raise StorageError(f"{value} is no place in a bucket: expected {_PREFIX}BUCKET/PLACE")
    return _PREFIX + "/".join(parts)


def join(url: str, *names: str) -> str:
    """The URL of something below a URL; the URL itself for empty names."""
    return "/".join((url, *filter(None, names)))


def split(url: str) -> tuple[str, str]:
    """The URL of the folder that something lies in, and its name there."""
    folder, _, name = url.rpartition("/")
    return folder, name


def is_bucket(url: str) -> bool:
    """Whether a URL is that of a whole bucket."""
    return "/" not in url.removeprefix(_PREFIX)


def endpoint() -> str:
    """Address of the server; empty for the one that the client takes by itself."""
    return os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL") or ""


def cache_folder() -> Path:
    """Folder of what was fetched: `$AFRAME_CACHE`, or one in the user's cache folder."""
    given = os.environ.get("AFRAME_CACHE")
    if given:
        return Path(given).resolve()
    home = Path(os.environ.get("HOME") or tempfile.gettempdir())
    return Path(os.environ.get("XDG_CACHE_HOME") or home / ".cache").resolve() / "aframe"


def mirror() -> Path:
    """Folder that mirrors the buckets of the present endpoint."""
    place = urlsplit(endpoint()).netloc.rpartition("@")[2].replace(":", "_") or "default"
    return cache_folder() / _BUCKETS / place


def local_path(url: str | Path) -> Path:
    """Where the copy of something lies, whether it is there or not."""
    return mirror() / as_url(url).removeprefix(_PREFIX)


def url_of(path: str | Path) -> str | None:
    """URL of what a path is the copy of; None for paths outside of the mirror."""
    # every product that is opened is looked at here: most paths are none of ours
    if f"{os.sep}{_BUCKETS}{os.sep}" not in os.fspath(path):
        return None
    path, root = Path(path), mirror()
    if not path.is_relative_to(root):
        return None
    parts = path.relative_to(root).parts
    return _PREFIX + "/".join(parts) if len(parts) > 1 else None


def with_urls(text: str) -> str:
    """A text for people, in which URLs stand for the paths of their copies."""
    return text.replace(f"{mirror()}{os.sep}", _PREFIX)
