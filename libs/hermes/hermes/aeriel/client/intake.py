"""Where requests come in."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Hashable
from concurrent.futures import Future
from typing import Any

from hermes.aeriel.client.admission import Gate, Pace
from hermes.aeriel.client.dispatch import Dispatch
from hermes.aeriel.client.reporter import Reporter


class Intake:
    """Takes requests in: waits for a place and for their turn, then has them sent.

    Args:
        gate: Has the places.
        pace: How fast requests may follow one another.
        reporter: Knows whether a thread is in a callback, where it must not wait for a place.
        dispatch: Sends them.

    Attributes:
        dispatch: What sends them.
    """

    def __init__(self, gate: Gate, pace: Pace, reporter: Reporter, dispatch: Dispatch) -> None:
        self._gate = gate
        self._pace = pace
        self._reporter = reporter
        self.dispatch = dispatch

    def submit(
        self,
        x: Any,
        request_id: Hashable,
        sequence_id: int | None,
        start: bool,
        end: bool,
        *,
        quiet: bool = False,
        aside: bool = False,
    ) -> Future[Any]:
        """Wait for a place, and send a request.

        Args:
            x: Array for a model with one input, otherwise arrays by name.
            request_id: The caller's name of it; numbered if None.
            sequence_id: The sequence that it belongs to.
            start: Whether it is the first of its sequence.
            end: Whether it is the last.
            quiet: Whether only the future tells of it.
            aside: Goes in without taking a place.

        Returns:
            What becomes the output.

        Raises:
            InvalidRequest: The client is closed.
        """
        place = self._gate.enter(not self._reporter.depth, aside)
        if place is not None:
            try:
                place.result()
            except BaseException:
                self._give_back(place)
                raise
        delay = self._pace.reserve()
        if delay:
            try:
                time.sleep(delay)
            except BaseException:
                self._gate.leave(aside)
                raise
        return self.dispatch.send(x, request_id, sequence_id, start, end, quiet, aside)

    async def asubmit(
        self,
        x: Any,
        request_id: Hashable,
        sequence_id: int | None,
        start: bool,
        end: bool,
        *,
        quiet: bool = False,
        aside: bool = False,
    ) -> Future[Any]:
        """Like `submit`, in asyncio."""
        place = self._gate.enter(aside=aside)
        if place is not None:
            try:
                await asyncio.wrap_future(place)
            except BaseException:
                self._give_back(place)
                raise
        delay = self._pace.reserve()
        if delay:
            try:
                await asyncio.sleep(delay)
            except BaseException:
                self._gate.leave(aside)
                raise
        return self.dispatch.send(x, request_id, sequence_id, start, end, quiet, aside)

    def _give_back(self, place: Future[None]) -> None:
        if not place.cancel() and not place.cancelled() and place.exception() is None:
            self._gate.leave()
