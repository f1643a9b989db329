"""Services that give an observatory's data: GWDataFind and NDS2."""

from __future__ import annotations

import importlib.util
import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol
from urllib.parse import urlparse

import gwdatafind
import numpy as np
from cleaning import Fetch, Problem
from gwpy.io.cache import file_segment
from gwpy.timeseries import TimeSeriesDict
from requests import RequestException

from deepclean.frames.channels import FrameError, MissingChannelError, whole_seconds
from deepclean.frames.reading import channel_names, is_whole

log = logging.getLogger("deepclean")

Kind = Literal["strain", "witness", "state"]
Seconds = dict[int, dict[str, np.ndarray]]
"""Samples of each channel by full name, by second [GPS s]."""


class Service(Protocol):
    """Gives data of an observatory."""

    def require(self, kind: Kind, channels: Sequence[str], start: int, stop: int) -> None:
        """See that it has channels, as far as it can tell without their data.

        Args:
            kind: What the channels are.
            channels: Their full names.
            start: First second that will be asked for [GPS s].
            stop: Second after the last [GPS s].

        Raises:
            ValueError: It has not, or does not answer.
        """
        ...

    def seconds(self, kind: Kind, channels: Sequence[str], start: int, stop: int) -> Seconds:
        """Whole seconds of a span in which all channels are there.

        Args:
            kind: What the channels are.
            channels: Their full names.
            start: First second [GPS s].
            stop: Second after the last [GPS s].

        Raises:
            ValueError: The service does not answer.
        """
        ...


@dataclass(frozen=True)
class DataFind:
    """Files that a GWDataFind server names, where they can be reached.

    Attributes:
        host: The server.
        site: Letter of the site.
        types: Frame type of each kind.
    """

    host: str
    site: str
    types: Mapping[Kind, str]

    def require_types(self) -> None:
        """See that the server has all frame types.

        Raises:
            ValueError: It does not answer, or has others.
        """
        try:
            found = set(gwdatafind.find_types(self.site, host=self.host))
        except RequestException as error:
            raise ValueError(_unanswered(self.host, error)) from None
        missing = sorted(set(self.types.values()) - found)
        if missing:
            raise ValueError(
                f"{self.host} has no frame type {', '.join(missing)} of site {self.site}, it has "
                f"{', '.join(sorted(found)) or 'none'}: name one of these in the experiment's "
                "fetch"
            )

    def require(self, kind: Kind, channels: Sequence[str], start: int, stop: int) -> None:
        """See `Service`; the first file that is there tells."""
        for _, path in self._files(kind, start, stop):
            try:
                found = channel_names(path)
            except FrameError:
                continue
            missing = [name for name in channels if name not in found]
            if missing:
                raise MissingChannelError(path, missing)
            return

    def seconds(self, kind: Kind, channels: Sequence[str], start: int, stop: int) -> Seconds:
        """See `Service`; what lies in a broken file is left out."""
        found: Seconds = {}
        for (first, last), path in self._files(kind, start, stop):
            # of files that overlap, the first counts
            wanted = [s for s in range(max(first, start), min(last, stop)) if s not in found]
            if not wanted:
                continue
            try:
                found |= _read(path, channels, wanted[0], wanted[-1] + 1)
            except FrameError as error:
                log.warning("left out: %s", error)
        return found

    def _files(self, kind: Kind, start: int, stop: int) -> Iterator[tuple[tuple[int, int], Path]]:
        """Files of a span with their own spans, in time order.

        Raises:
            ValueError: The server does not answer, or names files that cannot be reached.
        """
        try:
            urls = gwdatafind.find_urls(
                self.site, self.types[kind], start, stop, on_gaps="ignore", host=self.host
            )
        except RequestException as error:
            raise ValueError(_unanswered(self.host, error)) from None
        for url in sorted(urls, key=file_segment):
            path = Path(urlparse(url).path)
            if not path.is_file():
                raise ValueError(
                    f"{self.host} names {path}, which is not there: run where the observatory's "
                    "files can be reached"
                )
            first, last = file_segment(url)
            yield (int(first), int(last)), path


