"""Runs a PYTHON model: a `model.py` by Triton's documented interface."""

from __future__ import annotations

import itertools
import json
import sys
import weakref
from pathlib import Path
from types import ModuleType

import numpy as np
from google.protobuf import json_format
from google.protobuf.message import Message
from tritonclient.grpc.model_config_pb2 import ModelConfig

from hermes.aeriel.client.transport import Request
from hermes.errors import InferenceError, RepositoryError

from . import backend_utils
from .checking import writeable

_loads = itertools.count()


class PythonRunner:
    """A `TritonPythonModel` object.

    Args:
        path: The file; what lies beside it can be read by its `initialize`, not imported.
        config: The model's configuration.
        version: The version.

    Raises:
        RepositoryError: The file cannot be run, or its `initialize` fails.
    """

    def __init__(self, path: Path, config: ModelConfig, version: int) -> None:
        if config.sequence_batching.state:
            raise RepositoryError(
                f"the config.pbtxt of {config.name} declares states, which Triton does not give "
                f"to a PYTHON model: keep them in model.py by request.correlation_id(), or "
                f"export the model as ONNX or TORCHSCRIPT"
            )
        # A model that was imported on a server's machine keeps what it got there.
        sys.modules.setdefault("triton_python_backend_utils", backend_utils)
        self._model = (config.name, version)
        self._outputs = [output.name for output in config.output]
        arguments = {
            "model_config": json.dumps(_plain(config)),
            "model_instance_kind": "CPU",
            "model_instance_name": f"{config.name}_0",
            "model_instance_device_id": "0",
            "model_repository": str(path.parent.parent),
            "model_version": str(version),
            "model_name": config.name,
        }
        try:
            self._instance = _load(path).TritonPythonModel()
            if hasattr(self._instance, "initialize"):
                self._instance.initialize(arguments)
            if hasattr(self._instance, "finalize"):
                weakref.finalize(self, self._instance.finalize)
        # whatever a user's file raises
        except Exception as error:
            raise RepositoryError(
                f"{path} cannot be run: {type(error).__name__}: {error}"
            ) from error

    def run(self, inputs: dict[str, np.ndarray], request: Request) -> dict[str, np.ndarray]:
        """Compute the outputs, by name."""
        flags = (
            backend_utils.TRITONSERVER_REQUEST_FLAG_SEQUENCE_START * request.sequence_start
            + backend_utils.TRITONSERVER_REQUEST_FLAG_SEQUENCE_END * request.sequence_end
        )
        asked = backend_utils.InferenceRequest(
            [backend_utils.Tensor(name, writeable(array)) for name, array in inputs.items()],
            self._outputs,
            request.request_id,
            request.sequence_id or 0,
            flags,
            self._model,
        )
        responses = self._instance.execute([asked])
        if responses is None or len(responses) != 1:
            raise InferenceError(
                f"execute of model {self._model[0]} gave {responses!r}, expected one response"
            )
        response = responses[0]
        if response.has_error():
            raise InferenceError(f"model {self._model[0]} says: {response.error().message()}")
        outputs = {tensor.name(): tensor.as_numpy() for tensor in response.output_tensors()}
        missing = [name for name in self._outputs if name not in outputs]
        if missing:
            raise InferenceError(
                f"the response of model {self._model[0]} has {', '.join(outputs) or 'no tensors'}"
                f", without {', '.join(missing)} of its config.pbtxt"
            )
        return {name: outputs[name] for name in self._outputs}


def _load(path: Path) -> ModuleType:
    # A name of its own for each load: a new version must not meet the old one's module. Compiled
    # here, since an import would leave a __pycache__ folder in the repository.
    module = ModuleType(f"hermes_model_{next(_loads)}")
    module.__file__ = str(path)
    code = compile(path.read_bytes(), str(path), "exec")
    sys.modules[module.__name__] = module  # dataclasses look for their module there
    try:
        exec(code, module.__dict__)
    finally:
        del sys.modules[module.__name__]
    return module


def _plain(config: ModelConfig) -> dict:
    """The configuration as Triton hands it to a model: all fields, integers as integers."""
    tree = json_format.MessageToDict(
        config, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
    )
    _to_integers(config, tree)
    return tree


def _to_integers(message: Message, tree: dict) -> None:
    """Undo what JSON by protobuf's rules does to 64 bit integers: it quotes them."""
    for field, value in message.ListFields():
        if field.message_type is not None and field.message_type.GetOptions().map_entry:
            for key, entry in value.items():
                if isinstance(entry, Message):
                    _to_integers(entry, tree[field.name][str(key)])
        elif field.message_type is not None:
            entries = (
                zip(value, tree[field.name], strict=True)
                if _repeated(value)
                else [(value, tree[field.name])]
            )
            for entry, branch in entries:
                _to_integers(entry, branch)
        elif field.cpp_type in (field.CPPTYPE_INT64, field.CPPTYPE_UINT64):
            tree[field.name] = [int(v) for v in value] if _repeated(value) else int(value)
    for field in message.DESCRIPTOR.fields:
        if tree.get(field.name) == "0" and field.cpp_type in (
            field.CPPTYPE_INT64,
            field.CPPTYPE_UINT64,
        ):
            tree[field.name] = 0


def _repeated(value: object) -> bool:
    return not isinstance(value, Message | int)
