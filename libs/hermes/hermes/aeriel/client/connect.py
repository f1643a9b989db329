"""From an address to what carries requests there."""

from __future__ import annotations

import re
from pathlib import Path

from hermes.aeriel.client.transport import Transport

_GRPC = "grpc://"
_HOST_AND_PORT = re.compile(r"(\[[0-9a-fA-F:]+\]|[\w.-]+):\d+")


def connect(address: str | Path, model: str, version: int = -1) -> Transport:
    """Open the way to a model.

    Args:
        address: Folder or URL of a model repository, which is then run in this process; or
            `HOST:PORT` or `grpc://HOST:PORT` of a Triton server.
        model: Name of the model.
        version: Version of it; -1 for the highest that is served.

    Raises:
        ValueError: The repository or the model is not there, or is wrong.
        InvalidRequest: The server has no such model or version.
        ServerUnavailable: No server answers.
    """
    text = str(address)
    if text.startswith(_GRPC) or (_HOST_AND_PORT.fullmatch(text) and not Path(text).exists()):
        from hermes.aeriel.client.triton import Triton

        return Triton(text.removeprefix(_GRPC), model, version)
    # onnxruntime is heavy, and only models in this process need it.
    from hermes.aeriel.inprocess import InProcess

    return InProcess(address, model, version)
