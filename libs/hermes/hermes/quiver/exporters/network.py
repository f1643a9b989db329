"""A torch module while it is exported."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import torch

from hermes.errors import RepositoryError


class Network:
    """Runs a module on arrays.

    Args:
        module: The module; its arguments and results are tensors.
    """

    def __init__(self, module: torch.nn.Module) -> None:
        if not isinstance(module, torch.nn.Module):
            raise RepositoryError(
                f"cannot export a {type(module).__name__}: give a torch.nn.Module or ScriptModule"
            )
        self.module = module

    @property
    def scripted(self) -> bool:
        """Whether it is, or holds, TorchScript."""
        return any(isinstance(part, torch.jit.ScriptModule) for part in self.module.modules())

    @property
    def device(self) -> torch.device:
        """Where its numbers are."""
        tensors = (*self.module.parameters(), *self.module.buffers())
        return tensors[0].device if tensors else torch.device("cpu")

    def dtype(self) -> np.dtype:
        """Type of real numbers of its parameters, or buffers if it has none; else float32.

        Raises:
            RepositoryError: There are several.
        """
        for tensors in (self.module.parameters(), self.module.buffers()):
            types = {tensor.dtype for tensor in tensors if tensor.is_floating_point()}
            if len(types) > 1:
                names = ", ".join(sorted(map(str, types)))
                raise RepositoryError(
                    f"the module holds {names}: say by input_dtypes what its inputs are"
                )
            if types:
                return to_numpy_dtype(types.pop())
        return np.dtype("float32")

    def tensors(self, arrays: Sequence[np.ndarray]) -> tuple[torch.Tensor, ...]:
        """Arguments where the module is."""
        return tuple(torch.from_numpy(array.copy()).to(self.device) for array in arrays)

    def run(self, arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Results of the module.

        Raises:
            RepositoryError: It fails on arrays of these shapes and types, or gives something
                that is not tensors.
        """
        shapes = ", ".join(f"{a.shape} {a.dtype}" for a in arrays)
        try:
            with torch.no_grad():
                results = self.module(*self.tensors(arrays))
        except Exception as error:
            raise RepositoryError(
                f"the module fails on inputs {shapes}: {_first_line(error)}; see input_shapes and "
                "input_dtypes, or give examples"
            ) from error
        if isinstance(results, torch.Tensor):
            results = (results,)
        if not isinstance(results, list | tuple) or not all(
            isinstance(result, torch.Tensor) for result in results
        ):
            raise RepositoryError(
                f"the module gives a {type(results).__name__}: a tensor, or a tuple of tensors, "
                "is needed"
            )
        return [result.detach().cpu().numpy() for result in results]

    @contextmanager
    def evaluating(self) -> Iterator[None]:
        """The module in evaluation mode, for a while."""
        modes = {part: part.training for part in self.module.modules()}
        self.module.eval()
        try:
            yield
        finally:
            for part, training in modes.items():
                part.training = training


def to_numpy_dtype(dtype: torch.dtype) -> np.dtype:
    """The numpy type of a torch one.

    Raises:
        RepositoryError: There is none.
    """
    try:
        return torch.empty(0, dtype=dtype).numpy().dtype
    except TypeError:
        raise RepositoryError(f"no models of type {dtype}: numpy has no such numbers") from None


def _first_line(error: Exception) -> str:
    lines = [line for line in str(error).splitlines() if line.strip()]
    # TorchScript puts the reason last
    return f"{type(error).__name__}: {lines[-1] if lines else ''}"
