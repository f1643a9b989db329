"""Configurations of models: Triton's own text, `config.pbtxt`."""

from __future__ import annotations

import os
import re
from pathlib import PurePosixPath

from google.protobuf import text_format
from tritonclient.grpc.model_config_pb2 import (
    ModelConfig,
    ModelInput,
    ModelInstanceGroup,
    ModelOutput,
    ModelSequenceBatching,
)

from hermes.dtypes import from_config
from hermes.errors import RepositoryError
from hermes.quiver.parameters import COUNTS, VERSIONS, get_count, get_versions
from hermes.quiver.platform import Platform
from hermes.quiver.steps import check_steps
from hermes.quiver.tensor import number_of

FILE = "config.pbtxt"


def parse_config(text: str | bytes, path: str | os.PathLike[str]) -> ModelConfig:
    """Read a configuration and check what can be checked without other models.

    Args:
        text: Content of the file.
        path: Its path or URL, for messages; the folder's name is the model's.

    Raises:
        RepositoryError: The text is none, or says what cannot be; names the file and the field
            or line.
    """
    config = ModelConfig()
    place = os.fspath(path)
    try:
        text_format.Parse(text, config)
    except (text_format.ParseError, UnicodeDecodeError) as error:
        raise RepositoryError(f"{place}: {_explain(error)}") from None
    folder = PurePosixPath(place).parent.name
    if folder and not config.name:
        config.name = folder
    try:
        if folder and config.name != folder:
            raise RepositoryError(f'name is "{config.name}", but the folder is "{folder}"')
        check_config(config)
    except RepositoryError as error:
        raise RepositoryError(f"{place}: {error}") from None
    return config


def format_config(config: ModelConfig) -> str:
    """Text of a configuration, always in the same order; comments are not part of it."""
    return text_format.MessageToString(config, use_short_repeated_primitives=True)


def _explain(error: Exception) -> str:
    match = re.match(r"(\d+):(\d+) : (.*)", str(error), re.DOTALL)
    if not match:
        return f"not the text of a configuration: {error}"
    line, _, reason = match.groups()
    field = re.search(r'has no field named "(\w+)"', reason)
    if field:
        return f'line {line}: unknown field "{field[1]}"'
    return f"line {line}: {reason.strip().splitlines()[-1].lstrip(': ')}"


def check_config(config: ModelConfig) -> None:
    """Stop at the first thing in a configuration that cannot be.

    Raises:
        RepositoryError: Names the field.
    """
    platform = Platform.of(config)
    if config.max_batch_size < 0:
        raise RepositoryError(
            f"max_batch_size is {config.max_batch_size}: it is 0 for a model without a batch "
            "axis, else the largest batch"
        )
    _check_ports("input", config.input, config.max_batch_size)
    _check_ports("output", config.output, config.max_batch_size)
    _check_states(config)
    if platform is Platform.TORCHSCRIPT:
        _check_numbers(config)
    check_running(config)
    _check_policy(config)
    for name in COUNTS:
        get_count(config, name)
    for name in VERSIONS:
        get_versions(config, name)
    check_steps(config, platform)


def check_running(config: ModelConfig) -> None:
    """Check instances and sequences alone, for a configuration without inputs and outputs yet.

    Raises:
        RepositoryError: Names the field.
    """
    _check_instances(config, Platform.of(config))
    _check_strategy(config)


def _check_ports(
    kind: str, ports: list[ModelInput] | list[ModelOutput], max_batch_size: int
) -> None:
    if not ports:
        raise RepositoryError(f"{kind} is missing: a model has at least one")
    seen: set[str] = set()
    for i, port in enumerate(ports):
        if not port.name:
            raise RepositoryError(f"{kind}[{i}].name is missing")
        field = f'{kind} "{port.name}"'
        if port.name in seen:
            raise RepositoryError(f"{field} is there twice")
        seen.add(port.name)
        _check_type(field, port.data_type)
        _check_dims(field, port.dims)


def _check_type(field: str, data_type: int) -> None:
    if not data_type:
        raise RepositoryError(f"{field}: data_type is missing, such as TYPE_FP32")
    try:
        from_config(data_type)
    except ValueError:
        raise RepositoryError(
            f"{field}: data_type is one that arrays of numbers do not have; use TYPE_BOOL, "
            "TYPE_INT8 to TYPE_UINT64 or TYPE_FP16 to TYPE_FP64"
        ) from None


