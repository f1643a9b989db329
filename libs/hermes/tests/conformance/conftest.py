"""One suite, two places where the models run: this process, and a Triton server."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from conformance_models import write_repository
from hermes.aeriel.client import InferenceClient, Transport, connect
from hermes.aeriel.serve import Server, find_server, serve

# Ports, processes, models: the time that a busy machine may need [s].
START_TIME = 90.0


@dataclass(frozen=True)
class Place:
    """Where the models run.

    Attributes:
        kind: `inprocess` or `triton`.
        repository: Folder of the models.
        address: What a client is given.
        server: The server, if there is one.
    """

    kind: str
    repository: Path
    address: str
    server: Server | None = None

    def lose(self, *transports: Transport) -> None:
        """Let all states be lost: the server is killed, and comes back."""
        if self.server is None:
            for transport in transports:
                transport.reconnect()
        else:
            self.server.kill()
            self.server.restart()
            self.server.wait(START_TIME)


@contextlib.contextmanager
def open_place(kind: str, repository: Path, models: list[str], control: str) -> Iterator[Place]:
    """Run a repository.

    Args:
        kind: `inprocess` or `triton`.
        repository: Folder of the models.
        models: Those that must be ready.
        control: Whether a server looks for new versions, as `serve` takes it.
    """
    if kind == "inprocess":
        yield Place(kind, repository, str(repository))
        return
    if find_server() is None:
        pytest.skip("no Triton server: projects/triton has no environment")
    with serve(repository, models=models, control=control, timeout=START_TIME) as server:
        server.wait()
        yield Place(kind, repository, server.address, server)


KINDS = ["inprocess", pytest.param("triton", marks=pytest.mark.triton)]


@pytest.fixture(scope="session")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("models") / "repository"
    write_repository(root)
    return root


@pytest.fixture(scope="session", params=KINDS)
def place(request: pytest.FixtureRequest, repository: Path) -> Iterator[Place]:
    models = sorted(path.parent.name for path in repository.glob("*/config.pbtxt"))
    # A server that looks for changes finds the byte code that it left beside a model.py itself,
    # and loads that model again, in the middle of a test.
    with open_place(request.param, repository, models, "none") as opened:
        yield opened


@pytest.fixture
def open_client(place: Place) -> Iterator[Callable[..., InferenceClient]]:
    with contextlib.ExitStack() as stack:

        def open_one(model: str, version: int = -1, **options: object) -> InferenceClient:
            client = InferenceClient(place.address, model, version, **options)
            stack.callback(client.close, wait=False)
            return client

        yield open_one


@pytest.fixture
def open_transport(place: Place) -> Iterator[Callable[..., Transport]]:
    with contextlib.ExitStack() as stack:

        def open_one(model: str, version: int = -1) -> Transport:
            transport = connect(place.address, model, version)
            stack.callback(transport.close)
            return transport

        yield open_one
