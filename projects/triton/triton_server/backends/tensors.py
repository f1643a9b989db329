"""Tensors of the Python backend from and to numpy arrays.

The backend was built for NumPy 1: with NumPy 2 its own conversions give wrong values and empty
tensors, without an error. What it exchanges by DLPack is right with both.
"""

import ctypes
from typing import Any

import c_python_backend_utils as native
import numpy as np

_Tensor = native.Tensor
_text_as_numpy = _Tensor.as_numpy
_TEXT_KINDS = "OSU"

# In DLPack's DLTensor a pointer, two numbers for the device and one of axes lie before the code of
# the type: 8 + 2 * 4 + 4 bytes.
_CODE_OFFSET = 20
_CODE_BOOL = 6
_get_pointer = ctypes.pythonapi.PyCapsule_GetPointer
_get_pointer.restype = ctypes.c_void_p
_get_pointer.argtypes = (ctypes.py_object, ctypes.c_char_p)


def to_numpy(tensor: Any) -> np.ndarray:
    """The array that a tensor holds; it shares the tensor's memory.

    Args:
        tensor: A tensor of the backend, on the CPU.
    """
    return np.from_dlpack(tensor)


def from_numpy(name: str, array: np.ndarray) -> Any:
    """A tensor that holds a copy of an array.

    The tensor outlives this call. So the copy lies in memory that its owner keeps for as long:
    a value of onnxruntime, but one made from an array as it is only points to it.

    Args:
        name: Name of the tensor.
        array: The array, of numbers or truth values.
    """
    array = np.ascontiguousarray(array)
    # Late: Python models load without it.
    import onnxruntime

    value = onnxruntime.OrtValue.ortvalue_from_shape_and_type(array.shape, array.dtype)
    value.update_inplace(array)
    capsule = value.__dlpack__()
    if array.dtype == np.bool_:
        _declare_bool(capsule)
    return _Tensor.from_dlpack(name, capsule)


def _declare_bool(capsule: Any) -> None:
    # onnxruntime calls truth values UINT8, and the server would refuse the answer.
    pointer = _get_pointer(capsule, b"dltensor")
    ctypes.c_uint8.from_address(pointer + _CODE_OFFSET).value = _CODE_BOOL


class _LikeTensor(type):
    def __instancecheck__(cls, instance: object) -> bool:
        return isinstance(instance, _Tensor)


class Tensor(metaclass=_LikeTensor):
    """What models that are Python code find as `triton_python_backend_utils.Tensor`.

    Args:
        name: Name of the tensor.
        array: What it holds.
    """

    def __new__(cls, name: str, array: np.ndarray) -> Any:
        """A tensor of the backend."""
        if array.dtype.kind in _TEXT_KINDS:
            return _Tensor(name, array)
        return from_numpy(name, array)

    @staticmethod
    def from_dlpack(name: str, tensor: Any) -> Any:
        """A tensor from a tensor of another library."""
        return _Tensor.from_dlpack(name, tensor)


def install() -> None:
    """Put conversions that work with NumPy 2 in the place of the backend's own.

    To be called before the backend fills `triton_python_backend_utils`.
    """

    def as_numpy(tensor: Any) -> np.ndarray:
        try:
            return to_numpy(tensor)
        except (native.TritonModelException, RuntimeError):
            # Text does not go by DLPack.
            return _text_as_numpy(tensor)

    _Tensor.as_numpy = as_numpy
    native.Tensor = Tensor
