"""TorchScript files, run by torch."""

import re
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import torch
import triton_python_backend_utils as pb_utils

from triton_server.backends.configuration import Configuration, ConfigurationError
from triton_server.backends.execution import Arrays, FileModel

_INDEXED = re.compile(r".+__(\d+)")


class TorchScriptModel(FileModel):
    """One instance of a TorchScript model.

    Tensors are found by position: `name__0`, `name__1`. Threads: 1, or the parameter
    `INTRA_OP_THREAD_COUNT` of the configuration.
    """

    default_file = "model.pt"

    def load(self, config: Configuration) -> None:
        """Load the module, on the GPU where the instance has one and torch can."""
        torch.set_num_threads(config.read_count("INTRA_OP_THREAD_COUNT", 1))
        gpu = config.device is not None and torch.cuda.is_available()
        self.device = torch.device("cuda", config.device) if gpu else torch.device("cpu")
        self.module = torch.jit.load(str(config.file), map_location=self.device).eval()
        states = config.states
        self.arguments = order_names(
            config.name, "input", [*config.inputs, *(state.input_name for state in states)]
        )
        self.results = order_names(
            config.name, "output", [*config.outputs, *(state.output_name for state in states)]
        )

    def run(self, inputs: Arrays) -> Arrays:
        """Call the module with the inputs by position."""
        with torch.inference_mode():
            results = self.module(*(inputs[name] for name in self.arguments))
        if isinstance(results, torch.Tensor):
            results = (results,)
        if len(results) < len(self.results):
            raise ValueError(
                f"model {self.config.name}: {self.config.file} gives {len(results)} outputs, the "
                f"configuration has {', '.join(self.results)}"
            )
        return dict(zip(self.results, results, strict=False))

    def read(self, tensor: Any) -> torch.Tensor:
        """See `FileModel`."""
        return torch.from_dlpack(tensor).to(self.device)

    def write(self, name: str, array: torch.Tensor) -> Any:
        """See `FileModel`."""
        return pb_utils.Tensor.from_dlpack(name, array.detach().cpu().contiguous())

    def convert(self, array: np.ndarray) -> torch.Tensor:
        """See `FileModel`."""
        return torch.from_numpy(array.copy()).to(self.device)

    def join(self, arrays: Sequence[torch.Tensor]) -> torch.Tensor:
        """See `FileModel`."""
        return torch.cat(list(arrays))

    def keep(self, array: torch.Tensor) -> torch.Tensor:
        """See `FileModel`; a view of an input would hold on to the server's shared memory."""
        return array.clone()


def order_names(model: str, what: str, names: Iterable[str]) -> list[str]:
    """Names of tensors in the order of their positions.

    Raises:
        ConfigurationError: A name has no position, or the positions do not count from 0.
    """
    positions = {}
    for name in names:
        match = _INDEXED.fullmatch(name)
        if match is None:
            raise ConfigurationError(
                f"model {model}: the name of {what} {name} must end with its position, such as "
                f"{name}__0"
            )
        positions[name] = int(match.group(1))
    if sorted(positions.values()) != list(range(len(positions))):
        raise ConfigurationError(
            f"model {model}: positions of the {what}s {', '.join(positions)} must count from 0"
        )
    return sorted(positions, key=positions.__getitem__)
