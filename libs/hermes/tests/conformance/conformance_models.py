"""The repository that both transports run, and what its models must answer."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import torch
from hermes import quiver as qv
from onnx import TensorProto, helper, numpy_helper

FLOAT, DOUBLE, INT64 = TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.INT64

SNAPSHOT_SIZE, UPDATE_SIZE, NUM_CHANNELS = 64, 16, 2
# Updates after which nothing of what came before is in the snapshot.
MEMORY = SNAPSHOT_SIZE // UPDATE_SIZE

DIRECT = "direct {}"
OLDEST = "oldest { max_candidate_sequences: 4 }"


def write_repository(root: Path) -> None:
    """Write all models that run."""
    add_scale(root, 1, 2.0)
    add_scale(root, 2, 3.0)
    add_fading(root, "fading_direct", DIRECT, instances=2)
    add_fading(root, "fading_oldest", OLDEST)
    add_fading(root, "fleeting", DIRECT, idle=0.5)
    add_moments(root)
    add_batched(root)
    add_stream(root)
    add_torch_fading(root)
    add_python_fading(root)
    add_exported(root)


def add_broken(root: Path, name: str) -> None:
    """A model that cannot be loaded."""
    folder = add(root, name, 1, "onnxruntime_onnx", [vector("x", 4)], [vector("y", 4)])
    (folder / "model.onnx").write_bytes(b"this is no network")


def vector(name: str, *dims: int, kind: str = "FP32", to: str = "") -> str:
    """Entry of an input or output in a configuration; of a state's with `to`, its output."""
    names = f'input_name: "{name}" output_name: "{to}"' if to else f'name: "{name}"'
    return f"{names} data_type: TYPE_{kind} dims: {list(dims)}"


def add(
    root: Path,
    name: str,
    version: int,
    platform: str,
    inputs: list[str],
    outputs: list[str],
    more: str = "",
    instances: int = 1,
) -> Path:
    """Write a configuration; returns the folder of the version."""
    folder = root / name / str(version)
    folder.mkdir(parents=True)
    runs = 'backend: "python"' if platform == "python" else f'platform: "{platform}"'
    tensors = [f"input {{ {text} }}" for text in inputs]
    tensors += [f"output {{ {text} }}" for text in outputs]
    if platform != "ensemble":
        # Triton's own default differs with the platform and with whether there is a GPU
        tensors.append(f"instance_group {{ kind: KIND_CPU count: {instances} }}")
    (root / name / "config.pbtxt").write_text("\n".join([runs, *tensors, more]))
    return folder


def sequences(strategy: str, states: list[str], idle: float = 60.0) -> str:
    """The part of a configuration that is about sequences."""
    entries = " ".join(f"state {{ {text} }}" for text in states)
    return (
        f"sequence_batching {{ {strategy} max_sequence_idle_microseconds: {round(idle * 1e6)} "
        f"{entries} }}"
    )


def save(path: Path, nodes: list, inputs: dict, outputs: dict, constants: dict) -> None:
    """Write a network; inputs and outputs are type and shape by name."""

    def values(tensors: dict) -> list:
        return [helper.make_tensor_value_info(n, t, s) for n, (t, s) in tensors.items()]

    initializers = [numpy_helper.from_array(np.asarray(v), n) for n, v in constants.items()]
    graph = helper.make_graph(nodes, "graph", values(inputs), values(outputs), initializers)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    onnx.save(model, path)


# y = factor x, in batches


def add_scale(root: Path, version: int, factor: float, name: str = "scale") -> None:
    """Versions that differ in a factor, all served."""
    write_scale(root, version, factor, name, "max_batch_size: 8 version_policy { all {} }")


def write_scale(root: Path, version: int, factor: float, name: str, more: str) -> None:
    folder = add(
        root, name, version, "onnxruntime_onnx", [vector("x", -1)], [vector("y", -1)], more
    )
    save(
        folder / "model.onnx",
        [helper.make_node("Mul", ["x", "factor"], ["y"])],
        {"x": (FLOAT, ["batch", "any"])},
        {"y": (FLOAT, ["batch", "any"])},
        {"factor": np.float32(factor)},
    )


