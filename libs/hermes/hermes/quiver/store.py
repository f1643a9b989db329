"""Files of a repository, in a folder or in object storage."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path, PurePosixPath
from typing import Any

import fsspec
from fsspec.implementations.local import LocalFileSystem

STAGING = ".staging-"


class Store:
    """Folders and files below one place.

    What is read is read anew at each call, so that what others write is seen.

    Args:
        place: Folder, or URL of any kind that fsspec knows, such as `s3://bucket/models`.
        options: What fsspec's file system takes, such as `anon` or `endpoint_url`.
    """

    def __init__(self, place: str | Path, **options: Any) -> None:
        self.fs, root = fsspec.core.url_to_fs(os.fspath(place), **options)
        self.root = root.rstrip("/")
        self.is_local = isinstance(self.fs, LocalFileSystem)

    def path(self, *parts: str) -> str:
        """Path of something in the repository, as the file system takes it."""
        return "/".join((self.root, *parts))

    def url(self, *parts: str) -> str:
        """Path or URL of something in the repository, as people read it."""
        path = self.path(*parts)
        return path if self.is_local else self.fs.unstrip_protocol(path)

    def folders(self, *parts: str) -> list[str]:
        """Names of the folders in a folder, in order; none if it is not there."""
        return self._names("directory", *parts)

    def files(self, *parts: str) -> list[str]:
        """Names of the files in a folder, in order; none if it is not there."""
        return self._names("file", *parts)

    def _names(self, kind: str, *parts: str) -> list[str]:
        self.fs.invalidate_cache()
        try:
            entries = self.fs.ls(self.path(*parts), detail=True)
        except (FileNotFoundError, NotADirectoryError):
            return []
        # some stores list a folder as an object within itself, with an empty name
        names = (
            PurePosixPath(entry["name"]).name
            for entry in entries
            if entry["type"] == kind and entry["name"].rstrip("/") != self.path(*parts)
        )
        return sorted(names)

    def read(self, *parts: str) -> bytes:
        """Content of a file.

        Raises:
            FileNotFoundError: It is not there.
        """
        self.fs.invalidate_cache()
        return self.fs.cat_file(self.path(*parts))

    def local(self, *parts: str) -> Path:
        """A file on this machine: itself, or a copy made once for this process.

        Raises:
            FileNotFoundError: It is not there.
        """
        path = self.path(*parts)
        if self.is_local:
            if not Path(path).is_file():
                raise FileNotFoundError(f"no file {path}")
            return Path(path)
        self.fs.invalidate_cache()
        # what has been replaced has another key
        key = hashlib.sha256(f"{self.url(*parts)} {self.fs.ukey(path)}".encode()).hexdigest()
        target = _downloads() / key[:32] / parts[-1]
        if not target.is_file():
            target.parent.mkdir(exist_ok=True)
            with tempfile.NamedTemporaryFile(dir=target.parent, delete=False) as stream:
                partial = Path(stream.name)
            try:
                self.fs.get_file(path, str(partial))
                partial.replace(target)
            finally:
                partial.unlink(missing_ok=True)
        return target

    @contextmanager
    def staging(self) -> Iterator[Path]:
        """A temporary local folder in which a version is made.

        For a local repository it is beside the repository's folder, on the same file system:
        servers take each folder in a repository for a model. Where that is not possible it is
        hidden in the repository.
        """
        where = None
        if self.is_local:
            root = Path(self.root)
            root.mkdir(parents=True, exist_ok=True)
            beside = root.parent.stat().st_dev == root.stat().st_dev and os.access(
                root.parent, os.W_OK
            )
            where = root.parent if beside else root
        prefix = f".{PurePosixPath(self.root).name}{STAGING}" if where else "quiver-"
        folder = Path(tempfile.mkdtemp(prefix=prefix, dir=where))
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def publish(self, stage: Path, model: str, version: int, config: str | None) -> None:
        """Put a version in place; readers see all of it or nothing.

        In a folder everything is renamed into place. In object storage the version's files come
        first and the configuration last. What fails leaves what was there.

        Args:
            stage: Folder from `staging`, in which the folder `<version>` is.
            model: Name of the model.
            version: Number of the version, which is not in the repository yet.
            config: Text of the configuration; None if the one there stays.

        Raises:
            FileExistsError: The version is in the repository.
        """
        publish = self._rename if self.is_local else self._upload
        publish(stage, model, str(version), config)

    def _rename(self, stage: Path, model: str, version: str, config: str | None) -> None:
        place = Path(self.path(model))
        target = place / version
        if not place.exists():
            new = stage / "model"
            new.mkdir()
            (stage / version).rename(new / version)
            if config is not None:
                (new / "config.pbtxt").write_text(config)
            new.rename(place)
            return
        if target.exists():
            raise FileExistsError(f"{target} exists")
        (stage / version).rename(target)
        try:
            if config is not None:
                self.write(config, model, "config.pbtxt")
        except BaseException:
            target.rename(stage / version)
            raise

    def _upload(self, stage: Path, model: str, version: str, config: str | None) -> None:
        if version in self.folders(model):
            raise FileExistsError(f"{self.url(model, version)} exists")
        sources = [path for path in sorted((stage / version).rglob("*")) if path.is_file()]
        targets = [self.path(model, p.relative_to(stage).as_posix()) for p in sources]
        begun = []
        try:
            for source, target in zip(sources, targets, strict=True):
                begun.append(target)
                self.fs.put_file(str(source), target)
            if config is not None:
                self.write(config, model, "config.pbtxt")
        except BaseException:
            for target in begun:
                if self.fs.exists(target):
                    self.fs.rm_file(target)
            raise

    def write(self, text: str, *parts: str) -> None:
        """Write a text file; readers see the old one or the new one."""
        path = self.path(*parts)
        if not self.is_local:
            self.fs.pipe_file(path, text.encode())
            return
        with self.staging() as stage:
            (stage / "text").write_text(text)
            (stage / "text").replace(path)

    def remove(self, *parts: str) -> None:
        """Remove a folder with all that is in it; it disappears in one step where it is local."""
        path = self.path(*parts)
        if not self.is_local:
            self.fs.invalidate_cache()
            if len(parts) == 1 and self.fs.exists(f"{path}/config.pbtxt"):
                # without it there is no model: what follows is litter, should it not be reached
                self.fs.rm_file(f"{path}/config.pbtxt")
            if self.fs.exists(path):
                self.fs.rm(path, recursive=True)
            return
        with self.staging() as stage:
            Path(path).rename(stage / "removed")


@cache
def _downloads() -> Path:
    """Folder of this process for copies; it ends with the process."""
    folder = tempfile.TemporaryDirectory(prefix="quiver-")
    _KEPT.append(folder)
    return Path(folder.name)


_KEPT: list[tempfile.TemporaryDirectory] = []
