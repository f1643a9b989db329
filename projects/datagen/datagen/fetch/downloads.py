"""Files of the public archive, one by one, complete or not at all."""

from __future__ import annotations

from pathlib import Path

import h5py
import requests
from filelock import FileLock
from ledger import staged

from datagen.retry import with_retries

ATTEMPTS = 5
FIRST_WAIT = 1.0
# To connect, and between two pieces of a body [s].
TIMEOUT = (10, 60)
BUSY = (408, 425, 429, 500, 502, 503, 504)


class PassingError(Exception):
    """A download failed in a way that may pass."""


def download(address: str, path: Path) -> None:
    """Download an HDF5 file, unless it is there.

    The file appears at its place only when its length is that which the server announced and
    HDF5 can open it. Of several processes that want one file, one downloads it.

    Args:
        address: Where it is.
        path: Where to put it; its folder exists.

    Raises:
        ValueError: The server does not have the file, or did not give it in five attempts.
        ledger.ProductError: The disk is full or not writable.
    """
    with FileLock(path.with_name(f".{path.name}.lock")):
        if path.exists():
            return
        try:
            with_retries(
                lambda: _download_once(address, path),
                f"download of {address}",
                attempts=ATTEMPTS,
                first_wait=FIRST_WAIT,
                retry_on=(
                    PassingError,
                    requests.ConnectionError,
                    requests.Timeout,
                    requests.exceptions.ChunkedEncodingError,
                ),
            )
        except (PassingError, requests.RequestException) as error:
            raise ValueError(
                f"{address} could not be downloaded in {ATTEMPTS} attempts, the last: {error}; "
                "run it again later, complete files are kept"
            ) from error


def _download_once(address: str, path: Path) -> None:
    with requests.get(
        address, stream=True, timeout=TIMEOUT, headers={"Accept-Encoding": "identity"}
    ) as answer:
        if answer.status_code in BUSY:
            raise PassingError(f"the server answered {answer.status_code} {answer.reason}")
        if answer.status_code != 200:
            raise ValueError(
                f"{address}: the server answered {answer.status_code} {answer.reason}, expected "
                "a file: it may have been withdrawn; look there with a browser"
            )
        announced = answer.headers.get("Content-Length")
        with staged(path) as partial:
            size = 0
            with partial.open("wb") as file:
                for piece in answer.iter_content(2**20):
                    size += file.write(piece)
            if announced is not None and size != int(announced):
                raise PassingError(f"{size} of {announced} bytes came")
            if not h5py.is_hdf5(partial):
                raise ValueError(
                    f"{address}: what came is not an HDF5 file ({size} bytes): a proxy or login "
                    "page may stand between; look there with a browser"
                )
