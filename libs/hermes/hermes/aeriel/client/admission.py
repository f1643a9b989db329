"""How many requests may be under way, and how fast they may follow one another."""

from __future__ import annotations

import threading
import time
from collections import deque
from concurrent.futures import Future


class Gate:
    """Lets a limited number in; others wait in the order in which they came.

    Args:
        limit: How many may be inside.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._inside = 0
        self._aside = 0
        self._waiting: deque[Future[None]] = deque()
        self._changed = threading.Condition()
        self._closed: Exception | None = None

    def enter(self, waits: bool = True, aside: bool = False) -> Future[None] | None:
        """Go in.

        Args:
            waits: False goes in above the limit.
            aside: Goes in without being counted.

        Returns:
            None: inside. Otherwise what is done as soon as a place is free, and then is this
            caller's; a waiting caller that cancels it has left the line.

        Raises:
            Exception: The gate is closed, with the reason given there.
        """
        with self._changed:
            if self._closed is not None:
                raise self._closed
            if aside:
                self._aside += 1
                return None
            if waits and self._inside >= self._limit:
                place: Future[None] = Future()
                self._waiting.append(place)
                return place
            self._inside += 1
            return None

    def leave(self, aside: bool = False) -> None:
        """Go out; the first in the line takes the place, if it was counted."""
        with self._changed:
            if aside:
                self._aside -= 1
                self._changed.notify_all()
                return
            if self._inside <= self._limit:
                while self._waiting:
                    place = self._waiting.popleft()
                    if place.set_running_or_notify_cancel():
                        place.set_result(None)
                        return
            self._inside -= 1
            self._changed.notify_all()

    def close(self, reason: Exception) -> None:
        """Let nobody in any more; who waits gets the reason."""
        with self._changed:
            self._closed = reason
            waiting, self._waiting = self._waiting, deque()
        for place in waiting:
            if place.set_running_or_notify_cancel():
                place.set_exception(reason)

    def drain(self, but: int = 0, timeout: float | None = None) -> None:
        """Wait until nobody is inside.

        Args:
            but: Number of those who are not waited for.
            timeout: How long to wait at most [s]; None for as long as it takes.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._inside + self._aside <= but, timeout)


class Pace:
    """A token bucket: so many a second on average, and a short burst above it.

    Args:
        rate: How many a second [Hz]; None for any.
        burst_length: Time whose share may come at once after a pause [s].
    """

    def __init__(self, rate: float | None, burst_length: float = 0.05) -> None:
        self._interval = 1 / rate if rate else 0.0
        self._burst_length = burst_length
        self._next = 0.0
        self._lock = threading.Lock()

    def reserve(self) -> float:
        """Take the next token; returns how long to sleep before it is there [s]."""
        if not self._interval:
            return 0.0
        with self._lock:
            now = time.monotonic()
            due = max(self._next, now - self._burst_length)
            self._next = due + self._interval
        return max(0.0, due - now)
