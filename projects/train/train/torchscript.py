"""TorchScript as bytes that depend on the network alone."""

from __future__ import annotations

import io
import zipfile

import torch

# Where the code stood, which names this machine's folders, and a number made of all records.
_LEFT_OUT = (".debug_pkl", ".data/serialization_id")
_LONG_AGO = (1980, 1, 1, 0, 0, 0)


def torchscript_bytes(module: torch.jit.ScriptModule) -> bytes:
    """A network as the content of a file that `torch.jit.load` reads.

    TorchScript keeps, beside the network, the paths of the source files that it was made from, so
    that two environments would write two files. They are left out.

    Args:
        module: The network.
    """
    buffer = io.BytesIO()
    torch.jit.save(module, buffer)
    kept = io.BytesIO()
    with zipfile.ZipFile(buffer) as given, zipfile.ZipFile(kept, "w") as archive:
        for name in sorted(given.namelist()):
            if not name.endswith(_LEFT_OUT):
                # not compressed, since the reader maps the file into memory
                archive.writestr(zipfile.ZipInfo(name, _LONG_AGO), given.read(name))
    return kept.getvalue()
