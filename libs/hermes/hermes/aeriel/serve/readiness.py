"""Which models a server serves, and why not the others."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from tritonclient.grpc import InferenceServerClient
from tritonclient.utils import InferenceServerException

# Nothing between this machine and itself, whatever the variables of the environment say.
NO_PROXY = [("grpc.enable_http_proxy", 0)]


@dataclass
class ModelStates:
    """What a server says about its models.

    Attributes:
        ready: Models of which a version is served.
        broken: Reason by model, for those of which none is served; empty if it gave none.
        loading: Models that it is at work on.
    """

    ready: set[str] = field(default_factory=set)
    broken: dict[str, str] = field(default_factory=dict)
    loading: set[str] = field(default_factory=set)


def read_model_states(address: str, server_id: str, timeout: float = 2.0) -> ModelStates | None:
    """Ask a server about its models.

    Args:
        address: HOST:PORT of gRPC.
        server_id: Name that the server was given; another one at the address is not asked.
        timeout: Time allowed for each answer [s].

    Returns:
        What it said; None if it does not answer.
    """
    # A new channel each time: an old one waits ever longer before it tries again.
    with InferenceServerClient(address, channel_args=NO_PROXY) as client:
        try:
            if client.get_server_metadata(client_timeout=timeout).name != server_id:
                return None
            index = client.get_model_repository_index(client_timeout=timeout)
        except InferenceServerException:
            return None
    states = ModelStates()
    for entry in index.models:
        if entry.state == "READY":
            states.ready.add(entry.name)
        elif entry.state == "LOADING":
            states.loading.add(entry.name)
        else:
            # What follows is the stack of the Python that loaded it.
            reason = entry.reason.split("\n\nAt:")[0].strip()
            states.broken[entry.name] = states.broken.get(entry.name) or reason
    for name in states.ready | states.loading:
        states.broken.pop(name, None)
    return states


def describe_broken(broken: Mapping[str, str], names: Collection[str]) -> str:
    """One line per model that is not served, with the server's reason."""
    lines = (f"model {name}: {broken[name] or 'no reason given'}" for name in sorted(names))
    return "\n".join(lines)
