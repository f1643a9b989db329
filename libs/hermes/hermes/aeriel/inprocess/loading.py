"""From a repository's files to something that runs."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tritonclient.grpc.model_config_pb2 import ModelConfig, ModelInstanceGroup

from hermes.errors import InvalidRequest, RepositoryError
from hermes.quiver.model import Model as StoredModel
from hermes.quiver.platform import Platform
from hermes.quiver.repository import ModelRepository
from hermes.quiver.steps import order_steps

from .checking import TensorSpec, tensor_specs
from .controls import model_controls
from .ensemble import Ensemble, Step
from .models import Model, Runner
from .states import model_states

_log = logging.getLogger("hermes")

# What tells that a file is another one than before, in a folder and in object storage.
_MARKS = ("size", "mtime", "ino", "ETag", "LastModified", "generation")
# By path within a model's folder, what tells the file from another.
Mark = dict[str, str]
# What Triton takes where a configuration says nothing.
_IDLE_LENGTH = 1.0


@dataclass(frozen=True, eq=False)
class Graph:
    """A model or an ensemble, loaded with all that it needs.

    Attributes:
        root: What a request goes to.
        slots: Sequences that can run at the same time; 0 if nothing in it has states.
        idle_length: Time without a request after which a sequence ends by itself [s].
    """

    root: Model | Ensemble
    slots: int
    idle_length: float

    def is_same(self, other: Graph) -> bool:
        """Whether another graph is made of the very same models."""
        return (
            self.root.config == other.root.config
            and self.root.version == other.root.version
            and self.root.models == other.root.models
        )


class Loader:
    """Loads models of one repository, and knows when they must be loaded again.

    Args:
        repository: Folder or URL of the repository.
        threads: Threads that compute one request; None for the libraries' choice.
    """

    def __init__(self, repository: str | Path, threads: int | None) -> None:
        self._repository = ModelRepository(repository)
        self._threads = threads
        self._marks: dict[str, Mark] = {}
        self._loaded: dict[tuple[str, int], tuple[Mark, Model]] = {}

    @property
    def is_local(self) -> bool:
        """Whether to look at the repository costs no more than to look at a folder."""
        return self._repository.store.is_local

    def load(self, name: str, version: int = -1) -> Graph:
        """Load a model; those that it shares with what was loaded last are not loaded again.

        Args:
            name: Its name.
            version: Its version; -1 for the newest that is served.

        Raises:
            RepositoryError: The model, or one that it needs, is not there or broken.
            InvalidRequest: The version is not served.
        """
        self._marks = {"": self._mark("")}
        self._repository.refresh()
        root = self._open(name, version, ())
        self._loaded = {
            key: entry
            for key, entry in self._loaded.items()
            if any(entry[1] is model for model in root.models)
        }
        return Graph(root, *_capacity(root))

    def forget(self) -> None:
        """Let go of the models that the next `load` might use again."""
        self._loaded.clear()

    def has_changed(self) -> bool:
        """Whether anything that the last `load` looked at is not as it was."""
        return any(self._mark(name) != mark for name, mark in self._marks.items())

    def _mark(self, name: str) -> Mark:
        """State of a model's files; the list of models for an empty name."""
        store = self._repository.store
        if not name:
            return dict.fromkeys(store.folders(), "")
        store.fs.invalidate_cache()
        root = store.path(name)
        files = store.fs.find(root, withdirs=True, detail=True)
        # A folder's own times change with what Python leaves there when Triton loads a model.
        return {
            path.removeprefix(root).lstrip("/"): str([info.get(mark) for mark in _MARKS])
            if info["type"] == "file"
            else ""
            for path, info in files.items()
            if "__pycache__" not in path
        }

    def _open(self, name: str, version: int, above: tuple[str, ...]) -> Model | Ensemble:
        if name in above:
            circle = " -> ".join((*above, name))
            raise RepositoryError(f"the ensemble {name} is a step of itself: {circle}")
        self._marks[name] = self._mark(name)
        stored = self._repository.models[name]
        if not above and version not in (-1, *stored.served_versions):
            raise InvalidRequest(
                f"version {version} of model {name} is not served: served are "
                f"{stored.served_versions or 'none'} of {stored.versions or 'none'}"
            )
        number = stored.resolve(version)
        if stored.platform is Platform.ENSEMBLE:
            return self._open_ensemble(stored.config, number, (*above, name))
        mark = {
            path: state
            for path, state in self._marks[name].items()
            if _version(path) in (None, number)
        }
        found = self._loaded.get((name, number))
        if found and found[0] == mark:
            return found[1]
        with _explained(name, number):
            model = self._load(stored, number)
        self._loaded[name, number] = (mark, model)
        return model

    def _open_ensemble(
        self, config: ModelConfig, version: int, above: tuple[str, ...]
    ) -> Ensemble:
        steps = []
        for place in order_steps(config):
            step = config.ensemble_scheduling.step[place]
            model = self._open(step.model_name, step.model_version, above)
            inputs = {port.name for port in model.config.input if not port.optional}
            outputs = {port.name for port in model.config.output}
            if not inputs <= set(step.input_map) or not set(step.output_map) <= outputs:
                raise RepositoryError(
                    f"step[{place}] of the ensemble {config.name} maps the inputs "
                    f"{sorted(step.input_map)} and outputs {sorted(step.output_map)}, but "
                    f"{step.model_name} has {sorted(inputs)} and {sorted(outputs)}"
                )
            steps.append(
                Step(model, tuple(step.input_map.items()), tuple(step.output_map.items()))
            )
        return Ensemble(config, version, steps)

    def _load(self, stored: StoredModel, version: int) -> Model:
        config = ModelConfig()
        config.CopyFrom(stored.config)
        store = self._repository.store
        states = model_states(config, lambda path: store.read(config.name, *path.split("/")))
        controls = model_controls(config)
        outputs = tensor_specs(config.output, config.max_batch_size)
        runner = self._runner(
            stored,
            version,
            tensor_specs(config.input, config.max_batch_size)
            + tuple(TensorSpec(c.name, c.dtype, c.shape) for c in controls)
            + tuple(TensorSpec(s.input_name, s.dtype, s.shape) for s in states),
            outputs + tuple(TensorSpec(s.output_name, s.dtype, s.shape) for s in states),
        )
        return Model(config, version, runner, states, controls)

    def _runner(
        self,
        stored: StoredModel,
        version: int,
        inputs: tuple[TensorSpec, ...],
        outputs: tuple[TensorSpec, ...],
    ) -> Runner:
        # Each library is imported where a model needs it: it may be large, or absent.
        config = stored.config
        gpu = not config.instance_group or any(
            group.kind != ModelInstanceGroup.KIND_CPU for group in config.instance_group
        )
        match stored.platform:
            case Platform.ONNX:
                from .onnx_runner import OnnxRunner

                return OnnxRunner(stored.file(version), inputs, outputs, gpu, self._threads)
            case Platform.TORCHSCRIPT:
                from .torch_runner import TorchRunner

                states = frozenset(state.output_name for state in config.sequence_batching.state)
                return TorchRunner(
                    stored.file(version), inputs, outputs, states, gpu, self._threads
                )
            case Platform.PYTHON:
                from .python_runner import PythonRunner

                return PythonRunner(stored.file(version), config, version)
            case platform:
                raise RepositoryError(
                    f"a {platform.name} model runs on a server only: serve the repository with "
                    f"hermes.aeriel.serve, or export the model as ONNX or TORCHSCRIPT"
                )