def _check_dims(field: str, dims: list[int], least: int = -1) -> None:
    if not dims:
        raise RepositoryError(f"{field}: dims is missing: lengths of the axes but the batch's")
    for n in dims:
        if n == 0 or n < least:
            raise RepositoryError(
                f"{field}: dims has {n}: a length is above 0"
                + (", or -1 where any length goes" if least < 0 else "")
            )


def _check_states(config: ModelConfig) -> None:
    taken = {
        "input_name": {port.name: "an input" for port in config.input},
        "output_name": {port.name: "an output" for port in config.output},
    }
    for i, state in enumerate(config.sequence_batching.state):
        for field, names in taken.items():
            name = getattr(state, field)
            if not name:
                raise RepositoryError(f"sequence_batching.state[{i}].{field} is missing")
            if name in names:
                raise RepositoryError(
                    f'sequence_batching.state[{i}].{field} "{name}" is the name of {names[name]} '
                    "too: a state is neither an input nor an output"
                )
            names[name] = "another state"
        field = f'state "{state.input_name}"'
        _check_type(field, state.data_type)
        _check_dims(field, state.dims)
        _check_initial(field, state)


def _check_initial(field: str, state: ModelSequenceBatching.State) -> None:
    if len(state.initial_state) > 1:
        raise RepositoryError(f"{field}: initial_state is there twice")
    if not state.initial_state:
        if -1 in state.dims:
            raise RepositoryError(
                f"{field}: dims has -1, so initial_state must say how long it is at first"
            )
        return
    initial = state.initial_state[0]
    field = f"{field}: initial_state"
    if initial.data_type != state.data_type:
        raise RepositoryError(f"{field}.data_type is not the state's data_type")
    _check_dims(field, initial.dims, least=1)
    if len(initial.dims) != len(state.dims) or any(
        n not in (-1, m) for m, n in zip(initial.dims, state.dims, strict=True)
    ):
        raise RepositoryError(
            f"{field}.dims is {list(initial.dims)}, but the state's dims is {list(state.dims)}"
        )
    if initial.WhichOneof("state_data") is None:
        raise RepositoryError(f"{field}: set zero_data: true, or data_file")


def _check_numbers(config: ModelConfig) -> None:
    states = config.sequence_batching.state
    for kind, names in (
        ("input", [p.name for p in config.input] + [s.input_name for s in states]),
        ("output", [p.name for p in config.output] + [s.output_name for s in states]),
    ):
        numbers = [number_of(name) for name in names]
        if sorted(-1 if n is None else n for n in numbers) != list(range(len(names))):
            raise RepositoryError(
                f"{kind} names are {', '.join(names)}: TorchScript knows positions only, so "
                "they end in __0, __1, ... without a gap, as in strain__0"
            )


def _check_instances(config: ModelConfig, platform: Platform) -> None:
    for i, group in enumerate(config.instance_group):
        field = f"instance_group[{i}]"
        if platform is Platform.ENSEMBLE:
            raise RepositoryError(f"{field}: an ensemble has no instances, its steps have")
        if group.count < 0:
            raise RepositoryError(f"{field}.count is {group.count}: it is 1 or more")
        if any(gpu < 0 for gpu in group.gpus):
            raise RepositoryError(f"{field}.gpus has a number below 0")
        if group.gpus and group.kind == ModelInstanceGroup.KIND_CPU:
            raise RepositoryError(f"{field}: kind is KIND_CPU, but gpus are named")


def _check_strategy(config: ModelConfig) -> None:
    sequences = config.sequence_batching
    if sequences.WhichOneof("strategy_choice") == "oldest":
        candidates = sequences.oldest.max_candidate_sequences
        if candidates < 1:
            raise RepositoryError(
                "sequence_batching.oldest.max_candidate_sequences is "
                f"{candidates}: it is how many sequences are held at once, 1 or more"
            )


def _check_policy(config: ModelConfig) -> None:
    policy = config.version_policy
    if policy.WhichOneof("policy_choice") == "specific":
        if not policy.specific.versions:
            raise RepositoryError("version_policy.specific.versions is empty: name those to serve")
        if min(policy.specific.versions) < 1:
            raise RepositoryError("version_policy.specific.versions has a number below 1")
