"""Servers to watch."""

from __future__ import annotations

import urllib.request
from collections.abc import Collection
from dataclasses import dataclass

from tritonclient.grpc import InferenceServerClient
from tritonclient.utils import InferenceServerException

from hermes.aeriel.monitor.metrics import Counters, ModelVersion, parse_metrics
from hermes.aeriel.serve import Server
from hermes.aeriel.serve.readiness import NO_PROXY

GRPC_PORT = 8001
METRICS_PORT = 8002
# Servers of inference stand on one's own machines, where a proxy to the outside is of no use.
_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


@dataclass(frozen=True)
class Target:
    """A server to watch.

    Attributes:
        metrics_url: Where it tells its metrics.
        grpc_address: HOST:PORT at which it tells the steps of its ensembles; None if unknown.
    """

    metrics_url: str
    grpc_address: str | None = None

    @property
    def name(self) -> str:
        """What the server is called in tables: HOST:PORT of its metrics."""
        return self.metrics_url.removeprefix("http://").split("/")[0]

    def read(self, timeout: float = 5.0) -> dict[ModelVersion, Counters]:
        """What the server has counted.

        Args:
            timeout: Time allowed for the answer [s].

        Raises:
            OSError: It does not answer.
            ValueError: What it answers is not metrics.
        """
        with _OPENER.open(self.metrics_url, timeout=timeout) as answer:
            return parse_metrics(answer.read().decode())

    def expand(self, models: Collection[str], timeout: float = 5.0) -> list[str]:
        """Models, and the steps of those that are ensembles.

        Args:
            models: Names of models.
            timeout: Time allowed for each answer [s].

        Raises:
            OSError: The server does not answer, or has no such model.
        """
        if self.grpc_address is None:
            return list(models)
        found = dict.fromkeys(models)
        with InferenceServerClient(self.grpc_address, channel_args=NO_PROXY) as client:
            waiting = list(models)
            while waiting:
                try:
                    config = client.get_model_config(waiting.pop(), client_timeout=timeout).config
                except InferenceServerException as error:
                    raise OSError(f"{self.grpc_address}: {error.message()}") from None
                steps = [step.model_name for step in config.ensemble_scheduling.step]
                waiting += [name for name in steps if name not in found]
                found |= dict.fromkeys(steps)
        return list(found)


def as_target(server: Server | Target | str) -> Target:
    """What is to be watched, from the ways in which it may be named.

    Args:
        server: A server that this process runs, or its address: a URL or HOST:PORT of its
            metrics, or HOST alone for Triton's usual ports.
    """
    if isinstance(server, Target):
        return server
    if isinstance(server, Server):
        return Target(server.metrics_url, server.address)
    if server.startswith(("http://", "https://")):
        return Target(server)
    if ":" in server:
        return Target(f"http://{server}/metrics")
    return Target(f"http://{server}:{METRICS_PORT}/metrics", f"{server}:{GRPC_PORT}")
