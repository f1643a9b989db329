"""Client of a model, in process or of a Triton server."""

from hermes.aeriel.client.client import InferenceClient
from hermes.aeriel.client.connect import connect
from hermes.aeriel.client.latencies import Latencies
from hermes.aeriel.client.transport import Answer, Request, Transport

__all__ = ["Answer", "InferenceClient", "Latencies", "Request", "Transport", "connect"]
