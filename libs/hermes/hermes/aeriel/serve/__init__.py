"""Start a Triton server for a model repository, and end it for sure."""

from hermes.aeriel.serve.finding import find_server
from hermes.aeriel.serve.ports import Ports
from hermes.aeriel.serve.server import Server
from hermes.aeriel.serve.serving import serve

__all__ = ["Ports", "Server", "find_server", "serve"]
