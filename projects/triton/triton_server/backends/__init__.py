"""Backends written in Python, by which the server runs ONNX and TorchScript files.

They follow the rules of a full server's own: same configuration, same names, same states.
"""
