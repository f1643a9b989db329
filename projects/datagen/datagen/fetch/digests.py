"""Digests of the files that strain was read from, for provenance."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

# More files than these (a folder of one-second frames) are told by one digest.
MOST_NAMED = 100


def digest(path: Path) -> str:
    """SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def summary(digests: Mapping[str, str]) -> Mapping[str, str]:
    """Digests by name; for very many files a single one, of names and digests."""
    if len(digests) <= MOST_NAMED:
        return digests
    names = sorted(digests)
    lines = "".join(f"{name} {digests[name]}\n" for name in names)
    return {
        f"{len(names)} files, {names[0]} to {names[-1]}": hashlib.sha256(
            lines.encode()
        ).hexdigest()
    }
