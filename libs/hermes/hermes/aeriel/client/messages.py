"""Requests and answers in the words of the KServe protocol that Triton speaks."""

from __future__ import annotations

import grpc
import numpy as np
from tritonclient.grpc import service_pb2

from hermes import dtypes
from hermes.aeriel.client.transport import Request
from hermes.errors import (
    DeadlineExceeded,
    InferenceError,
    InvalidRequest,
    ServerUnavailable,
)

_KINDS = {
    grpc.StatusCode.INVALID_ARGUMENT: InvalidRequest,
    grpc.StatusCode.NOT_FOUND: InvalidRequest,
    grpc.StatusCode.UNAVAILABLE: ServerUnavailable,
    grpc.StatusCode.CANCELLED: ServerUnavailable,
    grpc.StatusCode.DEADLINE_EXCEEDED: DeadlineExceeded,
}
# On a stream an error is its text alone; the first that fits counts. What is not here is an error
# of the model.
_TEXTS = (
    ("Exceeds maximum queue size", ServerUnavailable),
    ("is not ready", ServerUnavailable),
    ("has no available versions", ServerUnavailable),
    ("unavailable", ServerUnavailable),
    ("must specify the START flag", InvalidRequest),
    ("correlation ID", InvalidRequest),
    ("Request for unknown model", InvalidRequest),
    ("unexpected shape", InvalidRequest),
    ("unexpected inference input", InvalidRequest),
    ("data-type is", InvalidRequest),
    ("inputs but got", InvalidRequest),
    ("batch-size must be", InvalidRequest),
    ("must specify batch-size", InvalidRequest),
)


def encode(request: Request, model: str, version: str) -> service_pb2.ModelInferRequest:
    """The message of a request.

    Args:
        request: The request.
        model: Name of the model.
        version: Its version; empty for the server's choice.
    """
    message = service_pb2.ModelInferRequest(
        model_name=model, model_version=version, id=request.request_id
    )
    for name, array in request.inputs.items():
        message.inputs.add(name=name, datatype=dtypes.to_protocol(array.dtype), shape=array.shape)
        message.raw_input_contents.append(array.tobytes())
    if request.sequence_id is not None:
        # The protocol has 64 bits with a sign, the server reads them without.
        identity = request.sequence_id
        signed = identity - 2**64 if identity >= 2**63 else identity
        message.parameters["sequence_id"].int64_param = signed
        message.parameters["sequence_start"].bool_param = request.sequence_start
        message.parameters["sequence_end"].bool_param = request.sequence_end
    return message


def decode(message: service_pb2.ModelInferResponse) -> dict[str, np.ndarray]:
    """The outputs of an answer by name.

    Raises:
        InferenceError: The answer is damaged, or of a type that arrays do not have.
    """
    if len(message.outputs) != len(message.raw_output_contents):
        raise InferenceError(
            f"the answer announces {len(message.outputs)} outputs and has data of "
            f"{len(message.raw_output_contents)}"
        )
    outputs = {}
    for output, content in zip(message.outputs, message.raw_output_contents, strict=True):
        shape = tuple(output.shape)
        try:
            # A copy, because the message's bytes cannot be written to.
            array = np.frombuffer(content, dtypes.from_protocol(output.datatype)).copy()
            if any(size < 0 for size in shape):
                raise ValueError("a size below 0")
            outputs[output.name] = array.reshape(shape)
        except ValueError as error:
            raise InferenceError(
                f"output {output.name} of {output.datatype}, shape {shape}, {len(content)} bytes "
                f"is no array: {error}"
            ) from error
    return outputs


def error_of_text(text: str) -> InferenceError:
    """What an error's text on a stream means."""
    kind = next((kind for part, kind in _TEXTS if part in text), InferenceError)
    return kind(text)


def error_of_call(error: grpc.RpcError) -> InferenceError:
    """What the failure of a call means."""
    kind = _KINDS.get(error.code(), InferenceError)
    return kind(error.details() or f"the call failed with {error.code()}")
