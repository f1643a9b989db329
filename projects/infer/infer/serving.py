"""Where the networks of a search run."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from hermes.aeriel.serve import serve

Transport = Literal["inprocess", "triton"]


@contextmanager
def served(repository: Path, transport: Transport, server: str | None) -> Iterator[str | None]:
    """Address of what runs a repository's models, for as long as the block lasts.

    Args:
        repository: The model repository.
        transport: `inprocess`, or `triton`.
        server: A Triton server that runs already, as HOST:PORT; one is started on this machine
            if None.

    Yields:
        The address, or None where the models run in this process.

    Raises:
        ServerError: The server does not start.
        ValueError: A server is named, but not used.
    """
    if transport == "inprocess":
        if server is not None:
            raise ValueError(
                f"--server {server} has no effect with --transport inprocess: give --transport "
                "triton"
            )
        yield None
    elif server is not None:
        yield server
    else:
        with serve(repository) as instance:
            instance.wait()
            yield instance.address
