"""What a PYTHON model imports as `triton_python_backend_utils`.

The part of Triton's documented interface that works on one request at a time: tensors, requests,
responses, errors, reading of the configuration. Shared memory, decoupled responses and calls from
one model to another are not here.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

import numpy as np

from hermes.dtypes import from_protocol, to_protocol

TRITONSERVER_REQUEST_FLAG_SEQUENCE_START = 1
TRITONSERVER_REQUEST_FLAG_SEQUENCE_END = 2


class TritonModelException(Exception):  # noqa: N818 (Triton's name)
    """What a model raises, or meets, when something is wrong."""


class TritonError:
    """Why a request has no answer.

    Args:
        message: The reason.
    """

    def __init__(self, message: str) -> None:
        self._message = message

    def message(self) -> str:
        """The reason."""
        return self._message


class Tensor:
    """A named array.

    Args:
        name: Its name.
        array: A numpy array.
    """

    def __init__(self, name: str, array: np.ndarray) -> None:
        self._name = name
        self._array = np.asarray(array)

    def name(self) -> str:
        """Its name."""
        return self._name

    def as_numpy(self) -> np.ndarray:
        """The array."""
        return self._array

    def shape(self) -> list[int]:
        """Size along each axis."""
        return list(self._array.shape)

    def triton_dtype(self) -> str:
        """Name of the type in the protocol, such as FP32."""
        return to_protocol(self._array.dtype)

    def is_cpu(self) -> bool:
        """Whether it lies in main memory; here it always does."""
        return True

    @staticmethod
    def from_dlpack(name: str, tensor: Any) -> Tensor:
        """Make one of any array that speaks DLPack; no copy is made."""
        if hasattr(tensor, "numpy") and hasattr(tensor, "detach"):
            return Tensor(name, tensor.detach().cpu().numpy())
        return Tensor(name, np.from_dlpack(tensor))

    def to_dlpack(self) -> Any:
        """Hand it to another library; no copy is made."""
        return self._array.__dlpack__()

    def __dlpack__(self, **options: Any) -> Any:
        return self._array.__dlpack__(**options)

    def __dlpack_device__(self) -> tuple[int, int]:
        return self._array.__dlpack_device__()


class InferenceRequest:
    """What a model's `execute` gets.

    Args:
        inputs: Tensors.
        outputs: Names of the outputs that are asked for.
        request_id: The request's name.
        correlation_id: The sequence; 0 if there is none.
        flags: Start and end of the sequence.
        model: Name and version of the model.
        timeout: Time left to it [us]; 0 for any.
    """

    def __init__(
        self,
        inputs: list[Tensor],
        outputs: list[str],
        request_id: str,
        correlation_id: int,
        flags: int,
        model: tuple[str, int],
        timeout: int = 0,
    ) -> None:
        self._inputs = inputs
        self._outputs = outputs
        self._request_id = request_id
        self._correlation_id = correlation_id
        self._flags = flags
        self._model = model
        self._timeout = timeout

    def inputs(self) -> list[Tensor]:
        """Its tensors."""
        return self._inputs

    def requested_output_names(self) -> list[str]:
        """Names of the outputs that are asked for."""
        return self._outputs

    def request_id(self) -> str:
        """Its name."""
        return self._request_id

    def correlation_id(self) -> int:
        """The sequence that it belongs to; 0 if there is none."""
        return self._correlation_id

    def flags(self) -> int:
        """Start and end of a sequence, as bits."""
        return self._flags

    def model_name(self) -> str:
        """Name of the model."""
        return self._model[0]

    def model_version(self) -> int:
        """Version of the model."""
        return self._model[1]

    def timeout(self) -> int:
        """Time left to it [us]; 0 for any."""
        return self._timeout

    def is_cancelled(self) -> bool:
        """Whether nobody waits for the answer; here somebody does."""
        return False


class InferenceResponse:
    """What a model's `execute` gives for a request.

    Args:
        output_tensors: Tensors.
        error: Why there are none.
    """

    def __init__(
        self, output_tensors: Sequence[Tensor] = (), error: TritonError | None = None
    ) -> None:
        self._outputs = list(output_tensors)
        self._error = error

    def output_tensors(self) -> list[Tensor]:
        """Its tensors."""
        return self._outputs

    def has_error(self) -> bool:
        """Whether there is no answer."""
        return self._error is not None

    def error(self) -> TritonError | None:
        """Why there is no answer."""
        return self._error


class Logger:
    """Passes a model's messages on to `logging`."""

    _log = logging.getLogger("hermes.model")
    log = log_info = _log.info
    log_warn = _log.warning
    log_error = _log.error
    log_verbose = _log.debug


def get_input_tensor_by_name(request: InferenceRequest, name: str) -> Tensor | None:
    """An input of a request; None if it has none of that name."""
    return _named(request.inputs(), name)


def get_output_tensor_by_name(response: InferenceResponse, name: str) -> Tensor | None:
    """An output of a response; None if it has none of that name."""
    return _named(response.output_tensors(), name)


def get_input_config_by_name(model_config: dict, name: str) -> dict | None:
    """What the configuration says about an input; None if there is none of that name."""
    return _entry(model_config, "input", name)


def get_output_config_by_name(model_config: dict, name: str) -> dict | None:
    """What the configuration says about an output; None if there is none of that name."""
    return _entry(model_config, "output", name)


def triton_string_to_numpy(triton_type: str) -> type:
    """The numpy type of a configuration's name, such as that of TYPE_FP32."""
    return from_protocol(triton_type.removeprefix("TYPE_")).type


def numpy_to_triton_type(dtype: type | np.dtype) -> str:
    """The configuration's name of a numpy type, such as TYPE_FP32."""
    return f"TYPE_{to_protocol(np.dtype(dtype))}"


def _named(tensors: list[Tensor], name: str) -> Tensor | None:
    return next((tensor for tensor in tensors if tensor.name() == name), None)


def _entry(model_config: dict, kind: str, name: str) -> dict | None:
    return next((entry for entry in model_config.get(kind, ()) if entry["name"] == name), None)
