"""A Triton server without a container: the binary of the package `nvidia-pytriton`.

The package brings the server and its Python backend. Two backends written in Python, `onnxruntime`
and `pytorch`, make it serve the model repositories that a full server takes.
"""