@dataclass(frozen=True)
class Nds:
    """An NDS2 server, which knows channels and no files.

    Attributes:
        host: The server; the one that gwpy takes for the detector if None.
    """

    host: str | None = None

    def require(self, kind: Kind, channels: Sequence[str], start: int, stop: int) -> None:
        """Asking for data tells."""

    def seconds(self, kind: Kind, channels: Sequence[str], start: int, stop: int) -> Seconds:
        """See `Service`."""
        try:
            # what is missing comes as NaN, so that a gap does not cost the span
            found = TimeSeriesDict.fetch(
                list(channels), start, stop, host=self.host, pad=np.nan, allow_tape=True
            )
        # the client's errors are of many kinds, and of its own
        except Exception as error:
            raise ValueError(_unanswered(self.host or "NDS2", error)) from None
        seconds = _by_second("NDS2", found)
        return {
            second: values
            for second, values in seconds.items()
            if all(np.isfinite(v).all() for v in values.values())
        }


def find_service(problem: Problem, fetch: Fetch) -> Service:
    """The service at hand: GWDataFind where a server is named, else NDS2.

    Args:
        problem: What is to be cleaned.
        fetch: Frame types.

    Raises:
        ValueError: There is none, or it lacks frame types.
    """
    host = os.environ.get("GWDATAFIND_SERVER")
    if host:
        if fetch.strain is None or fetch.witness is None:
            raise ValueError(
                "GWDataFind needs frame types: give strain and witness in the experiment's "
                "fetch, such as {strain: H1_HOFT_C00, witness: H1_R}"
            )
        types: dict[Kind, str] = {"strain": fetch.strain, "witness": fetch.witness}
        if problem.state_channel is not None:
            types["state"] = fetch.state or fetch.strain
        service = DataFind(host, problem.ifo[0], types)
        service.require_types()
        return service
    if importlib.util.find_spec("nds2") is not None:
        return Nds()
    raise ValueError(
        "no service to fetch from: set GWDATAFIND_SERVER (as datafind.igwn.org) where its files "
        "can be reached, or install the client of NDS2 (python-nds2-client of conda-forge)"
    )


def _read(path: Path, channels: Sequence[str], start: int, stop: int) -> Seconds:
    """A part of a frame file, by gwpy.

    Raises:
        FrameError: It is broken, or lacks channels.
    """
    # the library ends the process when it meets a file that is cut
    if not is_whole(path):
        raise FrameError(f"{path} is not a frame file, or is cut")
    try:
        found = TimeSeriesDict.read(str(path), list(channels), start=start, end=stop, format="gwf")
    except (RuntimeError, ValueError, OSError) as error:
        raise FrameError(f"{path} cannot be read: {str(error).splitlines()[0]}") from None
    return _by_second(path, found)


def _by_second(where: Path | str, found: TimeSeriesDict) -> Seconds:
    """Cut series at whole seconds.

    Raises:
        FrameError: A series does not run at a whole number of samples per second.
    """
    seconds: list[Seconds] = []
    for name, series in found.items():
        start, step = float(series.t0.value), float(series.dt.value)
        channel = whole_seconds(Path(where), name, _storable(series.value), start, step)
        number = len(channel.values) // channel.rate
        parts = channel.values[: number * channel.rate].reshape(number, channel.rate)
        seconds.append({channel.start + i: {name: part} for i, part in enumerate(parts)})
    common = set.intersection(*(set(part) for part in seconds))
    return {
        second: {name: v for part in seconds for name, v in part[second].items()}
        for second in sorted(common)
    }


def _storable(values: np.ndarray) -> np.ndarray:
    """Samples in a type that frames are written in, integers with their bits as they are."""
    if np.issubdtype(values.dtype, np.integer):
        return values.astype(np.int32)
    return values if values.dtype == np.float32 else values.astype(np.float64)


def _unanswered(host: str, error: Exception) -> str:
    text = str(error).splitlines()[0] if str(error) else ""
    advice = "see that the server's name is right and that it can be reached"
    signs = ("401", "403", "token", "credential", "kerberos", "unauthorized", "forbidden")
    if any(sign in text.lower() for sign in signs):
        advice = "get a credential by `htgettoken -a vault.ligo.org -i igwn`, then run it again"
    return f"{host} gave no answer that helps ({type(error).__name__}: {text}): {advice}"
