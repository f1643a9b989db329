"""Where studies are kept: a folder, or a bucket behind any address that fsspec knows."""

from __future__ import annotations

from pathlib import Path

import fsspec
from pyarrow import fs


def open_storage(address: str) -> tuple[fs.FileSystem, str]:
    """File system and path of an address.

    Buckets go through fsspec, whose clients read the usual settings of their kind: for `s3://`,
    `AWS_ENDPOINT_URL` and the keys of the environment or of `~/.aws`.

    Args:
        address: A folder, or an address as `s3://bucket/place`.

    Raises:
        ValueError: Nothing reads such an address.
    """
    scheme, separator, _ = address.partition("://")
    if not separator or scheme == "file":
        return fs.LocalFileSystem(), str(Path(address.removeprefix("file://")).absolute())
    try:
        # Other machines write there: a remembered listing would hide what they wrote.
        files, path = fsspec.core.url_to_fs(address, use_listings_cache=False)
    except (ValueError, ImportError) as error:
        raise ValueError(f"--tune.storage_dir {address} cannot be opened: {error}") from error
    return fs.PyFileSystem(fs.FSSpecHandler(files)), path


def exists(files: fs.FileSystem, path: str) -> bool:
    """Whether there is a file or folder."""
    return files.get_file_info(path).type != fs.FileType.NotFound


def write(files: fs.FileSystem, path: str, content: bytes) -> None:
    """Write a file whole.

    On a disk it is moved into place; objects in a bucket appear whole anyway.
    """
    local = isinstance(files, fs.LocalFileSystem)
    target = f"{path}.partial" if local else path
    with files.open_output_stream(target) as stream:
        stream.write(content)
    if local:
        files.move(target, path)


def read(files: fs.FileSystem, path: str) -> bytes:
    """All of a file."""
    with files.open_input_stream(path) as stream:
        return stream.read()
