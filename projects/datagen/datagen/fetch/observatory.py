"""Strain from the observatories' own services, GWDataFind and NDS2."""

from __future__ import annotations

import importlib.util
import itertools
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from gwpy.timeseries import TimeSeries

from datagen.fetch.stretch import MARGIN, Stretch

# Strain asked for at once [s].
CHUNK_LENGTH = 4096.0


class Observatory:
    """Strain of a GPS span from the services that a member of the collaborations can use.

    Args:
        ifos: Detectors.
        channels: Channel of each detector.
        start: GPS start [s].
        stop: GPS stop [s].

    Raises:
        ValueError: A detector has no channel, or neither service is at hand.
    """

    def __init__(
        self, ifos: Sequence[str], channels: Mapping[str, str], start: float, stop: float
    ) -> None:
        missing = [ifo for ifo in ifos if ifo not in channels]
        if missing:
            raise ValueError(
                f"strain.channels has none for {', '.join(missing)}: the observatories have many "
                "channels; name one, as {H1: H1:GDS-CALIB_STRAIN_CLEAN}"
            )
        self._channels, self._span = channels, (start, stop)
        self._services = _services()

    def stretches(self, ifo: str) -> Iterator[Stretch]:
        """Strain of a detector in chunks; see `Provider`.

        Raises:
            ValueError: No service gives it; says why, and how to get a missing credential.
        """
        start, stop = self._span
        edges = [*np.arange(start, stop, CHUNK_LENGTH).tolist(), stop]
        for first, last in itertools.pairwise(edges):
            # beyond the ends there may be nothing
            wide = (first - MARGIN * (first == start), last + MARGIN * (last == stop))
            tries = dict.fromkeys((wide, (first, wide[1]), (wide[0], last), (first, last)))
            yield self._first_of(self._channels[ifo], list(tries))

    def parents(self) -> Mapping[str, str]:
        """None: the services do not tell which files they read."""
        return {}

    def _first_of(self, channel: str, spans: list[tuple[float, float]]) -> Stretch:
        problem: Exception | None = None
        for span in spans:
            try:
                return self._get(channel, *span)
            except ValueError as error:
                problem = error
        raise ValueError(str(problem)) from problem

    def _get(self, channel: str, start: float, stop: float) -> Stretch:
        problems: list[Exception] = []
        for service, options in self._services.items():
            try:
                series = TimeSeries.get(channel, start, stop, source=service, **options)
            # whatever a service fails with, the next may succeed; nothing is hidden, all are told
            except Exception as error:
                problems += getattr(error, "exceptions", (error,))
                continue
            return Stretch(
                values=np.asarray(series.value, dtype=np.float64),
                gps_start=float(series.t0.value),
                sample_rate=float(series.sample_rate.value),
                origin=f"{channel} from {service}",
            )
        told = dict.fromkeys(f"{type(p).__name__}: {str(p).splitlines()[0]}" for p in problems)
        raise ValueError(
            f"no service gave {channel} in [{start}, {stop}) ({'; '.join(told)}): "
            f"{_advice(problems)}"
        )


def _services() -> dict[str, dict[str, Any]]:
    """Services at hand, with what each must be told."""
    services: dict[str, dict[str, Any]] = {}
    host = os.environ.get("GWDATAFIND_SERVER")
    if host:
        services["gwdatafind"] = {"host": host}
    if importlib.util.find_spec("nds2"):
        services["nds2"] = {}
    if not services:
        raise ValueError(
            "strain.provider: observatory needs a service: set GWDATAFIND_SERVER (as "
            "datafind.igwn.org) where the files can be reached, or install the client of NDS2 "
            "(python-nds2-client of conda-forge); for either get a credential by "
            "`htgettoken -a vault.ligo.org -i igwn`. Open strain needs none: provider: gwosc"
        )
    return services


def _advice(problems: Sequence[Exception]) -> str:
    text = " ".join(f"{type(p).__name__} {p}" for p in problems).lower()
    if any(word in text for word in ("auth", "401", "403", "token", "credential", "kerberos")):
        return "get a credential by `htgettoken -a vault.ligo.org -i igwn`, then run it again"
    return "check the channel's name and that the service has that time"
