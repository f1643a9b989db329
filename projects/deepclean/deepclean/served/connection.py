"""The way to one model of a server, opened and waited for in bounded time."""

from __future__ import annotations

import threading
import time
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from hermes.aeriel.client import InferenceClient
from hermes.errors import InferenceError, RepositoryError

from deepclean.served.errors import ServerAway
from deepclean.served.naming import SHA256

IDLE_DURATION = 120.0
"""Time after which a connection that was not used is let go of [s]: versions come and go, while a
cleaner runs for ever."""


@dataclass
class Place:
    """A server, or a repository whose models run in this process.

    Attributes:
        address: `HOST:PORT`, or the folder of the repository.
        patience: Time without any answer after which the server counts as away [s].
        rest: Time for which a server that stayed silent is not asked again [s]: who must keep up
            with the data cannot wait for it each second.
    """

    address: str | Path
    patience: float = 60.0
    rest: float = 0.0
    _silent_until: float = field(default=0.0, repr=False)
    _used: dict[Connection, float] = field(default_factory=dict, repr=False)

    def require_awake(self) -> None:
        """Refuse to ask a server that stayed silent just now.

        Raises:
            ServerAway: It did.
        """
        if time.monotonic() < self._silent_until:
            raise ServerAway(f"{self.address} did not answer within {self.patience:g} s")

    def note_silence(self) -> None:
        """Let the server rest."""
        self._silent_until = time.monotonic() + self.rest

    def note_use(self, connection: Connection) -> None:
        """Take down that a connection is used, and let go of those that are not."""
        now = time.monotonic()
        self._used[connection] = now
        for other, at in list(self._used.items()):
            if now - at > IDLE_DURATION:
                del self._used[other]
                other.drop()

    def close(self) -> None:
        """Let go of all connections; they are opened again when they are used."""
        for connection in list(self._used):
            connection.drop()
        self._used.clear()


@dataclass(eq=False)
class Connection:
    """A client of one model, opened when it is first needed, and anew after a failure.

    Attributes:
        place: Where the model is.
        model: Its name.
        version: Its version.
        sha256: Digest of the network that it must be of.
    """

    place: Place
    model: str
    version: int
    sha256: str
    _client: InferenceClient | None = field(default=None, repr=False)
    _opening: Future[InferenceClient] | None = field(default=None, repr=False)

    def open(self) -> InferenceClient:
        """The client.

        Raises:
            ServerAway: The server does not answer, or does not serve this model.
        """
        self.place.require_awake()
        if self._client is None:
            self._client = self._opened()
        self.place.note_use(self)
        return self._client

    def drop(self) -> None:
        """Let go of the client, and of all that was asked."""
        client, self._client = self._client, None
        if client is not None:
            with suppress(InferenceError):
                client.close(wait=False)

    def _opened(self) -> InferenceClient:
        if self._opening is None:
            # a server that takes a connection and says nothing would hold up the caller
            self._opening = Future()
            threading.Thread(target=self._connect, args=(self._opening,), daemon=True).start()
        opening = self._opening
        try:
            client = opening.result(self.place.patience)
        except TimeoutError:
            self.place.note_silence()
            raise ServerAway(
                f"{self.place.address} did not answer within {self.place.patience:g} s"
            ) from None
        except (InferenceError, RepositoryError, OSError) as error:
            self._opening = None
            raise ServerAway(str(error)) from error
        self._opening = None
        found = client.parameters.get(SHA256, "")
        if found != self.sha256:
            client.close(wait=False)
            raise ServerAway(
                f"{self.model} at {self.place.address} is of network {found[:12] or 'unknown'}, "
                f"expected {self.sha256[:12]}: serve the repository of this store"
            )
        return client

    def _connect(self, opening: Future[InferenceClient]) -> None:
        try:
            opening.set_result(
                InferenceClient(self.place.address, self.model, self.version, deadline=None)
            )
        # whatever it is, it is for the one who waits
        except Exception as error:
            opening.set_exception(error)
