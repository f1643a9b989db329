"""Networks to TorchScript."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch

from hermes.quiver.exporters.network import Network


def write(network: Network, arrays: Sequence[np.ndarray], path: Path) -> None:
    """Write a network; one that is TorchScript as it is, others as traced on an example.

    The file has no tables of source lines, which hold paths of this machine. Names of classes
    count up within a process, so that only the first export of a process has always the same
    bytes.
    """
    module = network.module
    if not isinstance(module, torch.jit.ScriptModule):
        module = torch.jit.trace(module, network.tensors(arrays), check_trace=False)
    whole = path.with_suffix(".whole")
    torch.jit.save(module, str(whole))
    reader = torch._C.PyTorchFileReader(str(whole))
    writer = torch._C.PyTorchFileWriter(str(path))
    for name in reader.get_all_records():
        # the writer adds these by itself
        if not name.endswith(".debug_pkl") and name not in ("version", ".data/serialization_id"):
            record = reader.get_record(name)
            writer.write_record(name, record, len(record))
    writer.write_end_of_file()
    del reader
    whole.unlink()


def load(path: Path) -> Callable[[Sequence[np.ndarray]], list[np.ndarray]]:
    """The model as torch runs it on a CPU."""
    module = torch.jit.load(str(path), map_location="cpu")

    def run(arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
        with torch.no_grad():
            results = module(*(torch.from_numpy(array.copy()) for array in arrays))
        results = (results,) if isinstance(results, torch.Tensor) else results
        return [result.numpy() for result in results]

    return run
