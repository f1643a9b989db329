"""A repository with a model for each rule, and one server for all tests of the backends."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
import tritonclient.grpc as triton
from onnx import TensorProto, helper

DTYPES = {
    "bool": "BOOL",
    "uint8": "UINT8",
    "uint16": "UINT16",
    "uint32": "UINT32",
    "uint64": "UINT64",
    "int8": "INT8",
    "int16": "INT16",
    "int32": "INT32",
    "int64": "INT64",
    "float16": "FP16",
    "float32": "FP32",
    "float64": "FP64",
}
FLOAT, INT = TensorProto.FLOAT, TensorProto.INT64
START_LIMIT = 90


def write_config(repository: Path, name: str, platform: str, text: str) -> Path:
    version = repository / name / "1"
    version.mkdir(parents=True)
    header = f'name: "{name}"\nplatform: "{platform}"\n'
    (repository / name / "config.pbtxt").write_text(header + text)
    return version


def tensors(kind: str, *entries: tuple[str, str, list[int]]) -> str:
    return "".join(
        f'{kind} {{ name: "{name}" data_type: TYPE_{dtype} dims: {dims} }}\n'
        for name, dtype, dims in entries
    )


def write_onnx(path: Path, nodes, inputs, outputs, initializers=()):
    graph = helper.make_graph(
        nodes,
        "graph",
        [helper.make_tensor_value_info(*entry) for entry in inputs],
        [helper.make_tensor_value_info(*entry) for entry in outputs],
        list(initializers),
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.save(model, path / "model.onnx")


def write_all_types(repository: Path) -> None:
    types = {name: helper.np_dtype_to_tensor_dtype(np.dtype(name)) for name in DTYPES}
    config = "max_batch_size: 0\ninstance_group { kind: KIND_AUTO count: 1 }\n"
    version = write_config(
        repository,
        "onnx-types",
        "onnxruntime_onnx",
        config
        + tensors("input", *((f"in_{n}", t, [2, -1]) for n, t in DTYPES.items()))
        + tensors("output", *((f"out_{n}", t, [2, -1]) for n, t in DTYPES.items())),
    )
    write_onnx(
        version,
        [helper.make_node("Identity", [f"in_{n}"], [f"out_{n}"]) for n in DTYPES],
        [(f"in_{n}", t, [2, "n"]) for n, t in types.items()],
        [(f"out_{n}", t, [2, "n"]) for n, t in types.items()],
    )
    version = write_config(
        repository,
        "torch-types",
        "pytorch_libtorch",
        config
        + tensors("input", *((f"{n}__{i}", t, [2, -1]) for i, (n, t) in enumerate(DTYPES.items())))
        + tensors(
            "output", *((f"{n}__{i}", t, [2, -1]) for i, (n, t) in enumerate(DTYPES.items()))
        ),
    )
    torch.jit.script(Echo()).save(str(version / "model.pt"))


class Echo(torch.nn.Module):
    """Gives back its inputs; their number is that of DTYPES."""

    def forward(
        self,
        a,
        b,
        c,
        d,
        e,
        f,
        g,
        h,
        i,
        j,
        k,
        l,  # noqa: E741
    ):
        return a, b, c, d, e, f, g, h, i, j, k, l


class Shifter(torch.nn.Module):
    """Sums the last three samples and the update, and gives back the update before.

    One state is a view of what was put together, the other the input itself.
    """

    def forward(self, update, tail, last):
        both = torch.cat([tail, update], dim=-1)
        return both.sum(-1, keepdim=True), last, both[..., -3:], update


def stateful(strategy: str, states: str, instances: int = 1, idle: float = 60) -> str:
    return (
        f"instance_group {{ kind: KIND_AUTO count: {instances} }}\n"
        f"sequence_batching {{ {strategy}\n"
        f"max_sequence_idle_microseconds: {int(idle * 1e6)}\n{states} }}\n"
    )


def write_counters(repository: Path) -> None:
    """Sums of updates and their number, begun where the configuration says."""
    states = (
        'state { input_name: "sum_in" output_name: "sum_out" data_type: TYPE_FP64 dims: [2]'
        ' initial_state { name: "sum" data_type: TYPE_FP64 dims: [2] data_file: "sum" } }\n'
        'state { input_name: "number_in" output_name: "number_out" data_type: TYPE_INT64'
        " dims: [1] }\n"
    )
    version = write_config(
        repository,
        "direct",
        "onnxruntime_onnx",
        "max_batch_size: 0\n"
        + tensors("input", ("x", "FP64", [2]), ("place", "INT64", [1]))
        + tensors("output", ("total", "FP64", [2]), ("number", "INT64", [1]))
        + stateful("direct {}", states, instances=2),
    )
    nodes = [
        # Fails where there is no such place.
        helper.make_node("Gather", ["zeros", "place"], ["zero"]),
        helper.make_node("Add", ["x", "zero"], ["update"]),
        helper.make_node("Add", ["update", "sum_in"], ["sum_out"]),
        helper.make_node("Add", ["number_in", "one"], ["number_out"]),
        helper.make_node("Identity", ["sum_out"], ["total"]),
        helper.make_node("Identity", ["number_out"], ["number"]),
    ]
    double = TensorProto.DOUBLE
    write_onnx(
        version,
        nodes,
        [
            ("x", double, [2]),
            ("place", INT, [1]),
            ("sum_in", double, [2]),
            ("number_in", INT, [1]),
        ],
        [
            ("sum_out", double, [2]),
            ("number_out", INT, [1]),
            ("total", double, [2]),
            ("number", INT, [1]),
        ],
        [
            helper.make_tensor("one", INT, [1], [1]),
            helper.make_tensor("zeros", double, [2], [0.0, 0.0]),
        ],
    )
    (version.parent / "initial_state").mkdir()
    np.array([10.0, 20.0]).tofile(version.parent / "initial_state" / "sum")

    state = 'state { input_name: "s" output_name: "t" data_type: TYPE_FP32 dims: [3] }\n'
    version = write_config(
        repository,
        "oldest",
        "onnxruntime_onnx",
        "max_batch_size: 4\n"
        + tensors("input", ("x", "FP32", [3]))
        + tensors("output", ("y", "FP32", [3]))
        + stateful("oldest { max_candidate_sequences: 4 }", state),
    )
    write_onnx(
        version,
        [
            helper.make_node("Add", ["x", "s"], ["t"]),
            helper.make_node("Identity", ["t"], ["y"]),
        ],
        [("x", FLOAT, ["b", 3]), ("s", FLOAT, ["b", 3])],
        [("y", FLOAT, ["b", 3]), ("t", FLOAT, ["b", 3])],
    )


def write_shifter(repository: Path) -> None:
    states = "".join(
        f'state {{ input_name: "{taken}" output_name: "{given}" data_type: TYPE_FP32 '
        f"dims: [{size}] }}\n"
        for taken, given, size in (("tail__1", "tail__2", 3), ("last__2", "last__3", 2))
    )
    version = write_config(
        repository,
        "shifter",
        "pytorch_libtorch",
        "max_batch_size: 3\n"
        + tensors("input", ("update__0", "FP32", [2]))
        + tensors("output", ("sum__0", "FP32", [1]), ("before__1", "FP32", [2]))
        + stateful("direct {}", states),
    )
    torch.jit.script(Shifter()).save(str(version / "model.pt"))


def write_picker(repository: Path) -> None:
    """Rows of a table by number; a number that is not in the table fails."""
    version = write_config(
        repository,
        "picker",
        "onnxruntime_onnx",
        "max_batch_size: 16\n"
        + tensors("input", ("index", "INT64", [-1]))
        + tensors("output", ("row", "FP32", [-1]))
        + "dynamic_batching { max_queue_delay_microseconds: 50000 }\n"
        "instance_group { kind: KIND_AUTO count: 1 }\n",
    )
    write_onnx(
        version,
        [helper.make_node("Gather", ["table", "index"], ["row"])],
        [("index", INT, ["b", "n"])],
        [("row", FLOAT, ["b", "n"])],
        [helper.make_tensor("table", FLOAT, [5], [0.0, 10.0, 20.0, 30.0, 40.0])],
    )


PYTHON_MODEL = """
import numpy as np
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    def execute(self, requests):
        return [self.answer(request) for request in requests]

    def answer(self, request):
        tensors = {tensor.name(): tensor.as_numpy() for tensor in request.inputs()}
        outputs = [
            pb_utils.Tensor("out_" + name[3:], array.T.copy().T)
            for name, array in tensors.items()
        ]
        assert all(isinstance(output, pb_utils.Tensor) for output in outputs)
        return pb_utils.InferenceResponse(outputs)
