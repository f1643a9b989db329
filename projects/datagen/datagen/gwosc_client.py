"""Asking the public archive, GWOSC, through its own client."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TypeVar

import requests
import tenacity
from gwosc.api import DEFAULT_URL

from datagen.retry import with_retries

T = TypeVar("T")


def server() -> str:
    """Address of the archive: that of the gwosc client, read anew at each call."""
    return os.environ.get("GWOSC_SERVER_URL", DEFAULT_URL).rstrip("/")


def ask(what: str, request: Callable[[], T]) -> T:
    """Answer of the archive to a request of the client.

    The client itself tries ten times where the server is slow or busy; what it gives up at once,
    broken connections and broken answers, is tried again here.

    Args:
        what: What is asked for, for messages.
        request: Calls the client.

    Raises:
        ValueError: There is no answer, or it is a refusal; says which server and why.
    """
    passing = (
        requests.ConnectionError,
        requests.exceptions.ChunkedEncodingError,
        requests.JSONDecodeError,
    )
    try:
        return with_retries(request, what, retry_on=passing)
    except tenacity.RetryError as error:
        last = error.last_attempt
        reason = last.exception() or f"status {last.result().status_code}"
        raise ValueError(
            f"{server()} gave no {what}, tried {last.attempt_number} times ({reason}): try again "
            "later, or name a file in the experiment"
        ) from error
    except requests.HTTPError as error:
        raise ValueError(
            f"{server()} has no {what} ({error}): check the flags and detectors of the experiment"
        ) from error
    except requests.RequestException as error:
        raise ValueError(
            f"{server()} cannot be reached for {what} ({error}): check the network and "
            "GWOSC_SERVER_URL, or name a file in the experiment"
        ) from error
