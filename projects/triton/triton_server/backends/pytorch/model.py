"""Backend of platform `pytorch_libtorch`."""

from triton_server.backends.torchscript_model import TorchScriptModel as TritonPythonModel

__all__ = ["TritonPythonModel"]
