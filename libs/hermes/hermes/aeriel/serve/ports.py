"""Ports of the loopback interface."""

import contextlib
import socket
from typing import NamedTuple

from hermes.errors import ServerError

HOST = "127.0.0.1"


class Ports(NamedTuple):
    """Where a server listens, in the order of Triton's usual 8000, 8001, 8002."""

    http: int
    grpc: int
    metrics: int


def find_free_ports() -> Ports:
    """Three ports that nobody listens on now.

    Another process may take one before the server does: whoever uses them must be ready to try
    again with others.
    """
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in Ports._fields]
        for each in sockets:
            each.bind((HOST, 0))
        return Ports(*(each.getsockname()[1] for each in sockets))


def check_free(ports: Ports) -> None:
    """Check that a server could listen on each of some ports.

    Raises:
        ServerError: One is taken, or used twice.
    """
    if len(set(ports)) < len(ports):
        raise ServerError(f"ports {', '.join(map(str, ports))}: the three must differ")
    for what, port in zip(Ports._fields, ports, strict=True):
        with socket.socket() as probe:
            # As servers do: a port whose last connections are fading is free.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((HOST, port))
            except OSError as error:
                raise ServerError(
                    f"port {port} ({what}) of {HOST} cannot be used: {error.strerror}; name "
                    "another, or none to have free ones found"
                ) from None


def is_listening(port: int) -> bool:
    """Whether somebody listens on a port."""
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex((HOST, port)) == 0
