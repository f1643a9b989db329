"""Types of numbers, in the three languages that meet here."""

from __future__ import annotations

from typing import TypeVar

import numpy as np
from tritonclient.grpc import model_config_pb2

K = TypeVar("K")
V = TypeVar("V")

# numpy's name, the protocol's, the configuration file's (with TYPE_ before it).
_NAMES = (
    ("bool", "BOOL", "BOOL"),
    ("uint8", "UINT8", "UINT8"),
    ("uint16", "UINT16", "UINT16"),
    ("uint32", "UINT32", "UINT32"),
    ("uint64", "UINT64", "UINT64"),
    ("int8", "INT8", "INT8"),
    ("int16", "INT16", "INT16"),
    ("int32", "INT32", "INT32"),
    ("int64", "INT64", "INT64"),
    ("float16", "FP16", "FP16"),
    ("float32", "FP32", "FP32"),
    ("float64", "FP64", "FP64"),
)
_TO_PROTOCOL = {name: protocol for name, protocol, _ in _NAMES}
_TO_CONFIG = {
    name: model_config_pb2.DataType.Value(f"TYPE_{config}") for name, _, config in _NAMES
}
_FROM_PROTOCOL = {protocol: np.dtype(name) for name, protocol, _ in _NAMES}
_FROM_CONFIG = {value: np.dtype(name) for name, value in _TO_CONFIG.items()}


def to_protocol(dtype: np.dtype) -> str:
    """Name in a request, such as FP32.

    Raises:
        ValueError: The protocol has no such type.
    """
    return _look_up(_TO_PROTOCOL, np.dtype(dtype).name)


def to_config(dtype: np.dtype) -> int:
    """Value in a `config.pbtxt`, such as that of TYPE_FP32.

    Raises:
        ValueError: There is none.
    """
    return _look_up(_TO_CONFIG, np.dtype(dtype).name)


def from_protocol(name: str) -> np.dtype:
    """The numpy type of a request's.

    Raises:
        ValueError: There is none.
    """
    return _look_up(_FROM_PROTOCOL, name)


def from_config(value: int) -> np.dtype:
    """The numpy type of a configuration's.

    Raises:
        ValueError: There is none.
    """
    return _look_up(_FROM_CONFIG, value)


def _look_up(table: dict[K, V], key: K) -> V:
    try:
        return table[key]
    except KeyError:
        known = ", ".join(name for name, _, _ in _NAMES)
        raise ValueError(f"no models of type {key}: types are {known}") from None