@contextmanager
def _explained(name: str, version: int) -> Iterator[None]:
    """Name the model in what goes wrong."""
    try:
        yield
    except (RepositoryError, FileNotFoundError, ImportError) as error:
        raise RepositoryError(
            f"model {name}, version {version}, cannot be loaded: {error}"
        ) from error


def _version(path: str) -> int | None:
    """The version that a path within a model's folder belongs to; None for all."""
    folder = path.split("/")[0]
    return int(folder) if folder.isdecimal() else None


def _capacity(root: Model | Ensemble) -> tuple[int, float]:
    """Slots and idle time of the narrowest model with states."""
    models = root.stateful_models
    if not models:
        return 0, _IDLE_LENGTH
    idle = [m.config.sequence_batching.max_sequence_idle_microseconds for m in models]
    return (
        min(_slots(model.config) for model in models),
        min(microseconds / 1e6 if microseconds else _IDLE_LENGTH for microseconds in idle),
    )


def _slots(config: ModelConfig) -> int:
    """Sequences that a model holds at the same time, by Triton's rules."""
    instances = sum(max(1, group.count) for group in config.instance_group) or 1
    batching = config.sequence_batching
    if batching.HasField("oldest"):
        return instances * max(1, batching.oldest.max_candidate_sequences)
    return instances * max(1, config.max_batch_size)
