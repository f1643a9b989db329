"""Files that are complete when they exist."""

import contextlib
import errno
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path


class ProductError(ValueError):
    """A data product is missing, broken, or not the one that was asked for."""


_bringers: list[Callable[[Path], None]] = []


def bring_with(bring: Callable[[Path], None]) -> None:
    """Have a function called with the path of each product that is about to be opened.

    For what lies elsewhere and is brought when it is needed. This library knows no other places
    than folders.

    Args:
        bring: Sees to it that the file is there, or does nothing.
    """
    if bring not in _bringers:
        _bringers.append(bring)


def bring(path: str | os.PathLike[str]) -> Path:
    """The path of a file that is there now, if it exists at all."""
    for function in _bringers:
        function(Path(path))
    return Path(path)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _sync(path: Path) -> None:
    files = [p for p in path.rglob("*") if p.is_file()] if path.is_dir() else [path]
    for file in files:
        with file.open("rb") as handle:
            os.fsync(handle.fileno())


@contextlib.contextmanager
def staged(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Give a path to write to, and move it into place only if the writing succeeded.

    The staged file or folder lies beside its destination, under a hidden name that ends in
    `.partial`. When the block ends without an exception it replaces the destination in one
    rename, so that a reader (and a rerun after a kill) sees the old state or the complete new
    one. What an interrupted earlier attempt at the same destination left behind is removed.

    Args:
        path: Destination, a file or a folder.

    Yields:
        The path to write to; nothing exists there yet, its folder does.

    Raises:
        ProductError: The folder cannot be written to, the disk is full, or nothing was written.
    """
    final = Path(path)
    try:
        final.parent.mkdir(parents=True, exist_ok=True)
        for stale in final.parent.glob(f".{final.name}.*.partial"):
            _remove(stale)
    except OSError as error:
        raise _unwritable(final, error) from error
    partial = final.parent / f".{final.name}.{os.getpid()}.partial"
    try:
        yield partial
        if not partial.exists():
            raise ProductError(f"nothing was written for {final}")
        _sync(partial)
        if final.is_dir() and partial.is_dir():
            _remove(final)
        partial.replace(final)
    except OSError as error:
        raise _unwritable(final, error) from error
    finally:
        with contextlib.suppress(OSError):
            _remove(partial)


def _unwritable(path: Path, error: OSError) -> OSError | ProductError:
    """Say in a sentence why a product could not be written; other errors stay as they are."""
    # HDF5 reports a full disk as an OSError without errno whose text names the C error.
    text = str(error)
    if error.errno in (errno.ENOSPC, errno.EDQUOT) or "No space left" in text:
        return ProductError(
            f"cannot write {path}: no space left on the device that holds {path.parent}. "
            "Free some space there or set AFRAME_STORE to another disk; nothing was left behind."
        )
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EEXIST):
        return ProductError(
            f"cannot write {path}: {error.strerror or text}. Make {path.parent} writable or set "
            "AFRAME_STORE to a folder that is."
        )
    return error
