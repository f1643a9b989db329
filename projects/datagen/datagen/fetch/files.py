"""Strain from a folder of files."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from datagen.fetch.digests import digest, summary
from datagen.fetch.listing import NamedFile, covering, gaps, parse
from datagen.fetch.reading import read_stretch
from datagen.fetch.stretch import MARGIN, Stretch
from datagen.retry import with_retries

ATTEMPTS = 3
FIRST_WAIT = 0.5


class VanishedError(Exception):
    """A file was listed and is not there any more."""


class UnreadableError(Exception):
    """A file cannot be read; it may still be being written."""


def list_files(folder: Path) -> list[NamedFile]:
    """Find the files with a name after LIGO-T010150 in a folder and all below it.

    Files and folders that vanish while they are listed, and files still empty, are passed over.

    Raises:
        FileNotFoundError: There is no such folder, or no such file in it.
    """
    if not folder.is_dir():
        raise FileNotFoundError(f"no folder {folder}: expected a folder of strain files")
    found = []
    for place, _, names in os.walk(folder, followlinks=True):
        for name in names:
            path = Path(place) / name
            file = parse(path)
            try:
                if file is not None and path.stat().st_size > 0:
                    found.append(file)
            except FileNotFoundError:
                continue
    if not found:
        raise FileNotFoundError(
            f"{folder} holds no strain file: expected names like "
            "H-H1_HOFT_C00-1238166018-4096.gwf (LIGO-T010150), ending in .gwf, .hdf5 or .h5"
        )
    return found


class FileFolder:
    """Strain of a GPS span from a folder, which may be one whose oldest files are removed.

    Args:
        folder: The folder; folders in it are searched too.
        ifos: Detectors.
        channels: Channel of each detector, where files have several.
        start: GPS start [s].
        stop: GPS stop [s].

    Raises:
        FileNotFoundError: See `list_files`.
        ValueError: The files of a detector do not cover the span, or two kinds of files do.
    """

    def __init__(
        self,
        folder: Path,
        ifos: Sequence[str],
        channels: Mapping[str, str],
        start: float,
        stop: float,
    ) -> None:
        self._folder, self._channels = folder, channels
        self._span = (start, stop)
        listed = list_files(folder)
        self._files = {ifo: self._choose(listed, ifo) for ifo in ifos}
        self._digests: dict[str, str] = {}

    def _choose(self, listed: list[NamedFile], ifo: str) -> list[NamedFile]:
        start, stop = self._span
        own = [file for file in listed if file.may_hold(ifo)]
        kinds: dict[str, list[NamedFile]] = {}
        for file in own:
            kinds.setdefault(file.description, []).append(file)
        chosen = {
            kind: covering(files, start - MARGIN, stop + MARGIN) for kind, files in kinds.items()
        }
        complete = [kind for kind, files in chosen.items() if not gaps(files, start, stop)]
        if len(complete) == 1:
            return chosen[complete[0]]
        if complete:
            raise ValueError(
                f"{self._folder} holds {len(complete)} kinds of files of {ifo} for [{start}, "
                f"{stop}): {', '.join(sorted(complete))}; give a folder with one of them"
            )
        lacking = "; ".join(
            f"{kind} lacks [{a}, {b})"
            for kind in sorted(kinds)[:3]
            for a, b in gaps(chosen[kind], start, stop)[:3]
        )
        raise ValueError(
            f"{self._folder} does not cover [{start}, {stop}) in {ifo}: "
            f"{lacking or f'no file of {ifo}'}; add the missing files, or query segments for what "
            "is there"
        )

    def stretches(self, ifo: str) -> Iterator[Stretch]:
        """Strain of a detector, file by file; see `Provider`.

        Raises:
            ValueError: A file vanished, or is broken, or contradicts its name.
        """
        for file in self._files[ifo]:
            try:
                yield with_retries(
                    lambda file=file: self._read(file, ifo),
                    f"reading {file.place}",
                    attempts=ATTEMPTS,
                    first_wait=FIRST_WAIT,
                    retry_on=(UnreadableError,),
                )
            except VanishedError as error:
                raise ValueError(
                    f"{file.place} vanished before it was read: {self._folder} keeps files only "
                    "for a time; fetch later times, or older ones from an archive"
                ) from error
            except UnreadableError as error:
                raise ValueError(str(error)) from error

    def _read(self, file: NamedFile, ifo: str) -> Stretch:
        path = Path(file.place)
        try:
            stretch = read_stretch(path, file, ifo, self._channels.get(ifo))
            self._digests[file.name] = digest(path)
        except (ValueError, OSError) as error:
            if not path.exists():
                raise VanishedError(str(path)) from error
            if isinstance(error, OSError) or "truncated" in str(error):
                raise UnreadableError(str(error)) from error
            raise
        return stretch

    def parents(self) -> Mapping[str, str]:
        """Digest of each file that was read, by its name."""
        return summary(self._digests)
