"""Where products lie: in a folder, or in a bucket of which a folder on this machine is the copy.

With `AFRAME_STORE=s3://bucket/place` every path of a task is that of a copy. Before a stage runs
its inputs are brought there; what it has made is checked there and then published. The products
exist when they are complete in the bucket. Records of stages are published, too; locks and what
batch systems need stay on this machine.
"""

import os
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import law
from law.target.collection import flatten_collections
from runtime import storage

from aframe.environment import REPOSITORY


def store_folder() -> Path:
    """Folder of all products: that of `AFRAME_STORE`, its copy if it is in a bucket.

    Raises:
        StorageError: It is no place in a bucket.
    """
    given = os.environ.get("AFRAME_STORE")
    if not given:
        return REPOSITORY / "store"
    if not storage.is_url(given):
        return Path(given).absolute()
    # An image has another home, and must look for copies in the same place.
    os.environ.setdefault("AFRAME_CACHE", str(storage.cache_folder()))
    return storage.local_path(given)


class StoredTarget:
    """What the targets of products share; the other base is one of law's local targets."""

    path: str

    def is_here(self) -> bool:
        """Whether it is complete on this machine."""
        raise NotImplementedError

    def exists(self, **_: Any) -> bool:
        """Whether it is complete where it belongs."""
        url = storage.url_of(self.path)
        return storage.exists(url) if url else self.is_here()

    def remove(self, silent: bool = True, **_: Any) -> bool:
        """Remove it, whatever is in it."""
        if url := storage.url_of(self.path):
            storage.remove(url)
        if Path(self.path).is_dir():
            shutil.rmtree(self.path, ignore_errors=silent)
        else:
            Path(self.path).unlink(missing_ok=silent)
        return True


class FileTarget(StoredTarget, law.LocalFileTarget):
    """A file, complete when it exists."""

    def __init__(self, path: str | Path) -> None:
        """Args: the file."""
        super().__init__(str(path))

    def is_here(self) -> bool:
        """Whether the file is there."""
        return Path(self.path).exists()


class FolderTarget(StoredTarget, law.LocalDirectoryTarget):
    """A folder that is complete when all files it must hold are there."""

    def __init__(self, path: str | Path, files: Sequence[str] = ()) -> None:
        """Args: the folder, and the names of the files."""
        super().__init__(str(path))
        self.files = tuple(files)

    def is_here(self) -> bool:
        """Whether every file is there."""
        folder = Path(self.path)
        return folder.is_dir() and all((folder / name).is_file() for name in self.files)


def targets_in(content: Any) -> list[law.LocalTarget]:
    """All targets in what a task requires or makes."""
    return [
        target for target in flatten_collections(content) if isinstance(target, law.LocalTarget)
    ]


def is_here(target: law.LocalTarget) -> bool:
    """Whether a target is complete on this machine."""
    if isinstance(target, StoredTarget):
        return target.is_here()
    return Path(target.path).exists()


def bring(paths: Iterable[str | Path]) -> None:
    """Bring files and folders from the bucket that they are copies of.

    Raises:
        FileNotFoundError: One is not there.
        StorageError: One is incomplete or damaged, or the bucket cannot be reached.
    """
    for path in paths:
        if url := storage.url_of(path):
            storage.fetch(url)


def publish(paths: Iterable[str | Path]) -> None:
    """Publish files and folders to the bucket that they are copies of.

    Raises:
        StorageError: The bucket cannot be used.
    """
    for path in paths:
        if url := storage.url_of(path):
            storage.publish(path, url)


def remove(path: Path) -> None:
    """Remove a folder, from its bucket, too; no error if it is not there."""
    if url := storage.url_of(path):
        storage.remove(url)
    shutil.rmtree(path, ignore_errors=True)
