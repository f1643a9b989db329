"""Who is told what became of a request."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Any

from hermes.aeriel.client.pending import Pending
from hermes.errors import InferenceError

_log = logging.getLogger("hermes.client")


class Reporter:
    """Tells the caller what became of requests, and keeps the errors that nobody was told.

    Args:
        callback: Called with output, request id and sequence id of each answer.
        on_error: Called with errors; without it, and with a `callback`, they are kept.
    """

    def __init__(
        self,
        callback: Callable[[Any, Any, int | None], object] | None,
        on_error: Callable[[Exception], object] | None,
    ) -> None:
        self._callback = callback
        self._on_error = on_error
        self._lock = threading.Lock()
        self._errors: list[Exception] = []
        self._here = threading.local()

    @property
    def depth(self) -> int:
        """How many requests this thread is telling of: callbacks within callbacks."""
        return getattr(self._here, "depth", 0)

    def tell(self, pending: Pending, output: Any, error: InferenceError | None) -> None:
        """Tell what became of a request.

        Args:
            pending: The request.
            output: Its output, if there is no error.
            error: Why there is none.
        """
        self._here.depth = self.depth + 1
        try:
            if error is not None:
                pending.future.set_exception(error)
                if not pending.quiet:
                    self._report(error)
                return
            pending.future.set_result(output)
            if self._callback is not None and not pending.quiet:
                self._callback(output, pending.request_id, pending.sequence_id)
        except Exception as failure:
            failure.add_note(
                f"in the callback of request {pending.request_id}, sequence {pending.sequence_id}"
            )
            self._report(failure)
        finally:
            self._here.depth -= 1

    def raise_errors(self) -> None:
        """Raise the first error that nobody was told, the others as its notes."""
        if not self._errors:
            return
        with self._lock:
            errors, self._errors = self._errors, []
        if errors:
            for other in errors[1:]:
                errors[0].add_note(f"besides: {other}")
            raise errors[0]

    def _report(self, error: Exception) -> None:
        if self._on_error is not None:
            try:
                self._on_error(error)
            except Exception:
                _log.exception("on_error failed to take: %s", error)
        elif self._callback is not None:
            with self._lock:
                self._errors.append(error)
