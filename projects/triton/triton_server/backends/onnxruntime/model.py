"""Backend of platform `onnxruntime_onnx`."""

from triton_server.backends.onnx_model import OnnxModel as TritonPythonModel

__all__ = ["TritonPythonModel"]
