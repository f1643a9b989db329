"""TorchScript as bytes that depend on the network alone."""

from __future__ import annotations

import io
import tempfile
from pathlib import Path

import torch

# Where the code stood, which names this machine's folders; and what the writer adds by itself.
_LEFT_OUT = (".debug_pkl", "version", "byteorder", ".data/serialization_id")


def torchscript_bytes(module: torch.jit.ScriptModule) -> bytes:
    """A network as the content of a file that `torch.jit.load` reads.

    TorchScript keeps, beside the network, the paths of the source files that it was made from, so
    that two environments would write two files. They are left out.

    Args:
        module: The network.
    """
    buffer = io.BytesIO()
    torch.jit.save(module, buffer)
    reader = torch._C.PyTorchFileReader(io.BytesIO(buffer.getvalue()))
    names = [name for name in sorted(reader.get_all_records()) if not name.endswith(_LEFT_OUT)]
    with tempfile.TemporaryDirectory() as folder:
        # the name of the file is that of the archive within
        path = Path(folder) / "model.pt"
        writer = torch._C.PyTorchFileWriter(str(path))
        for name in names:
            record = reader.get_record(name)
            writer.write_record(name, record, len(record))
        writer.write_end_of_file()
        return path.read_bytes()
