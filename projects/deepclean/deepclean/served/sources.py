"""Where versions run: in memory, or on a server."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, Protocol

from cleaning import Model
from hermes.aeriel.serve import serve

from deepclean.models import load_version
from deepclean.served.building import layer_digests
from deepclean.served.connection import Connection, Place
from deepclean.served.naming import model_name
from deepclean.served.predictor import ServedPredictor

Transport = Literal["memory", "inprocess", "triton"]


class Source(Protocol):
    """Gives versions something to run on."""

    def load(self, store: Path, version: int) -> Model:
        """Load a version, its files checked.

        Raises:
            ModelError: It is missing or broken.
        """
        ...

    def require(self, model: Model) -> None:
        """See that a version can be asked now.

        Raises:
            ConnectionError: It cannot.
        """
        ...


class MemorySource:
    """Versions in this process, by torch."""

    def load(self, store: Path, version: int) -> Model:
        """See `Source`."""
        return load_version(store, version)

    def require(self, model: Model) -> None:
        """What is loaded can be asked."""


@dataclass
class ServedSource:
    """Versions on a server, by what `export` made of them.

    Loading asks nothing of the server, which may be away: what it is asked then fails with
    `ServerAway`.

    Attributes:
        place: The server.
    """

    place: Place

    def load(self, store: Path, version: int) -> Model:
        """See `Source`."""
        model = load_version(store, version)
        layers = []
        for i, digest in enumerate(layer_digests(store, version)):
            layer = model.estimator.layers[i]
            network = layer.predictor
            predictor = ServedPredictor(
                Connection(self.place, model_name(version, i), version, digest),
                network.hop_size,
                network.past_size,
                network.future_size,
            )
            layers.append(replace(layer, predictor=predictor))
        return Model(version, replace(model.estimator, layers=tuple(layers)))

    def require(self, model: Model) -> None:
        """See `Source`."""
        for layer in model.estimator.layers:
            if isinstance(layer.predictor, ServedPredictor):
                layer.predictor.require()


@contextmanager
def open_source(
    transport: Transport,
    server: str | None = None,
    repository: Path | None = None,
    patience: float = 60.0,
    rest: float = 0.0,
) -> Iterator[Source]:
    """What versions run on, for as long as the block lasts.

    Args:
        transport: `memory`, `inprocess` (the repository's models in this process), `triton`.
        server: A Triton server, as HOST:PORT; with `triton`, one is started on this machine for
            the repository if None.
        repository: Folder of the repository that `export` made.
        patience: Time without any answer after which the server counts as away [s].
        rest: Time for which a server that stayed silent is not asked again [s].

    Raises:
        ValueError: What is given does not fit the transport.
        ServerError: The server does not start.
    """
    given = {"--server": server, "--repository": repository}
    named = [name for name, value in given.items() if value is not None]
    takes = {
        "memory": [],
        "inprocess": ["--repository"],
        "triton": ["--server", "--repository"],
    }[transport]
    if len(named) != min(1, len(takes)) or not set(named) <= set(takes):
        raise ValueError(
            f"--transport {transport} takes {' or '.join(takes) or 'neither'} of --server and "
            f"--repository, found {' and '.join(named) or 'neither'}"
        )
    with ExitStack() as stack:
        if transport == "memory":
            yield MemorySource()
            return
        if transport == "inprocess":
            # what runs here is never away
            place = Place(Path(repository))
        elif server is not None:
            place = Place(server, patience, rest)
        else:
            instance = stack.enter_context(serve(repository))
            instance.wait()
            place = Place(instance.address, patience, rest)
        stack.callback(place.close)
        yield ServedSource(place)