"""


def write_python(repository: Path) -> None:
    """Code as people write it for NumPy 1."""
    version = repository / "python-types" / "1"
    version.mkdir(parents=True)
    config = (repository / "onnx-types" / "config.pbtxt").read_text()
    config = config.replace('"onnx-types"', '"python-types"')
    config = config.replace('platform: "onnxruntime_onnx"', 'backend: "python"')
    (version.parent / "config.pbtxt").write_text(config)
    (version / "model.py").write_text(PYTHON_MODEL)


def write_misfits(repository: Path) -> None:
    """Models that cannot be loaded, each for a reason of its own."""
    picker = repository / "picker"
    text = (picker / "config.pbtxt").read_text()
    changes = {
        "misfit-type": ("TYPE_INT64", "TYPE_INT32"),
        "misfit-name": ('"row"', '"line"'),
        "misfit-threads": (
            "dynamic_batching",
            'parameters { key: "intra_op_thread_count" value { string_value: "many" } }\n'
            "dynamic_batching",
        ),
    }
    for name, (old, new) in changes.items():
        (repository / name / "1").mkdir(parents=True)
        config = text.replace('"picker"', f'"{name}"').replace(old, new)
        (repository / name / "config.pbtxt").write_text(config)
        (repository / name / "1" / "model.onnx").write_bytes(
            (picker / "1" / "model.onnx").read_bytes()
        )


def free_ports(number: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(number)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


@pytest.fixture(scope="session")
def repository(tmp_path_factory):
    folder = tmp_path_factory.mktemp("repository")
    writers = (write_all_types, write_counters, write_shifter, write_picker)
    for write in (*writers, write_python, write_misfits):
        write(folder)
    return folder


@pytest.fixture(scope="session")
def client(repository, tmp_path_factory):
    http, grpc, metrics = free_ports(3)
    log = tmp_path_factory.mktemp("log") / "server.log"
    arguments = [f"--model-repository={repository}", "--exit-on-error=false"]
    arguments += [f"--{what}-address=127.0.0.1" for what in ("http", "grpc", "metrics")]
    arguments += [f"--http-port={http}", f"--grpc-port={grpc}", f"--metrics-port={metrics}"]
    arguments += ["--exit-timeout-secs=2", "--disable-auto-complete-config"]
    mark = f"triton-tests-{os.getpid()}"
    arguments += [f"--backend-config=python,shm-region-prefix-name={mark}"]
    with log.open("wb") as file:
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "triton_server", *arguments],
            stdout=file,
            stderr=subprocess.STDOUT,
            process_group=0,
        )
    try:
        wait_until_listening(grpc, process, log)
        with triton.InferenceServerClient(f"127.0.0.1:{grpc}") as connected:
            yield connected
    finally:
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(6)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        for segment in Path("/dev/shm").glob(f"{mark}*"):
            segment.unlink(missing_ok=True)


def wait_until_listening(port: int, process: subprocess.Popen, log: Path) -> None:
    deadline = time.monotonic() + START_LIMIT
    while time.monotonic() < deadline:
        assert process.poll() is None, log.read_text()[-5000:]
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.1)
    raise AssertionError(f"no server after {START_LIMIT} s: {log.read_text()[-5000:]}")
