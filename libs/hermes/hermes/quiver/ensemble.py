"""Models made of other models of the repository."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from tritonclient.grpc.model_config_pb2 import ModelConfig, ModelEnsembling

from hermes.dtypes import to_config
from hermes.errors import RepositoryError
from hermes.quiver.config import check_config
from hermes.quiver.depth import Depth
from hermes.quiver.model import Model
from hermes.quiver.ordering import find_unordered
from hermes.quiver.sequences import IDLE_TIME
from hermes.quiver.steps import order_steps
from hermes.quiver.tensor import ExposedTensor, fits, show


@dataclass(frozen=True)
class Step:
    """One use of a model in an ensemble.

    Attributes:
        model: The model.
        index: Which step of the ensemble it is.
        inputs: Inputs of this use, by name.
        outputs: Outputs of this use, by name.
    """

    model: Model
    index: int
    inputs: Mapping[str, ExposedTensor]
    outputs: Mapping[str, ExposedTensor]


class EnsembleModel(Model):
    """A model that passes tensors between other models of the same repository.

    A model takes part once, unless `add_step` was asked for further uses.
    """

    @property
    def stateful(self) -> bool:
        """Whether a step is stateful, so that requests belong to sequences."""
        return any(
            self.repository.models[step.model_name].stateful
            for step in self.config.ensemble_scheduling.step
        )

    def add_step(self, model: Model, version: int = -1) -> Step:
        """Use a model, be it for the first time or once more.

        Args:
            model: The model.
            version: Its version; -1 for the one that it serves by itself.

        Returns:
            The step; its tensors go into `add_input`, `pipe` and `add_output`.

        Raises:
            RepositoryError: The model is not of this repository, or the version is not served.
        """
        self._require_own(model)
        if version != -1:
            model.resolve(version)
        index = len(self.config.ensemble_scheduling.step)
        self.config.ensemble_scheduling.step.add(model_name=model.name, model_version=version)
        return self._step(model, index)

    @property
    def steps(self) -> list[Step]:
        """The uses of models, in the order in which they were added."""
        steps = self.config.ensemble_scheduling.step
        return [self._step(self.repository.models[s.model_name], i) for i, s in enumerate(steps)]

    def _step(self, model: Model, index: int) -> Step:
        inputs = {name: replace(tensor, step=index) for name, tensor in model.inputs.items()}
        outputs = {name: replace(tensor, step=index) for name, tensor in model.outputs.items()}
        return Step(model, index, inputs, outputs)

    def _use(self, tensor: ExposedTensor, version: int = -1) -> ModelEnsembling.Step:
        """The step that a tensor belongs to; made where its model takes no part yet."""
        self._require_own(tensor.model)
        steps = self.config.ensemble_scheduling.step
        if tensor.step is not None:
            if tensor.step < len(steps) and steps[tensor.step].model_name == tensor.model.name:
                return steps[tensor.step]
            raise RepositoryError(f"{tensor} is of a step that the ensemble {self.name} lacks")
        uses = [step for step in steps if step.model_name == tensor.model.name]
        if not uses:
            return steps[self.add_step(tensor.model, version).index]
        if len(uses) > 1 or version not in (-1, uses[0].model_version):
            raise RepositoryError(
                f"{tensor.model.name} is used by another step of the ensemble {self.name}: take "
                "the tensor from what add_step returns, to say which use is meant"
            )
        return uses[0]

    def add_input(
        self, tensor: ExposedTensor, version: int = -1, key: str | None = None
    ) -> ExposedTensor:
        """Feed an input of a step from outside.

        Args:
            tensor: Input of a model.
            version: Version of the model, where it takes no part yet.
            key: Name of the ensemble's input; that of the tensor by default. One that exists
                feeds this tensor too.

        Returns:
            The ensemble's input.

        Raises:
            RepositoryError: The tensor has a source already, or the input exists with another
                type or shape.
        """
        key = key or tensor.name
        for known in self._sources(key):
            self._require_equal(known, tensor)
        with self._undo():
            step = self._use(tensor, version)
            self._connect(step, tensor, key)
            if not any(port.name == key for port in self.config.input):
                self.config.input.add(name=key)
            self._describe()
        return self.inputs[key]

    def add_output(
        self, tensor: ExposedTensor, version: int = -1, key: str | None = None
    ) -> ExposedTensor:
        """Give an output of a step to the outside.

        Args:
            tensor: Output of a model.
            version: Version of the model, where it takes no part yet.
            key: Name of the ensemble's output; that of the tensor by default.

        Returns:
            The ensemble's output.

        Raises:
            RepositoryError: The name is taken.
        """
        key = key or tensor.name
        with self._undo():
            step = self._use(tensor, version)
            before = step.output_map.get(tensor.config_name)
            if any(port.name == before for port in self.config.output):
                raise RepositoryError(f"{tensor} is the output {before} of {self.name} already")
            if before != key:
                self._require_free(key)
                step.output_map[tensor.config_name] = key
                for other in self.config.ensemble_scheduling.step:
                    for name, source in other.input_map.items():
                        if source == before:
                            other.input_map[name] = key
            self.config.output.add(name=key)
            self._describe()
        return self.outputs[key]

    def pipe(
        self,
        output: ExposedTensor,
        input: ExposedTensor,
        version: int = -1,
        key: str | None = None,
    ) -> None:
        """Feed an output of one step into an input of another.

        Args:
            output: Output of a model.
            input: Input of a model, of the same type and of a shape that fits.
            version: Version of a model that takes no part yet.
            key: Name of the tensor within the ensemble.

        Raises:
            RepositoryError: Types or shapes do not fit, the input has a source already, or the
                steps would wait for each other.
        """
        self._require_equal(output, input)
        with self._undo():
            source = self._use(output, version)
            name = source.output_map.get(output.config_name)
            if name is None:
                name = key or self._free_name(f"{output.model.name}.{output.name}")
                self._require_free(name)
                source.output_map[output.config_name] = name
            self._connect(self._use(input, version), input, name)
            try:
                order_steps(self.config)
            except RepositoryError as error:
                raise RepositoryError(f"{output} into {input}: {error}") from None

    # streams

    def add_streaming_inputs(
        self,
        inputs: ExposedTensor | Sequence[ExposedTensor],
        stream_size: int,
        batch_size: int = 1,
        name: str = "snapshotter",
        streams_per_gpu: int = 1,
        strategy: str = "direct",
        idle_time: float = IDLE_TIME,
        key: str = "stream",
        version: int = -1,
    ) -> ExposedTensor:
        """Feed overlapping windows of one stream into inputs of steps.

        A model with the stream's tail as its state is added to the repository for that, and
        exported at once. The channels of the stream are those of the inputs, one after the
        other.

        Args:
            inputs: Inputs of models, of shape (batch, channel, time) or (batch, time).
            stream_size: Samples between windows.
            batch_size: Windows per update; an update has `batch_size * stream_size` samples.
            name: Name of the model.
            streams_per_gpu: Sequences held at once: instances for the strategy `direct`,
                candidates for `oldest`.
            strategy: See `Model.use_sequences`.
            idle_time: Time without a request after which a sequence is lost [s].
            key: Name of the ensemble's input, of shape (1, channel, batch_size * stream_size).
            version: Version of the models, where they take no part yet.

        Returns:
            The ensemble's input.

        Raises:
            RepositoryError: The inputs cannot be windows of one stream of this kind.
        """
        from hermes.quiver.streaming.building import build_snapshotter

        tensors = [inputs] if isinstance(inputs, ExposedTensor) else list(inputs)
        if not tensors:
            raise RepositoryError(f"{self.name}: no inputs for {name}")
        hold = partial(_hold, streams=streams_per_gpu, strategy=strategy, idle_time=idle_time)
        model = build_snapshotter(self.repository, tensors, stream_size, batch_size, name, hold)
        with self._adding(model):
            exposed = self.add_input(model.inputs["stream"], key=key)
            for output, tensor in zip(model.outputs.values(), tensors, strict=True):
                self.pipe(output, tensor, version)
            self._describe()
        return exposed

    def add_streaming_output(
        self,
        output: ExposedTensor,
        update_size: int,
        num_updates: int,
        batch_size: int = 1,
        name: str = "averager",
        streams_per_gpu: int = 1,
        strategy: str = "direct",
        idle_time: float = IDLE_TIME,
        key: str | None = None,
    ) -> ExposedTensor:
        """Join overlapping windows from a step to a stream, averaged where they overlap.

        A model is added to the repository for that, as in `add_streaming_inputs`. The stream
        comes `num_updates - 1` windows late.

        Args:
            output: Output of a model, of shape (batch, channel, time) or (batch, time).
            update_size: Samples between windows.
            num_updates: Windows to average over, which the ends of the windows are used for.
            batch_size: Windows per update.
            name: Name of the model.
            streams_per_gpu: See `add_streaming_inputs`.
            strategy: See `Model.use_sequences`.
            idle_time: Time without a request after which a sequence is lost [s].
            key: Name of the ensemble's output; that of `output` by default.

        Returns:
            The ensemble's output, of shape (1, channel, batch_size * update_size).

        Raises:
            RepositoryError: The output cannot be averaged like this.
        """
        from hermes.quiver.streaming.building import build_averager

        hold = partial(_hold, streams=streams_per_gpu, strategy=strategy, idle_time=idle_time)
        model = build_averager(
            self.repository, output, update_size, num_updates, batch_size, name, hold
        )
        with self._adding(model):
            self.pipe(output, model.inputs["windows"])
            return self.add_output(model.outputs["stream"], key=key or output.name)

    @contextmanager
    def _adding(self, model: Model) -> Iterator[None]:
        """Take a model that was made for this ensemble away again if joining it fails."""
        try:
            with self._undo():
                yield
        except BaseException:
            self.repository.remove(model)
            raise

    def _connect(self, step: ModelEnsembling.Step, tensor: ExposedTensor, source: str) -> None:
        known = tensor.model.inputs.get(tensor.name)
        if known is None or known.config_name != tensor.config_name:
            raise RepositoryError(f"{tensor} is not an input of {tensor.model.name}")
        before = step.input_map.get(tensor.config_name)
        if before is not None:
            raise RepositoryError(
                f"{tensor} gets {before} already: to use {tensor.model.name} once more call "
                "add_step"
            )
        step.input_map[tensor.config_name] = source

    def _require_own(self, model: Model) -> None:
        if model.repository is not self.repository or model.name not in self.repository.models:
            raise RepositoryError(
                f"{model.name} is not a model of {self.repository.store.url()}, so the ensemble "
                f"{self.name} cannot use it"
            )

    def _undo(self) -> _Undo:
        return _Undo(self.config)

    def _free_name(self, name: str) -> str:
        names, number = {name, *self._tensor_names()}, 1
        if name not in self._tensor_names():
            return name
        while f"{name}.{number}" in names:
            number += 1
        return f"{name}.{number}"

    def _tensor_names(self) -> set[str]:
        names = {port.name for port in self.config.input}
        for step in self.config.ensemble_scheduling.step:
            names.update(step.output_map.values())
        return names

    def _require_free(self, name: str) -> None:
        if name in self._tensor_names():
            raise RepositoryError(
                f"the ensemble {self.name} has a tensor {name} already: name this one by key"
            )

    def _sources(self, key: str) -> list[ExposedTensor]:
        """Inputs of steps that an input of the ensemble feeds."""
        if not any(port.name == key for port in self.config.input):
            self._require_free(key)
        return [
            tensor
            for step in self.steps
            for tensor in step.inputs.values()
            if self.config.ensemble_scheduling.step[step.index].input_map.get(tensor.config_name)
            == key
        ]

    def _require_equal(self, first: ExposedTensor, second: ExposedTensor) -> None:
        if first.dtype != second.dtype:
            raise RepositoryError(
                f"{first} and {second} cannot be joined in {self.name}: their types differ"
            )
        # as Triton: the batch axis is left out where both leave it out or both have it
        if not fits(first.shape, second.shape) and not fits(_dims(first), _dims(second)):
            raise RepositoryError(
                f"{first} and {second} cannot be joined in {self.name}: shape {show(first.shape)} "
                f"does not fit {show(second.shape)}"
            )
        for whole, batched in ((first, second), (second, first)):
            largest = batched.model.config.max_batch_size
            size = whole.shape[0]
            if batched.shape[0] is None and size is not None and largest and size > largest:
                raise RepositoryError(
                    f"{whole} and {batched} cannot be joined in {self.name}: {size} is more than "
                    f"the largest batch of {batched.model.name}, {largest}: export it with "
                    f"max_batch={size}"
                )

    def _describe(self) -> None:
        """Set what follows from the steps: shapes, types, largest batch, depth."""
        exposed = self._exposed()
        models = [step.model for step in self.steps]
        batched = all(m.config.max_batch_size for m in models) and all(
            tensor.shape[:1] == (None,) for tensor in exposed.values()
        )
        self.config.max_batch_size = min(m.config.max_batch_size for m in models) if batched else 0
        for port in (*self.config.input, *self.config.output):
            tensor = exposed[port.name]
            port.data_type = to_config(tensor.dtype)
            port.dims[:] = [-1 if n is None else n for n in tensor.shape[int(batched) :]]
        depth = self._depth()
        if depth is not None:
            depth.write_to(self.config)

    def _exposed(self) -> dict[str, ExposedTensor]:
        """A tensor of a step for each input and output of the ensemble."""
        exposed: dict[str, ExposedTensor] = {}
        for step in self.steps:
            proto = self.config.ensemble_scheduling.step[step.index]
            for tensors, names in (
                (step.outputs, proto.output_map),
                (step.inputs, proto.input_map),
            ):
                for tensor in tensors.values():
                    name = names.get(tensor.config_name)
                    if name is not None:
                        exposed.setdefault(name, tensor)
        return exposed

    def _depth(self) -> Depth | None:
        """Depth of the outputs; None where no step has a state."""
        if not self.stateful:
            return None
        depths = {port.name: Depth() for port in self.config.input}
        steps = self.config.ensemble_scheduling.step
        for index in order_steps(self.config):
            step = steps[index]
            model = self.repository.models[step.model_name]
            depth = Depth()
            for name in step.input_map.values():
                depth = depth.join(depths[name])
            depth = depth.after(model.config, model.stateful)
            depths.update(dict.fromkeys(step.output_map.values(), depth))
        total = Depth()
        for port in self.config.output:
            total = total.join(depths[port.name])
        return total

    def check(self) -> None:
        """Check the ensemble and how it fits the models that it uses.

        Raises:
            RepositoryError: A step names a model, version or tensor that is not there, an input
                of a step gets nothing, or types or shapes do not fit.
        """
        super().check()
        self.check_graph()
        for model, _ in find_unordered(self):
            raise RepositoryError(
                f"{self.config_path}: {model.name} feeds a state, and may answer in another order "
                "than asked: set dynamic_batching.preserve_ordering in its configuration, or one "
                "instance"
            )

    def check_graph(self) -> None:
        """Check how the ensemble fits the models that it uses, as `check` does.

        Raises:
            RepositoryError: It does not.
        """
        try:
            check_config(self.config)
            self._check_models()
            self._check_tensors()
        except RepositoryError as error:
            raise RepositoryError(f"{self.config_path}: {error}") from None

    def _check_models(self) -> None:
        for i, step in enumerate(self.config.ensemble_scheduling.step):
            field = f"ensemble_scheduling.step[{i}]"
            model = self.repository.models.get(step.model_name)
            if model is None:
                broken = self.repository.broken.get(step.model_name)
                known = ", ".join(sorted(self.repository.models))
                raise RepositoryError(
                    f"{field}.model_name is {step.model_name}, "
                    + (f"which is broken: {broken}" if broken else f"but there are only {known}")
                )
            if model.versions:
                try:
                    model.resolve(step.model_version)
                except RepositoryError as error:
                    raise RepositoryError(f"{field}.model_version: {error}") from None
            for kind, names, tensors in (
                ("input", step.input_map, model.inputs),
                ("output", step.output_map, model.outputs),
            ):
                known_names = [tensor.config_name for tensor in tensors.values()]
                for name in names:
                    if name not in known_names:
                        raise RepositoryError(
                            f"{field}.{kind}_map: {model.name} has no {kind} {name}, its "
                            f"{kind}s are {', '.join(known_names)}"
                        )
            for port in model.config.input:
                if port.name not in step.input_map and not port.optional:
                    raise RepositoryError(
                        f"{field}.input_map: input {port.name} of {model.name} gets nothing"
                    )
            if self.config.max_batch_size > model.config.max_batch_size:
                raise RepositoryError(
                    f"max_batch_size is {self.config.max_batch_size}, but {model.name} takes "
                    f"{model.config.max_batch_size}"
                )

    def _check_tensors(self) -> None:
        seen: dict[str, ExposedTensor] = {
            **{tensor.name: tensor for tensor in self.outputs.values()},
            **{tensor.name: tensor for tensor in self.inputs.values()},
        }
        for step in self.steps:
            proto = self.config.ensemble_scheduling.step[step.index]
            for tensors, names in (
                (step.outputs, proto.output_map),
                (step.inputs, proto.input_map),
            ):
                for tensor in tensors.values():
                    name = names.get(tensor.config_name)
                    if name is not None:
                        self._require_equal(seen.setdefault(name, tensor), tensor)


def _hold(model: Model, streams: int, strategy: str, idle_time: float) -> None:
    """Make room for a number of sequences at once."""
    if strategy == "direct":
        model.scale_instance_group(streams)
    model.use_sequences(strategy, idle_time, candidates=streams)


class _Undo:
    """Restores a configuration when what is done to it fails."""

    def __init__(self, config: ModelConfig) -> None:
        self._config = config
        self._before = ModelConfig()

    def __enter__(self) -> None:
        self._before.CopyFrom(self._config)

    def __exit__(self, kind: type[BaseException] | None, *rest: Any) -> None:
        if kind is not None:
            self._config.CopyFrom(self._before)


def _dims(tensor: ExposedTensor) -> tuple[int | None, ...]:
    """Shape as a configuration has it, without the batch axis where the model has one."""
    return tensor.shape[1:] if tensor.model.config.max_batch_size else tensor.shape
