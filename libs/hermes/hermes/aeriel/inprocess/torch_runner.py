"""Runs a TorchScript file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from hermes.errors import InferenceError, RepositoryError
from hermes.quiver.tensor import number_of

from .checking import TensorSpec, writeable


class TorchRunner:
    """A TorchScript module, on the GPU where there is one.

    Tensors are known by position: `h_of_t__0` is the first, as Triton reads the names. The graph
    is run as it was saved, without the optimization by which the first two calls may give other
    roundings than later ones.

    Args:
        path: The file.
        inputs: What the configuration says that it takes, states and controls included.
        outputs: What the configuration says that it gives, states included.
        state_names: Those of the outputs that are given back with the next request; they are
            copied, since a module may return one memory under two names.
        gpu: Whether it may run on a GPU.
        threads: Threads that compute one request, of all of this process's torch; None leaves
            them as they are.

    Raises:
        RepositoryError: The file cannot be loaded.
    """

    def __init__(
        self,
        path: Path,
        inputs: tuple[TensorSpec, ...],
        outputs: tuple[TensorSpec, ...],
        state_names: frozenset[str],
        gpu: bool,
        threads: int | None,
    ) -> None:
        self._device = torch.device("cuda" if gpu and torch.cuda.is_available() else "cpu")
        if threads is not None:
            torch.set_num_threads(threads)
        try:
            self._module = torch.jit.load(str(path), map_location=self._device).eval()
        except (RuntimeError, ValueError) as error:
            reason = str(error).strip().splitlines()[-1]
            raise RepositoryError(f"{path} is no TorchScript file: {reason}") from error
        self._path = path
        self._inputs = _by_place(inputs)
        self._outputs = _by_place(outputs)
        self._copied = state_names

    def run(self, inputs: dict[str, np.ndarray], _request: object = None) -> dict[str, np.ndarray]:
        """Compute the outputs, by name."""
        with torch.inference_mode(), torch.jit.optimized_execution(False):
            arguments = [
                torch.from_numpy(writeable(inputs[name])).to(self._device) for name in self._inputs
            ]
            results = self._module(*arguments)
        if isinstance(results, torch.Tensor):
            results = (results,)
        if len(results) < len(self._outputs):
            raise InferenceError(
                f"{self._path} gives {len(results)} tensors, its config.pbtxt says "
                f"{len(self._outputs)}: {', '.join(self._outputs)}"
            )
        return {
            name: result.numpy(force=True).copy()
            if name in self._copied
            else result.numpy(force=True)
            for name, result in zip(self._outputs, results, strict=False)
        }


def _by_place(specs: tuple[TensorSpec, ...]) -> list[str]:
    return sorted((spec.name for spec in specs), key=lambda name: number_of(name) or 0)
