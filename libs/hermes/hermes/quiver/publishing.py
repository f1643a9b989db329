"""From a network to a version in the repository."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from tritonclient.grpc.model_config_pb2 import ModelConfig

from hermes.errors import RepositoryError
from hermes.quiver import versions
from hermes.quiver.comparison import require_equal
from hermes.quiver.declaration import Declaration, make_port, to_dtype
from hermes.quiver.ensemble import EnsembleModel
from hermes.quiver.ordering import keeping_order
from hermes.quiver.parameters import MEMORY, WARM_UP, set_text
from hermes.quiver.platform import Platform
from hermes.quiver.samples import BATCH, draw, resize
from hermes.quiver.sequences import set_sequence_defaults
from hermes.quiver.signature import Port, Signature, read_signature, write_signature
from hermes.quiver.tensor import fits

if TYPE_CHECKING:
    from hermes.quiver.exporters.network import Network
    from hermes.quiver.model import Model

log = logging.getLogger("hermes")


def export(model: Model, source: Any, version: int | None, declaration: Declaration) -> int:
    """Make a version, check it, and put it in place; see `Model.export_version`."""
    config = ModelConfig()
    config.CopyFrom(model.current_config())
    there = model.versions
    if version is None:
        version = max(there, default=0) + 1
    if version < 1 or version in there:
        raise RepositoryError(
            f"{model.repository.store.url(model.name)}: version {version} cannot be made, "
            + ("it exists" if version in there else "versions count from 1")
        )
    with model.repository.store.staging() as stage:
        folder = stage / str(version)
        folder.mkdir()
        try:
            _make(model, config, source, folder / model.file_name, declaration)
        except RepositoryError as error:
            raise RepositoryError(f"{model.name} version {version}: {error}") from error
        for name, count in ((MEMORY, declaration.memory), (WARM_UP, declaration.warm_up)):
            if count is not None:
                set_text(config, name, str(count))
        versions.admit(config, version)
        if config.HasField("sequence_batching"):
            set_sequence_defaults(config)
        text = model.changed_text(config)
        ordered = keeping_order(model) if isinstance(model, EnsembleModel) else nullcontext()
        try:
            with ordered:
                model.repository.store.publish(stage, model.name, version, text)
        except FileExistsError as error:
            raise RepositoryError(f"{model.name} version {version}: {error}") from None
    model.config.CopyFrom(config)
    model.remember()
    log.info("%s: version %d", model.repository.store.url(model.name), version)
    return version


def _make(
    model: Model, config: ModelConfig, source: Any, path: Path, declaration: Declaration
) -> None:
    match model.platform:
        case Platform.ENSEMBLE:
            if source is not None:
                raise RepositoryError("an ensemble has no network: export None")
            if isinstance(model, EnsembleModel):
                model.check_graph()
            path.touch()
        case Platform.PYTHON:
            from hermes.quiver.exporters import python

            path.write_text(python.read(source))
            if not config.input:
                _describe_python(config, declaration)
            else:
                declaration.require_equal(read_signature(config))
        case _:
            _export_network(model.platform, config, source, path, declaration)


def _describe_python(config: ModelConfig, declaration: Declaration) -> None:
    if declaration.states:
        raise RepositoryError(
            "Triton keeps no states for models in Python: keep them in model.py by "
            "correlation_id() and call use_sequences()"
        )
    inputs = declaration.inputs(np.dtype("float32"))
    if not declaration.output_shapes:
        raise RepositoryError("output_shapes is missing: nothing tells what a model.py gives")
    outputs = [
        make_port("output", name, shape, to_dtype(declaration.output_dtypes.get(name, np.float32)))
        for name, shape in declaration.output_shapes.items()
    ]
    signature = Signature(inputs, outputs, {})
    batched = declaration.max_batch > 0 and _all_batched(signature)
    write_signature(config, signature, Platform.PYTHON, batched, declaration.max_batch)


def _export_network(
    platform: Platform, config: ModelConfig, source: Any, path: Path, declaration: Declaration
) -> None:
    from hermes.quiver.exporters.network import Network

    if platform is Platform.TENSORRT:
        from hermes.quiver.exporters import tensorrt

        tensorrt.require()
    network = Network(source)
    with network.evaluating():
        known = read_signature(config) if config.input else None
        if known:
            declaration.require_equal(known)
            inputs = list(known.inputs)
        else:
            given = {**declaration.input_dtypes, **declaration.examples}
            complete = set(declaration.input_shapes or ()) <= set(given)
            inputs = declaration.inputs(None if complete else network.dtype())
        arrays = draw(inputs, declaration.examples, seed=0)
        # the same with other lengths, to see which follow the inputs'
        free = [p.shape[0] is None for p in inputs]
        batch = next((len(a) for a, f in zip(arrays, free, strict=True) if f), BATCH)
        larger = resize(draw(inputs, declaration.examples, seed=1), inputs, batch + 1, 2)
        single = resize(draw(inputs, declaration.examples, seed=2), inputs, 1, 1)
        expected = network.run(arrays)
        results = (expected, network.run(larger))
        if known:
            outputs = _require_known(results, known)
            signature = known
        else:
            outputs = _observe(results, declaration.output_names)
            signature = Signature(inputs, outputs, dict(declaration.states or {}))
            if signature.states and config.HasField("dynamic_batching"):
                raise RepositoryError("states need sequences, which cannot be joined to batches")
            batched = (
                declaration.max_batch > 0
                and _all_batched(signature)
                and all(len(r) == batch for r in expected)
                and all(len(r) == batch + 1 for r in results[1])
            )
            write_signature(config, signature, platform, batched, declaration.max_batch)
        samples = [larger, arrays]
        if any(free):
            samples.append(single)

        def check(run: Callable[[Sequence[np.ndarray]], list[np.ndarray]]) -> None:
            found = [run(sample) for sample in samples]
            require_equal(found, [network.run(s) for s in samples], outputs, declaration.tolerance)

        with warnings.catch_warnings():
            # the older exporter is used on purpose, and what a trace may get wrong is checked
            warnings.simplefilter("ignore")
            _write_network(platform, network, arrays, signature, config, path, check)


def _write_network(
    platform: Platform,
    network: Network,
    arrays: Sequence[np.ndarray],
    signature: Signature,
    config: ModelConfig,
    path: Path,
    check: Callable[[Callable], None],
) -> None:
    if platform is Platform.TORCHSCRIPT:
        from hermes.quiver.exporters import torchscript

        torchscript.write(network, arrays, path)
        try:
            check(torchscript.load(path))
        except (RepositoryError, RuntimeError) as error:
            raise RepositoryError(f"{error}; try torch.jit.script of the module") from error
        return
    from hermes.quiver.exporters import onnx

    graph = path if platform is Platform.ONNX else path.with_suffix(".onnx")
    reasons = []
    for convert in onnx.converters(network):
        try:
            onnx.write(convert(network, arrays, signature), graph)
            check(onnx.load(graph, signature.inputs))
            break
        except Exception as error:
            reasons.append(f"{convert.__name__}: {_first_line(error)}")
            log.debug("ONNX by %s", reasons[-1])
    else:
        raise RepositoryError(
            f"no ONNX of this network, export TORCHSCRIPT instead ({'; '.join(reasons)})"
        )
    if platform is Platform.TENSORRT:
        from hermes.quiver.exporters import tensorrt

        tensorrt.write(graph, signature.inputs, config.max_batch_size, path)
        check(tensorrt.load(path, signature.inputs, signature.outputs))
        graph.unlink()


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__


def _all_batched(signature: Signature) -> bool:
    """Whether each has a batch axis and another one, as a configuration with batches asks."""
    ports = (*signature.inputs, *signature.outputs)
    return all(port.shape[0] is None and len(port.shape) > 1 for port in ports)


def _observe(results: Sequence[Sequence[np.ndarray]], names: Sequence[str] | None) -> list[Port]:
    """Outputs by what the network gives on inputs of two sizes."""
    if not names:
        raise RepositoryError("output_names is missing: the first export names what comes out")
    _require_count(results[0], names)
    ports = []
    for name, first, second in zip(names, *results, strict=True):
        if first.ndim != second.ndim:
            raise RepositoryError(f"output {name}: its number of axes depends on the inputs'")
        shape = [n if n == m else None for n, m in zip(first.shape, second.shape, strict=True)]
        ports.append(make_port("output", name, shape, first.dtype))
    if len({port.name for port in ports}) < len(ports):
        raise RepositoryError(f"output_names has a name twice: {', '.join(names)}")
    return ports


def _require_count(found: Sequence[np.ndarray], names: Sequence[str]) -> None:
    if len(found) != len(names):
        raise RepositoryError(
            f"the module gives {len(found)} outputs, but {len(names)} are named: "
            + ", ".join(names)
        )


def _require_known(results: Sequence[Sequence[np.ndarray]], known: Signature) -> list[Port]:
    """Outputs of the configuration, checked against what the network gives."""
    _require_count(results[0], [port.name for port in known.outputs])
    for arrays in results:
        for array, port in zip(arrays, known.outputs, strict=True):
            if array.dtype != port.dtype or not fits(array.shape, port.shape):
                raise RepositoryError(
                    f"the module gives {array.shape} {array.dtype} as output {port}: versions of "
                    "a model share its configuration, so add another model for it"
                )
    return list(known.outputs)
