"""The marker of a product: the object that says that all others are there, and what they are.

The marker of `folder/name` is the object `folder/.name.complete.json`, for a file and for a folder
alike. It is written after all else, and deleted before all else. While a folder is being uploaded
`folder/.name.incomplete` says that what is there is not to be used.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path

from runtime.storage.address import StorageError, join, split

COMPLETE, INCOMPLETE = ".complete.json", ".incomplete"
SCHEMA = 1


def marker_url(url: str) -> str:
    """URL of a product's marker."""
    folder, name = split(url)
    return join(folder, f".{name}{COMPLETE}")


def claim_url(url: str) -> str:
    """URL of the object that says that a folder is being uploaded."""
    folder, name = split(url)
    return join(folder, f".{name}{INCOMPLETE}")


def is_hidden(name: str) -> bool:
    """Whether a name relative to a folder is that of a marker, a record or a partial file."""
    return any(part.startswith(".") for part in name.split("/"))


@dataclass(frozen=True)
class Entry:
    """One file of a product.

    Attributes:
        size: Bytes.
        sha256: Digest of its content.
    """

    size: int
    sha256: str


@dataclass(frozen=True)
class Marker:
    """What a product consists of.

    Attributes:
        files: The files of a folder by their relative names; one of an empty name for a product
            that is a file.
    """

    files: dict[str, Entry]

    @property
    def is_folder(self) -> bool:
        """Whether the product is a folder."""
        return "" not in self.files

    def part(self, inner: str) -> dict[str, Entry]:
        """The files at or below a relative name; all for an empty one."""
        if not inner:
            return self.files
        return {n: e for n, e in self.files.items() if n == inner or n.startswith(f"{inner}/")}

    def encode(self) -> bytes:
        """The marker's content."""
        files = {name: asdict(entry) for name, entry in sorted(self.files.items())}
        return (json.dumps({"schema": SCHEMA, "files": files}, indent=1) + "\n").encode()

    @classmethod
    def decode(cls, content: bytes, url: str) -> Marker:
        """Read a marker.

        Args:
            content: Content of the object.
            url: Its URL, for messages.

        Raises:
            StorageError: It is no marker, or one of another schema.
        """
        try:
            found = json.loads(content)
            if found["schema"] == SCHEMA:
                return cls({name: Entry(**entry) for name, entry in found["files"].items()})
            why = f"has schema {found['schema']}, this code reads schema {SCHEMA}"
        except (ValueError, KeyError, TypeError, AttributeError):
            why = "is no marker of a product"
        raise StorageError(f"{url} {why}: delete it and make the product again")


def digest(path: Path) -> str:
    """SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def describe(path: Path) -> Marker:
    """The marker of a file or of a folder on this machine; hidden files are no part of it.

    Raises:
        FileNotFoundError: There is nothing.
    """
    if path.is_file():
        return Marker({"": Entry(path.stat().st_size, digest(path))})
    files = sorted(file for file in path.rglob("*") if file.is_file())
    names = {file.relative_to(path).as_posix(): file for file in files}
    found = {
        name: Entry(file.stat().st_size, digest(file))
        for name, file in names.items()
        if not is_hidden(name)
    }
    if not found:
        raise FileNotFoundError(f"nothing to publish in {path}")
    return Marker(found)
