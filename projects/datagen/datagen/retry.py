"""Second tries for what fails in passing."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")
log = logging.getLogger("datagen")


def with_retries(
    function: Callable[[], T],
    describe: str,
    *,
    retry_on: tuple[type[Exception], ...],
    attempts: int = 5,
    first_wait: float = 1.0,
) -> T:
    """Call a function until it succeeds, with longer and longer waits between.

    The waits double each time and have no random part.

    Args:
        function: What to do.
        describe: What it does, for the log.
        retry_on: Errors that may pass; any other is raised at once.
        attempts: How often to try in all.
        first_wait: Wait after the first failure [s].

    Returns:
        What the function returns.

    Raises:
        Exception: The error of the last attempt.
    """
    for attempt in range(1, attempts):
        try:
            return function()
        except retry_on as error:
            wait = first_wait * 2 ** (attempt - 1)
            log.warning(
                "%s: attempt %d of %d failed (%s); next in %g s",
                describe,
                attempt,
                attempts,
                error,
                wait,
            )
            time.sleep(wait)
    return function()
