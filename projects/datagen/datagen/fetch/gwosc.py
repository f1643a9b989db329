"""Strain of the public archive, GWOSC."""

from __future__ import annotations

import math
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

from gwosc import datasets, locate

from datagen.fetch.digests import digest, summary
from datagen.fetch.downloads import download
from datagen.fetch.listing import NamedFile, covering, gaps, parse
from datagen.fetch.reading import read_stretch
from datagen.fetch.stretch import MARGIN, Stretch
from datagen.gwosc_client import ask, server

T = TypeVar("T")

RATES = (4096.0, 16384.0)
# Files that are downloaded at once.
NUM_DOWNLOADS = 4


def release_rate(sample_rate: float) -> float:
    """Sample rate of the release to take: the lowest that is high enough [Hz].

    Raises:
        ValueError: None is.
    """
    for rate in RATES:
        if sample_rate <= rate:
            return rate
    raise ValueError(
        f"sample_rate {sample_rate:g} Hz exceeds 16384 Hz, the highest of GWOSC: lower it"
    )


def find_files(ifo: str, start: float, stop: float, rate: float) -> list[NamedFile]:
    """Find the archive's files of a detector for a GPS span, by the archive's own client.

    Those of an observing run are preferred; else those around an event are taken. A second at
    either end is asked for too, but not required.

    Args:
        ifo: Detector.
        start: GPS start [s].
        stop: GPS stop [s].
        rate: 4096 or 16384 [Hz].

    Returns:
        The files in time order, all of one release.

    Raises:
        ValueError: No release covers the span, or the server does not answer.
    """
    wide = (math.floor(start - MARGIN), math.ceil(stop + MARGIN))
    narrow = (math.floor(start), math.ceil(stop))
    common: dict[str, Any] = {"host": server(), "sample_rate": int(rate)}
    tried: list[tuple[str, list[tuple[float, float]]]] = []
    for kind in ("run", "event"):
        names = ask(
            f"list of {kind}s",
            lambda kind=kind: datasets.find_datasets(ifo, kind, wide, host=server()),
        )
        # the highest version of an event sorts last
        for name in sorted(names, reverse=kind == "event"):
            urls = ask(
                f"files of {name}",
                lambda kind=kind, name=name: (
                    locate.get_run_urls(name, ifo, *wide, **common)
                    if kind == "run"
                    else locate.get_event_urls(
                        name, detector=ifo, start=wide[0], end=wide[1], **common
                    )
                ),
            )
            files = _chosen(urls, *wide)
            missing = gaps(files, *narrow)
            if not missing:
                return files
            tried.append((name, missing))
    found = "; ".join(
        f"{name} lacks {', '.join(f'[{a:.0f}, {b:.0f})' for a, b in missing[:3])}"
        for name, missing in tried[:3]
    )
    raise ValueError(
        f"{server()} has no {rate / 1024:g} kHz strain of {ifo} throughout "
        f"[{narrow[0]}, {narrow[1]}): {found or f'no release has {ifo} at that time'}; leave "
        f"{ifo} or that time out of the experiment"
    )


def _chosen(urls: Iterable[str], start: float, stop: float) -> list[NamedFile]:
    """The files to use: one that covers all if there is one, the shortest; else several."""
    files = [file for url in urls if (file := parse(url))]
    whole = [f for f in files if f.gps_start <= start and f.gps_stop >= stop]
    if whole:
        return [min(whole, key=lambda f: (f.gps_stop - f.gps_start, f.gps_start))]
    return covering(files, start, stop)


class GwoscArchive:
    """Strain of a GPS span from GWOSC; a context.

    All files are found before the first is downloaded; several are downloaded at once, in the
    order in which they are read. They lie in a hidden folder beside the output until that is
    written, so that a run that was interrupted does not download them again; or, for good and
    for all runs, in the folder that the environment variable AFRAME_CACHE names.

    Args:
        ifos: Detectors, in the order in which they will be read.
        start: GPS start [s].
        stop: GPS stop [s].
        sample_rate: Sample rate of the experiment [Hz].
        output: File that is to be written.

    Raises:
        ValueError: See `find_files`, `release_rate`.
    """

    def __init__(
        self, ifos: Sequence[str], start: float, stop: float, sample_rate: float, output: Path
    ) -> None:
        rate = release_rate(sample_rate)
        self._files = {ifo: find_files(ifo, start, stop, rate) for ifo in ifos}
        cache = os.environ.get("AFRAME_CACHE")
        self._temporary = not cache
        self._folder = Path(cache) if cache else output.with_name(f".{output.name}.downloads")
        self._folder.mkdir(parents=True, exist_ok=True)
        self._pool = ThreadPoolExecutor(NUM_DOWNLOADS, thread_name_prefix="download")
        self._downloads: dict[str, Future[None]] = {}
        for file in (file for ifo in ifos for file in self._files[ifo]):
            job = self._pool.submit(download, file.place, self._folder / file.name)
            self._downloads[file.name] = job
        self._digests: dict[str, str] = {}

    def stretches(self, ifo: str) -> Iterator[Stretch]:
        """Strain of a detector, file by file; see `Provider`."""
        for file in self._files[ifo]:
            self._downloads[file.name].result()
            path = self._folder / file.name
            self._digests[file.name] = digest(path)
            yield read_stretch(path, file, ifo)

    def parents(self) -> Mapping[str, str]:
        """Digest of each file that was read, by its name."""
        return summary(self._digests)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._pool.shutdown(cancel_futures=True)
        if kind is None and self._temporary:
            shutil.rmtree(self._folder, ignore_errors=True)
