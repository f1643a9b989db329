"""A thread that does things when their time has come."""

from __future__ import annotations

import heapq
import itertools
import threading
import time
from collections.abc import Callable


class Timetable:
    """Does what was asked at its time, and calls one function again and again.

    Args:
        name: The thread's name.
        sweep: Called with the time now; returns when to call it next, None for never [s of
            `time.monotonic`].
    """

    def __init__(self, name: str, sweep: Callable[[float], float | None]) -> None:
        self._sweep = sweep
        self._actions: list[tuple[float, int, Callable[[], None]]] = []
        self._number = itertools.count()
        self._changed = threading.Condition()
        self._stopped = False
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def do(self, delay: float, action: Callable[[], None]) -> None:
        """Do something later.

        Args:
            delay: How much later [s].
            action: What; must not raise.
        """
        with self._changed:
            heapq.heappush(self._actions, (time.monotonic() + delay, next(self._number), action))
            self._changed.notify()

    def stop(self) -> None:
        """End the thread; what was not done is not done any more."""
        with self._changed:
            self._stopped = True
            self._changed.notify()
        if threading.current_thread() is not self._thread:
            self._thread.join()

    def _run(self) -> None:
        while True:
            # Neither is called with the lock held: both may lead to `do`.
            swept = self._sweep(time.monotonic())
            with self._changed:
                if self._stopped:
                    return
                times = [action[0] for action in self._actions[:1]]
                times += [] if swept is None else [swept]
                if not times:
                    self._changed.wait()
                elif (delay := min(times) - time.monotonic()) > 0:
                    self._changed.wait(delay)
                due = []
                while self._actions and self._actions[0][0] <= time.monotonic():
                    due.append(heapq.heappop(self._actions)[2])
                if self._stopped:
                    return
            for action in due:
                action()
