"""`python -m export`."""

import logging

from runtime import command_line

from export.build import build_repository

if __name__ == "__main__":
    for noisy in ("onnx_ir", "onnxscript", "torch.onnx"):
        logging.getLogger(noisy).setLevel(logging.ERROR)
    command_line("export", {"build": build_repository})