# y = state / 2 + x, which is the state next time: each update of the past counts, in its place


def add_fading(
    root: Path, name: str, strategy: str, instances: int = 1, idle: float = 60.0
) -> None:
    states = [vector("state", 4, to="new_state")]
    more = sequences(strategy, states, idle)
    ports = [vector("x", 4)], [vector("y", 4)]
    folder = add(root, name, 1, "onnxruntime_onnx", *ports, more, instances)
    save(
        folder / "model.onnx",
        [
            helper.make_node("Mul", ["state", "half"], ["faded"]),
            helper.make_node("Add", ["faded", "x"], ["y"]),
            helper.make_node("Identity", ["y"], ["new_state"]),
        ],
        {"x": (FLOAT, [4]), "state": (FLOAT, [4])},
        {"y": (FLOAT, [4]), "new_state": (FLOAT, [4])},
        {"half": np.float32(0.5)},
    )


def fading(updates: np.ndarray) -> np.ndarray:
    """What it must answer to updates (number of updates, 4)."""
    state = np.zeros_like(updates[0])
    answers = []
    for x in updates:
        state = state * np.float32(0.5) + x
        answers.append(state)
    return np.stack(answers)


class TorchFading(torch.nn.Module):
    def forward(self, x: torch.Tensor, state: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        y = state * 0.5 + x
        return y, y


def add_torch_fading(root: Path) -> None:
    """The same in TorchScript, where answer and state are one memory."""
    more = sequences(OLDEST, [vector("state__1", 4, to="new_state__1")])
    folder = add(
        root,
        "fading_torch",
        1,
        "pytorch_libtorch",
        [vector("x__0", 4)],
        [vector("y__0", 4)],
        more,
    )
    torch.jit.trace(TorchFading(), (torch.ones(4), torch.ones(4))).save(folder / "model.pt")


_PYTHON_FADING = """
import json

import numpy as np
import torch
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    def initialize(self, args):
        config = json.loads(args["model_config"])
        self.size = int(config["input"][0]["dims"][0])
        output = pb_utils.get_output_config_by_name(config, "y")
        self.dtype = pb_utils.triton_string_to_numpy(output["data_type"])
        self.states = {}

    def execute(self, requests):
        responses = []
        for request in requests:
            x = np.from_dlpack(pb_utils.get_input_tensor_by_name(request, "x"))
            number = request.correlation_id()
            if request.flags() & pb_utils.TRITONSERVER_REQUEST_FLAG_SEQUENCE_START:
                self.states[number] = np.zeros(self.size, self.dtype)
            if np.isnan(x).any():
                error = pb_utils.TritonError("x is not a number")
                responses.append(pb_utils.InferenceResponse(error=error))
                continue
            y = self.states[number] * self.dtype(0.5) + x
            self.states[number] = y.copy()
            if request.flags() & pb_utils.TRITONSERVER_REQUEST_FLAG_SEQUENCE_END:
                del self.states[number]
            # Triton's own module of this name takes no array of numpy 2, but a tensor
            answer = pb_utils.Tensor.from_dlpack("y", torch.from_numpy(y))
            responses.append(pb_utils.InferenceResponse([answer]))
        return responses
"""


def add_python_fading(root: Path) -> None:
    """The same in Python, which keeps the state itself."""
    more = sequences(OLDEST, [])
    folder = add(root, "fading_python", 1, "python", [vector("x", 4)], [vector("y", 4)], more)
    (folder / "model.py").write_text(_PYTHON_FADING)


# three states of three types, of which two begin with something else than 0


def add_moments(root: Path) -> None:
    """Running sum and number of updates, and the update before."""
    first_sum = np.array([1.0, 2.0, 3.0])
    states = [
        vector("sum", 3, kind="FP64", to="new_sum")
        + ' initial_state { name: "a" data_type: TYPE_FP64 dims: [3] data_file: "first_sum" }',
        vector("count", 1, kind="INT64", to="new_count")
        + ' initial_state { name: "b" data_type: TYPE_INT64 dims: [1] zero_data: true }',
        vector("before", 3, to="x_again"),
    ]
    outputs = [vector("mean", 3, kind="FP64"), vector("step", 3)]
    folder = add(
        root,
        "moments",
        1,
        "onnxruntime_onnx",
        [vector("x", 3)],
        outputs,
        sequences(OLDEST, states),
    )
    values = folder.parent / "initial_state"
    values.mkdir()
    (values / "first_sum").write_bytes(first_sum.tobytes())
    save(
        folder / "model.onnx",
        [
            helper.make_node("Cast", ["x"], ["x_double"], to=DOUBLE),
            helper.make_node("Add", ["sum", "x_double"], ["new_sum"]),
            helper.make_node("Add", ["count", "one"], ["new_count"]),
            helper.make_node("Cast", ["new_count"], ["count_double"], to=DOUBLE),
            helper.make_node("Div", ["new_sum", "count_double"], ["mean"]),
            helper.make_node("Sub", ["x", "before"], ["step"]),
            helper.make_node("Identity", ["x"], ["x_again"]),
        ],
        {
            "x": (FLOAT, [3]),
            "sum": (DOUBLE, [3]),
            "count": (INT64, [1]),
            "before": (FLOAT, [3]),
        },
        {
            "mean": (DOUBLE, [3]),
            "step": (FLOAT, [3]),
            "new_sum": (DOUBLE, [3]),
            "new_count": (INT64, [1]),
            "x_again": (FLOAT, [3]),
        },
        {"one": np.array([1])},
    )


def moments(updates: np.ndarray) -> list[dict[str, np.ndarray]]:
    """What it must answer to updates (number of updates, 3)."""
    total = np.array([1.0, 2.0, 3.0])
    before = np.zeros(3, np.float32)
    answers = []
    for number, x in enumerate(updates, start=1):
        total = total + x.astype(np.float64)
        answers.append({"mean": total / number, "step": x - before})
        before = x
    return answers


# a state with a batch axis


def add_batched(root: Path) -> None:
    """Like `fading_oldest` with a batch axis in front of all tensors."""
    states = [vector("state", 4, to="new_state")]
    folder = add(
        root,
        "batched",
        1,
        "onnxruntime_onnx",
        [vector("x", 4)],
        [vector("y", 4)],
        "max_batch_size: 4\n" + sequences(OLDEST, states),
    )
    save(
        folder / "model.onnx",
        [
            helper.make_node("Mul", ["state", "half"], ["faded"]),
            helper.make_node("Add", ["faded", "x"], ["y"]),
            helper.make_node("Identity", ["y"], ["new_state"]),
        ],
        {"x": (FLOAT, ["batch", 4]), "state": (FLOAT, ["batch", 4])},
        {"y": (FLOAT, ["batch", 4]), "new_state": (FLOAT, ["batch", 4])},
        {"half": np.float32(0.5)},
    )


# snapshots of a stream, and a network on them


def add_stream(root: Path) -> None:
    """An ensemble of a snapshotter, which has a state, and a network, which stands first."""
    shape = [NUM_CHANNELS, SNAPSHOT_SIZE]
    states = [vector("state", *shape, to="new_state")]
    folder = add(
        root,
        "snapshotter",
        1,
        "onnxruntime_onnx",
        [vector("update", NUM_CHANNELS, UPDATE_SIZE)],
        [vector("snapshot", *shape)],
        sequences(OLDEST, states),
    )
    save(
        folder / "model.onnx",
        [
            helper.make_node("Concat", ["state", "update"], ["longer"], axis=1),
            helper.make_node("Slice", ["longer", "begin", "end", "axis"], ["snapshot"]),
            helper.make_node("Identity", ["snapshot"], ["new_state"]),
        ],
        {"state": (FLOAT, shape), "update": (FLOAT, [NUM_CHANNELS, UPDATE_SIZE])},
        {"snapshot": (FLOAT, shape), "new_state": (FLOAT, shape)},
        {
            "begin": np.array([UPDATE_SIZE]),
            "end": np.array([SNAPSHOT_SIZE + UPDATE_SIZE]),
            "axis": np.array([1]),
        },
    )
    for version, scale in ((1, 1.0), (2, 100.0)):
        write_net(root, version, scale)
    scheduling = """
    parameters { key: "hermes.memory" value { string_value: "%d" } }
    ensemble_scheduling {
      step { model_name: "net" model_version: 1
             input_map { key: "window" value: "snapshot" } output_map { key: "y" value: "score" } }
      step { model_name: "snapshotter" model_version: -1
             input_map { key: "update" value: "strain" }
             output_map { key: "snapshot" value: "snapshot" } }
    }"""
    add(
        root,
        "stream",
        1,
        "ensemble",
        [vector("strain", NUM_CHANNELS, UPDATE_SIZE)],
        [vector("score", NUM_CHANNELS, 8)],
        scheduling % MEMORY,
    )


def net_weights(scale: float) -> np.ndarray:
    weights = np.random.default_rng(0).normal(size=(SNAPSHOT_SIZE, 8))
    return (scale * weights).astype(np.float32)


def write_net(root: Path, version: int, scale: float) -> None:
    folder = add(
        root,
        "net",
        version,
        "onnxruntime_onnx",
        [vector("window", NUM_CHANNELS, SNAPSHOT_SIZE)],
        [vector("y", NUM_CHANNELS, 8)],
        "version_policy { all {} }",
    )
    save(
        folder / "model.onnx",
        [
            helper.make_node("MatMul", ["window", "weights"], ["linear"]),
            helper.make_node("Tanh", ["linear"], ["y"]),
        ],
        {"window": (FLOAT, [NUM_CHANNELS, SNAPSHOT_SIZE])},
        {"y": (FLOAT, [NUM_CHANNELS, 8])},
        {"weights": net_weights(scale)},
    )


def snapshots(updates: np.ndarray) -> np.ndarray:
    """The windows of updates (number of updates, channels, update size), zeros in front."""
    joined = np.concatenate(list(updates), axis=1)
    padded = np.pad(joined, ((0, 0), (SNAPSHOT_SIZE, 0)))
    ends = SNAPSHOT_SIZE + UPDATE_SIZE * np.arange(1, len(updates) + 1)
    return np.stack([padded[:, end - SNAPSHOT_SIZE : end] for end in ends])


# a torch network as users export it, with windows of a stream in front

STRIDE, WINDOWS = 4, 4


def make_network() -> torch.nn.Module:
    torch.manual_seed(1)
    features = 3 * (SNAPSHOT_SIZE - 4)
    return torch.nn.Sequential(
        torch.nn.Conv1d(NUM_CHANNELS, 3, 5),
        torch.nn.ReLU(),
        torch.nn.Flatten(),
        torch.nn.Linear(features, 1),
    ).eval()


def add_exported(root: Path) -> None:
    repository = qv.ModelRepository(root)
    model = repository.add("exported", platform=qv.Platform.TORCHSCRIPT)
    model.export_version(
        make_network(),
        input_shapes={"window": (None, NUM_CHANNELS, SNAPSHOT_SIZE)},
        output_names=["score"],
    )
    ensemble = repository.add("exported_stream", platform=qv.Platform.ENSEMBLE)
    ensemble.add_streaming_inputs(
        model.inputs["window"], stream_size=STRIDE, batch_size=WINDOWS, name="exported_windows"
    )
    ensemble.add_output(model.outputs["score"])
    ensemble.export_version(None)


def exported_scores(stream: np.ndarray) -> np.ndarray:
    """What the exported ensemble must answer to a whole stream (channels, samples)."""
    padded = torch.nn.functional.pad(torch.from_numpy(stream), (SNAPSHOT_SIZE, 0))
    windows = padded.unfold(1, SNAPSHOT_SIZE, STRIDE)[:, 1:].permute(1, 0, 2)
    with torch.no_grad():
        return make_network()(windows).numpy()
