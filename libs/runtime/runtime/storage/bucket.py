"""Objects in buckets: the one module that talks to the client, with patience and in sentences."""

from __future__ import annotations

import contextlib
import logging
import os
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from runtime.storage.address import StorageError, endpoint, join

T = TypeVar("T")

log = logging.getLogger("storage")
# It tells where it has found keys, for each client.
logging.getLogger("aiobotocore").setLevel(logging.WARNING)

# How long to try again while a server does not answer [s].
PATIENCE = 120.0
FIRST_PAUSE, LONGEST_PAUSE = 0.25, 10.0


@dataclass(frozen=True)
class Object:
    """What a listing says of an object.

    Attributes:
        size: Bytes.
        etag: Changes with the content; the MD5 of most objects, in hexadecimal digits.
    """

    size: int
    etag: str


def _client() -> Any:
    import fsspec

    # One client for each endpoint and process; fsspec keeps it. Other machines write there: a
    # remembered listing would hide what they wrote. Patience is ours alone.
    return fsspec.filesystem(
        "s3",
        endpoint_url=endpoint() or None,
        use_listings_cache=False,
        config_kwargs={"retries": {"total_max_attempts": 1}},
    )


def _is_passing(error: BaseException) -> bool:
    """Whether an error may be gone at the next try."""
    from aiohttp import ClientError
    from botocore import exceptions as boto

    if isinstance(error, FileNotFoundError | PermissionError | FileExistsError):
        return False
    passing = (boto.ConnectionError, boto.HTTPClientError, boto.ResponseStreamingError)
    others = (ClientError, ConnectionError, TimeoutError, OSError)
    return isinstance(error, (*passing, *others))


def _patiently(url: str, work: Callable[[Any], T]) -> T:
    """Do something with the client, again and again while the server does not answer.

    Args:
        url: What it is done with, for messages.
        work: What is done; safe to repeat.

    Raises:
        FileNotFoundError: There is no such object, or no such bucket.
        StorageError: No keys, keys that do not suffice, or a server that did not answer for
            `AFRAME_STORAGE_PATIENCE` seconds.
    """
    from botocore import exceptions as boto

    patience = float(os.environ.get("AFRAME_STORAGE_PATIENCE") or PATIENCE)
    end, pause = time.monotonic() + patience, FIRST_PAUSE
    while True:
        try:
            return work(_client())
        except (boto.NoCredentialsError, boto.PartialCredentialsError) as error:
            raise StorageError(
                f"no keys for {url}: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or write "
                "them to ~/.aws/credentials"
            ) from error
        except PermissionError as error:
            raise StorageError(
                f"the keys in use do not give access to {url} ({error}): check "
                "AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and the rights of the bucket"
            ) from error
        except Exception as error:
            if not _is_passing(error):
                raise
            if time.monotonic() + pause > end:
                raise StorageError(
                    f"{endpoint() or 'the S3 server'} did not answer for {patience:g} s "
                    f"({url}: {error}): check AWS_ENDPOINT_URL and the server, then run it again"
                ) from error
            log.warning("%s: %s; again in %.2g s", url, error, pause)
            time.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE)


def _list(url: str, **how: Any) -> dict[str, Object]:
    """Objects in a folder, by their names relative to it."""
    try:
        entries = _patiently(url, lambda client: client.find(url, detail=True, **how))
    except FileNotFoundError:
        require_bucket(url)
        return {}
    below = url.split("://")[1] + "/"
    return {
        name.removeprefix(below): Object(int(entry["size"]), str(entry.get("ETag", "")).strip('"'))
        for name, entry in entries.items()
        if entry["type"] == "file" and name.startswith(below) and name != below
    }


def objects_below(url: str) -> dict[str, Object]:
    """All objects in a folder, by their names relative to it."""
    return _list(url)


def hidden_in(url: str) -> dict[str, Object]:
    """Objects right in a folder or bucket whose names begin with a point."""
    found = _list(url, maxdepth=1, prefix=".")
    return {name: known for name, known in found.items() if "/" not in name}


def look_up(url: str) -> Object | None:
    """What is known of one object; None if there is none."""
    try:
        entry = _patiently(url, lambda client: client.info(url))
    except FileNotFoundError:
        return None
    return Object(int(entry["size"]), str(entry["ETag"]).strip('"')) if "ETag" in entry else None


def require_bucket(url: str) -> None:
    """Stop if the bucket of a URL does not exist.

    Raises:
        StorageError: It does not.
    """
    bucket = url.split("://")[1].split("/")[0]
    try:
        _patiently(url, lambda client: client.call_s3("head_bucket", Bucket=bucket))
    except FileNotFoundError:
        raise StorageError(
            f"no bucket {bucket} on {endpoint() or 'the S3 server'}: make it, or correct {url}"
        ) from None


def read(url: str) -> bytes:
    """Content of an object.

    Raises:
        FileNotFoundError: There is no such object.
    """
    return bytes(_patiently(url, lambda client: client.cat_file(url)))


def write(url: str, content: bytes) -> None:
    """Write an object; others see the old one or the new one."""
    with _bucket_named(url):
        _patiently(url, lambda client: client.pipe_file(url, content))


def download(url: str, path: Path) -> None:
    """Write an object to a file.

    Raises:
        FileNotFoundError: There is no such object.
    """
    _patiently(url, lambda client: client.get_file(url, str(path)))


def upload(path: Path, url: str) -> None:
    """Write a file to an object; others see the old one or the new one."""
    with _bucket_named(url):
        _patiently(url, lambda client: client.put_file(str(path), url))


def delete(url: str, names: Iterable[str] = ("",)) -> None:
    """Delete objects in a folder, or one object; no error if they are not there."""

    def delete_one(target: str) -> None:
        with contextlib.suppress(FileNotFoundError):
            _patiently(target, lambda client: client.rm_file(target))

    for name in names:
        delete_one(join(url, name))


@contextlib.contextmanager
def _bucket_named(url: str) -> Iterator[None]:
    """Turn the missing object that an upload meets into what it is: a missing bucket."""
    try:
        yield
    except FileNotFoundError:
        require_bucket(url)
        raise
