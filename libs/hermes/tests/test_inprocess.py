"""What is particular to models that run in this process."""

from __future__ import annotations

import gc
import logging
import shutil
import sys
import threading
import time
import weakref
from concurrent.futures import Future
from contextlib import closing
from pathlib import Path

import numpy as np
import onnx
import pytest
from hermes.aeriel.client import Request
from hermes.aeriel.inprocess import InProcess
from hermes.errors import (
    DeadlineExceeded,
    InferenceError,
    InvalidRequest,
    RepositoryError,
    ServerUnavailable,
)
from onnx import TensorProto, helper

PATIENCE = 30.0
FLOAT = TensorProto.FLOAT
PYTHON = """
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    def execute(self, requests):
        x = pb_utils.get_input_tensor_by_name(requests[0], "x").as_numpy()
        if x[0] < 0:
            raise ArithmeticError("below zero")
        return [pb_utils.InferenceResponse([pb_utils.Tensor("y", {factor} * x)])]

    def finalize(self):
        {finalize}
"""


WRITES = """
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    def execute(self, requests):
        x = pb_utils.get_input_tensor_by_name(requests[0], "x").as_numpy()
        x *= 2
        return [pb_utils.InferenceResponse([pb_utils.Tensor("y", x)])]
"""


def send(transport, inputs, sequence_id=None, start=False, end=False, deadline=PATIENCE):
    answer = Future()
    transport.send(Request("r", inputs, sequence_id, start, end, deadline), answer.set_result)
    return answer


def ask(*arguments, **options):
    result = send(*arguments, **options).result(PATIENCE)
    if isinstance(result, Exception):
        raise result
    return result


def write_config(root: Path, name: str, platform: str, more: str = "", dims: str = "2") -> Path:
    """Configuration of a model with input x and output y; returns the folder of version 1."""
    folder = root / name / "1"
    folder.mkdir(parents=True, exist_ok=True)
    runs = 'backend: "python"' if platform == "python" else f'platform: "{platform}"'
    (root / name / "config.pbtxt").write_text(
        f'{runs} input {{ name: "x" data_type: TYPE_FP32 dims: [{dims}] }} '
        f'output {{ name: "y" data_type: TYPE_FP32 dims: [{dims}] }} {more}'
    )
    return folder


def write_sum(
    root: Path, name: str, factor: float = 1.0, version: int = 1, more: str = ""
) -> None:
    """y = state + factor x, which is the next state; two slots."""
    folder = write_config(
        root,
        name,
        "onnxruntime_onnx",
        'sequence_batching { oldest { max_candidate_sequences: 2 } state { input_name: "s" '
        'output_name: "t" data_type: TYPE_FP32 dims: [2] } max_sequence_idle_microseconds: '
        "60000000 }",
    )
    nodes = [
        helper.make_node("Mul", ["x", "factor"], ["scaled"]),
        helper.make_node("Add", ["s", "scaled"], ["y"]),
        helper.make_node("Identity", ["y"], ["t"]),
    ]
    write_graph(folder.parent / str(version), nodes, ["x", "s"], ["y", "t"], factor)


def write_product(root: Path, name: str, factor: float, version: int = 1) -> None:
    folder = write_config(root, name, "onnxruntime_onnx")
    nodes = [helper.make_node("Mul", ["x", "factor"], ["y"])]
    write_graph(folder.parent / str(version), nodes, ["x"], ["y"], factor)


def write_graph(folder: Path, nodes, inputs, outputs, factor: float) -> None:
    """Written beside and renamed, as a version is to be published."""
    values = [
        [helper.make_tensor_value_info(name, FLOAT, [2]) for name in names]
        for names in (inputs, outputs)
    ]
    constant = helper.make_tensor("factor", FLOAT, [], [factor])
    model = helper.make_model(
        helper.make_graph(nodes, "g", *values, [constant]),
        opset_imports=[helper.make_opsetid("", 17)],
        ir_version=8,
    )
    stage = folder.parents[2] / f"stage-{folder.name}"
    stage.mkdir()
    onnx.save(model, stage / "model.onnx")
    if folder.exists():
        folder.rmdir()
    stage.rename(folder)


def write_python(root: Path, name: str, finalize: str = "pass", factor: int = 1, more: str = ""):
    """y = factor x; fails below zero."""
    folder = write_config(root, name, "python", more)
    (folder / "model.py").write_text(PYTHON.format(finalize=finalize, factor=factor))


@pytest.fixture
def root(tmp_path):
    folder = tmp_path / "repository"
    folder.mkdir()
    return folder


@pytest.fixture
def run():
    opened = []

    def open_one(root, model, version=-1, **options):
        opened.append(InProcess(root, model, version, **options))
        return opened[-1]

    yield open_one
    for transport in opened:
        transport.close()


ONE = {"x": np.ones(2, np.float32)}


class Gate:
    """Keeps the worker in an answer's receiver, so that what is sent meanwhile queues up."""

    def __init__(self, transport, inputs=ONE, **flags):
        self._entered, self._leave = threading.Event(), threading.Event()
        request = Request("gate", inputs, **flags)
        transport.send(request, self._wait)
        assert self._entered.wait(PATIENCE)

    def _wait(self, _answer):
        self._entered.set()
        assert self._leave.wait(PATIENCE)

    def open(self):
        self._leave.set()


def test_deadline_that_passed_ends_the_sequence(root, run):
    """The state would lack an update: what follows must not look like an answer."""
    write_sum(root, "sum")
    transport = run(root, "sum")
    assert ask(transport, ONE, 1, True)["y"][0] == 1
    gate = Gate(transport, sequence_id=2, sequence_start=True)
    late = send(transport, ONE, 1, deadline=1e-6)
    after = send(transport, ONE, 1)
    other = send(transport, ONE, 2)
    time.sleep(1e-3)
    gate.open()
    assert isinstance(late.result(PATIENCE), DeadlineExceeded)
    assert isinstance(after.result(PATIENCE), InvalidRequest)
    assert "START" in str(after.result())
    assert other.result(PATIENCE)["y"][0] == 2
    assert ask(transport, ONE, 1, True)["y"][0] == 1


def test_deadline_of_a_waiting_sequence(root, run):
    """No slot becomes free, and yet there is an answer in time."""
    write_sum(root, "sum")
    transport = run(root, "sum")
    for number in (1, 2):
        ask(transport, ONE, number, True)
    waiting = send(transport, ONE, 3, True, deadline=0.05)
    next_one = send(transport, ONE, 3)
    assert isinstance(waiting.result(PATIENCE), DeadlineExceeded)
    assert "START" in str(next_one.result(PATIENCE))
    ask(transport, ONE, 1, end=True)
    assert ask(transport, ONE, 4, True)["y"][0] == 1


def test_waiting_sequences_are_served_in_order(root, run):
    write_sum(root, "sum")
    transport = run(root, "sum")
    for number in (1, 2):
        ask(transport, ONE, number, True)
    order = []
    waiting = {number: send(transport, ONE, number, True, True) for number in range(3, 40)}
    for number, future in waiting.items():
        future.add_done_callback(lambda _, number=number: order.append(number))
    ask(transport, ONE, 1, end=True)
    assert all(future.result(PATIENCE)["y"][0] == 1 for future in waiting.values())
    assert order == sorted(waiting)


def test_running_sequence_stays_on_its_version(root, run):
    write_sum(root, "sum", factor=1)
    transport = run(root, "sum", poll_seconds=0.02)
    assert ask(transport, ONE, 1, True)["y"][0] == 1
    write_sum(root, "sum", factor=10, version=2)
    deadline = time.monotonic() + PATIENCE
    while transport.version == 1 and time.monotonic() < deadline:
        assert ask(transport, ONE, 1)["y"][0] % 1 == 0
    assert transport.version == 2
    before = ask(transport, ONE, 1)["y"][0]
    assert ask(transport, ONE, 1, end=True)["y"][0] == before + 1
    assert ask(transport, ONE, 1, True)["y"][0] == 10


def test_new_version_that_is_broken_changes_nothing(root, run, caplog):
    write_product(root, "product", 2)
    transport = run(root, "product", poll_seconds=0.02)
    stage = root.parent / "broken"
    stage.mkdir()
    (stage / "model.onnx").write_bytes(b"no network")
    with caplog.at_level(logging.WARNING, "hermes"):
        stage.rename(root / "product" / "2")
        deadline = time.monotonic() + PATIENCE
        while "stays at version 1" not in caplog.text and time.monotonic() < deadline:
            assert ask(transport, ONE)["y"][0] == 2
    assert "product, version 2, cannot be loaded" in caplog.text
    write_product(root, "product", 3, version=3)
    while transport.version == 1 and time.monotonic() < deadline:
        assert ask(transport, ONE)["y"][0] in (2, 3)
    assert ask(transport, ONE)["y"][0] == 3


def test_changed_configuration_is_taken_over(root, run):
    write_product(root, "product", 2, version=1)
    write_product(root, "product", 3, version=2)
    transport = run(root, "product", poll_seconds=0.02)
    assert ask(transport, ONE)["y"][0] == 3
    config = root / "product" / "config.pbtxt"
    text = config.read_text() + "version_policy { specific { versions: [1] } }"
    (root.parent / "text").write_text(text)
    (root.parent / "text").rename(config)
    deadline = time.monotonic() + PATIENCE
    while transport.version == 2 and time.monotonic() < deadline:
        ask(transport, ONE)
    assert ask(transport, ONE)["y"][0] == 2


def test_step_of_an_ensemble_is_reloaded(root, run):
    write_product(root, "product", 2)
    write_ensemble(root, ["product"])
    transport = run(root, "ensemble", poll_seconds=0.02)
    assert ask(transport, ONE)["y"][0] == 2
    write_product(root, "product", 5, version=2)
    deadline = time.monotonic() + PATIENCE
    while ask(transport, ONE)["y"][0] == 2 and time.monotonic() < deadline:
        pass
    assert ask(transport, ONE)["y"][0] == 5


def write_ensemble(root: Path, models: list[str], name: str = "ensemble") -> None:
    """Models one behind the other."""
    tensors = ["x", *(f"t{i}" for i in range(1, len(models))), "y"]
    steps = "".join(
        f'step {{ model_name: "{model}" model_version: -1 '
        f'input_map {{ key: "x" value: "{tensors[i]}" }} '
        f'output_map {{ key: "y" value: "{tensors[i + 1]}" }} }} '
        for i, model in enumerate(models)
    )
    write_config(root, name, "ensemble", f"ensemble_scheduling {{ {steps} }}")


def test_ensemble_in_an_ensemble(root, run):
    write_sum(root, "sum")
    write_product(root, "product", 3)
    write_ensemble(root, ["product", "sum"], "inner")
    write_ensemble(root, ["inner", "product"])
    transport = run(root, "ensemble")
    assert transport.stateful
    answers = [ask(transport, ONE, 1, i == 0)["y"][0] for i in range(3)]
    assert answers == [9, 18, 27]


def test_arrays_pass_through_an_ensemble_without_copies(root, run):
    write_python(root, "same")
    (root / "same" / "1" / "model.py").write_text(
        "import triton_python_backend_utils as pb_utils\n"
        "seen = []\n"
        "class TritonPythonModel:\n"
        "    def execute(self, requests):\n"
        "        x = pb_utils.get_input_tensor_by_name(requests[0], 'x').as_numpy()\n"
        "        y = pb_utils.Tensor('y', x)\n"
        "        return [pb_utils.InferenceResponse([y])]\n"
    )
    write_ensemble(root, ["same", "same"])
    transport = run(root, "ensemble")
    given = []
    graph_run = transport._graph.root.run
    transport._graph.root.run = lambda inputs, call: (
        given.append(inputs["x"]) or graph_run(inputs, call)
    )
    answer = ask(transport, ONE)["y"]
    assert np.shares_memory(answer, given[0])
    assert not np.shares_memory(answer, ONE["x"])


def test_stateful_model_twice_in_an_ensemble_is_refused(root):
    write_sum(root, "sum")
    write_ensemble(root, ["sum", "sum"])
    with pytest.raises(RepositoryError, match="more than once"):
        InProcess(root, "ensemble")


def test_ensemble_that_is_its_own_step_is_refused(root):
    write_ensemble(root, ["b"], "a")
    write_ensemble(root, ["a"], "b")
    with pytest.raises(RepositoryError, match="a -> b -> a"):
        InProcess(root, "a")


def test_failing_step_is_named_and_ends_the_sequence(root, run):
    """The first step has moved on already."""
    write_sum(root, "sum")
    write_python(root, "fragile")
    write_ensemble(root, ["sum", "fragile"])
    transport = run(root, "ensemble")
    assert ask(transport, ONE, 1, True)["y"][0] == 1
    with pytest.raises(InferenceError, match=r"ensemble: model fragile.*below zero") as caught:
        ask(transport, {"x": -5 * ONE["x"]}, 1)
    assert caught.value.sequence_id == 1
    assert caught.value.request_id == "r"
    with pytest.raises(InvalidRequest, match="START"):
        ask(transport, ONE, 1)


def test_start_that_is_refused_within_an_ensemble_starts_nothing(root, run):
    """The ensemble takes any size, its step does not."""
    write_sum(root, "sum")
    write_ensemble(root, ["sum"])
    config = root / "ensemble" / "config.pbtxt"
    config.write_text(config.read_text().replace("dims: [2]", "dims: [-1]"))
    transport = run(root, "ensemble")
    with pytest.raises(InvalidRequest, match=r"ensemble: input x of model sum has the shape"):
        ask(transport, {"x": np.ones(3, np.float32)}, 1, True)
    with pytest.raises(InvalidRequest, match="START"):
        ask(transport, ONE, 1)
    ask(transport, ONE, 1, True)
    with pytest.raises(InvalidRequest, match="shape"):
        ask(transport, {"x": np.ones(3, np.float32)}, 1)
    assert ask(transport, ONE, 1)["y"][0] == 2


def test_refusal_behind_a_model_with_states_ends_the_sequence(root, run):
    """The state has moved on when the last step sees that the size is wrong."""
    write_sum(root, "sum")
    write_product(root, "product", 2)
    folder = write_config(root, "cut", "python", dims="-1")
    (folder / "model.py").write_text(
        "import triton_python_backend_utils as pb_utils\n"
        "class TritonPythonModel:\n"
        "    def execute(self, requests):\n"
        "        x = pb_utils.get_input_tensor_by_name(requests[0], 'x').as_numpy()\n"
        "        y = pb_utils.Tensor('y', x if x[0] < 2 else x[:1])\n"
        "        return [pb_utils.InferenceResponse([y])]\n"
    )
    write_ensemble(root, ["sum", "cut", "product"])
    transport = run(root, "ensemble")
    assert ask(transport, ONE, 1, True)["y"][0] == 2
    with pytest.raises(InvalidRequest, match="model product has the shape"):
        ask(transport, ONE, 1)
    with pytest.raises(InvalidRequest, match="START"):
        ask(transport, ONE, 1)


def test_array_may_change_while_it_waits(root, run):
    write_product(root, "product", 2)
    transport = run(root, "product")
    gate = Gate(transport)
    x = np.ones(2, np.float32)
    answer = send(transport, {"x": x})
    x[:] = np.nan
    gate.open()
    assert answer.result(PATIENCE)["y"][0] == 2


def test_model_that_fails_by_itself_goes_on(root, run):
    write_python(root, "fragile", factor=2)
    transport = run(root, "fragile")
    with pytest.raises(InferenceError, match="ArithmeticError: below zero"):
        ask(transport, {"x": -ONE["x"]})
    assert ask(transport, ONE)["y"][0] == 2


def test_receiver_that_fails_does_not_stop_the_others(root, run, caplog):
    write_product(root, "product", 2)
    transport = run(root, "product")

    def fail(_answer):
        raise RuntimeError("receiver")

    transport.send(Request("bad", ONE), fail)
    assert ask(transport, ONE)["y"][0] == 2
    assert "the receiver of the answer to bad failed" in caplog.text


def test_close_answers_what_waits(root, run):
    write_sum(root, "sum")
    transport = run(root, "sum")
    for number in (1, 2):
        ask(transport, ONE, number, True)
    waiting = send(transport, ONE, 3, True)
    gate = Gate(transport, sequence_id=1)
    queued = send(transport, ONE, 1)
    closing = threading.Thread(target=transport.close)
    closing.start()
    gate.open()
    closing.join(PATIENCE)
    assert not closing.is_alive()
    assert isinstance(waiting.result(PATIENCE), ServerUnavailable)
    # sent before the end, it may have been run
    assert queued.done()
    assert isinstance(send(transport, ONE, 1).result(PATIENCE), ServerUnavailable)
    transport.close()


def test_reconnect_forgets_all_sequences(root, run):
    write_sum(root, "sum")
    transport = run(root, "sum")
    for number in (1, 2):
        ask(transport, ONE, number, True)
    waiting = send(transport, ONE, 3, True)
    transport.reconnect()
    assert waiting.done()
    assert isinstance(waiting.result(), ServerUnavailable)
    with pytest.raises(InvalidRequest, match="START"):
        ask(transport, ONE, 1)
    assert ask(transport, ONE, 4, True)["y"][0] == 1


def test_commands_from_a_receiver_do_not_wait_for_themselves(root, run):
    write_sum(root, "sum")
    transport = run(root, "sum")
    done = Future()

    def begin_anew(_answer):
        transport.reconnect()
        transport.close()
        done.set_result(True)

    transport.send(Request("r", ONE, 1, True), begin_anew)
    assert done.result(PATIENCE)


def test_many_sequences_leave_nothing_behind(root, run):
    write_sum(root, "sum")
    transport = run(root, "sum")
    for number in range(1, 500):
        ask(transport, ONE, number, True)
        ask(transport, ONE, number, end=True)
    sequences = transport._sequences
    assert not sequences._running
    assert not sequences._queued
    assert not sequences._waiting
    assert not sequences._slots[0].held


def test_closed_transport_lets_its_models_go(root, run):
    write_python(root, "model", finalize=f"open({str(root.parent / 'gone')!r}, 'w').close()")
    transport = InProcess(root, "model")
    assert ask(transport, ONE)["y"][0] == 1
    transport.close()
    reference = weakref.ref(transport)
    # while the object is still there
    gc.collect()
    assert (root.parent / "gone").exists()
    del transport
    deadline = time.monotonic() + PATIENCE
    while reference() is not None and time.monotonic() < deadline:
        gc.collect()  # a thread of it may be about to end
    assert reference() is None


def test_python_models_leave_no_byte_code_in_the_repository(root, run):
    write_python(root, "model")
    ask(run(root, "model"), ONE)
    assert not list(root.rglob("__pycache__"))
    assert not [name for name in sys.modules if name.startswith("hermes_model")]


def test_python_model_with_states_is_refused(root):
    state = 'input_name: "s" output_name: "t" data_type: TYPE_FP32 dims: [2]'
    write_python(root, "model", more=f"sequence_batching {{ direct {{}} state {{ {state} }} }}")
    with pytest.raises(RepositoryError, match="Triton does not give"):
        InProcess(root, "model")


def test_tensorrt_is_refused(root):
    folder = write_config(root, "plan", "tensorrt_plan")
    (folder / "model.plan").touch()
    with pytest.raises(RepositoryError, match="runs on a server only"):
        InProcess(root, "plan")


def test_file_that_differs_from_its_configuration_is_refused(root):
    write_product(root, "product", 2)
    config = root / "product" / "config.pbtxt"
    text = config.read_text()
    for found, wrong, match in (
        ('"y"', '"z"', r"has the outputs \['y'\], its config.pbtxt says \['z'\]"),
        ("dims: [2]", "dims: [3]", r"has the shape \[2\], its config.pbtxt says \[3\]"),
        ("TYPE_FP32", "TYPE_FP64", "is of type float32, its config.pbtxt says float64"),
    ):
        config.write_text(text.replace(found, wrong))
        with pytest.raises(RepositoryError, match=f"model product, version 1.*{match}"):
            InProcess(root, "product")


def test_reshaped_output(root, run):
    """A network that gives a number per item: Triton asks for an axis of one."""
    folder = root / "mean" / "1"
    folder.mkdir(parents=True)
    (root / "mean" / "config.pbtxt").write_text(
        'platform: "onnxruntime_onnx" max_batch_size: 4 '
        'input { name: "x" data_type: TYPE_FP32 dims: [3] } '
        'output { name: "y" data_type: TYPE_FP32 dims: [1] reshape { shape: [] } }'
    )
    graph = helper.make_graph(
        [helper.make_node("ReduceMean", ["x"], ["y"], axes=[1], keepdims=0)],
        "g",
        [helper.make_tensor_value_info("x", FLOAT, ["batch", 3])],
        [helper.make_tensor_value_info("y", FLOAT, ["batch"])],
    )
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8),
        folder / "model.onnx",
    )
    x = np.arange(6, dtype=np.float32).reshape(2, 3)
    np.testing.assert_array_equal(ask(run(root, "mean"), {"x": x})["y"], [[1], [4]])


def test_control_inputs(root, run):
    """A model that is told: y = x, + 10 at the start, + 100 at the end, and its sequence."""
    kinds = {"START": "start", "END": "end", "READY": "ready"}
    controls = "".join(
        f'control_input {{ name: "{name}" control {{ kind: CONTROL_SEQUENCE_{kind} '
        f"fp32_false_true: [0, 1] }} }} "
        for kind, name in kinds.items()
    )
    controls += (
        'control_input { name: "id" control { kind: CONTROL_SEQUENCE_CORRID '
        "data_type: TYPE_UINT64 } } "
    )
    folder = write_config(
        root, "told", "onnxruntime_onnx", f"sequence_batching {{ direct {{}} {controls} }}", "1"
    )
    nodes = [
        helper.make_node("Mul", ["start", "ten"], ["a"]),
        helper.make_node("Mul", ["end", "hundred"], ["b"]),
        helper.make_node("Cast", ["id"], ["c"], to=FLOAT),
        helper.make_node("Sum", ["x", "a", "b", "c", "ready"], ["y"]),
    ]
    inputs = [helper.make_tensor_value_info(n, FLOAT, [1]) for n in ("x", *kinds.values())]
    inputs.append(helper.make_tensor_value_info("id", TensorProto.UINT64, [1]))
    constants = [
        helper.make_tensor("ten", FLOAT, [1], [10.0]),
        helper.make_tensor("hundred", FLOAT, [1], [100.0]),
    ]
    outputs = [helper.make_tensor_value_info("y", FLOAT, [1])]
    graph = helper.make_graph(nodes, "g", inputs, outputs, constants)
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8),
        folder / "model.onnx",
    )
    transport = run(root, "told")
    x = {"x": np.zeros(1, np.float32)}
    flags = [(True, False), (False, False), (False, True)]
    answers = [ask(transport, x, 7, start, end)["y"][0] for start, end in flags]
    assert answers == [18, 8, 108]


def test_python_model_gets_the_configuration_as_triton_writes_it(root, run):
    write_config(root, "asks", "python", "max_batch_size: 0", dims="-1")
    (root / "asks" / "1" / "model.py").write_text(
        "import json\n"
        "import numpy as np\n"
        "import triton_python_backend_utils as pb_utils\n"
        "class TritonPythonModel:\n"
        "    def initialize(self, args):\n"
        "        config = json.loads(args['model_config'])\n"
        "        assert config['input'][0]['dims'] == [-1], config\n"
        "        assert config['input'][0]['data_type'] == 'TYPE_FP32'\n"
        "        assert config['max_batch_size'] == 0\n"
        "        assert args['model_version'] == '1' and args['model_name'] == 'asks'\n"
        "        output = pb_utils.get_output_config_by_name(config, 'y')\n"
        "        self.dtype = pb_utils.triton_string_to_numpy(output['data_type'])\n"
        "    def execute(self, requests):\n"
        "        x = np.from_dlpack(pb_utils.get_input_tensor_by_name(requests[0], 'x'))\n"
        "        y = pb_utils.Tensor.from_dlpack('y', (2 * x).astype(self.dtype))\n"
        "        return [pb_utils.InferenceResponse(output_tensors=[y])]\n"
    )
    x = np.arange(5, dtype=np.float32)
    np.testing.assert_array_equal(ask(run(root, "asks"), {"x": x})["y"], 2 * x)


def test_threads_are_passed_on(root, run):
    write_product(root, "product", 2)
    transport = run(root, "product", threads=1)
    options = transport._graph.root._runner._session.get_session_options()
    assert options.intra_op_num_threads == 1


def test_retired_version_does_not_stop_what_runs(root, run):
    write_product(root, "product", 2)
    transport = run(root, "product", 1, poll_seconds=0.02)
    write_product(root, "product", 3, version=2)
    shutil.rmtree(root / "product" / "1")
    assert ask(transport, ONE)["y"][0] == 2


def test_a_model_may_write_to_its_input_and_nobody_sees_it(tmp_path):
    folder = write_config(tmp_path, "writes", "python")
    (folder / "model.py").write_text(WRITES)
    fixed, loose = np.array([[1, 2], [1, 2]], np.float32)
    fixed = fixed.copy()
    fixed.flags.writeable = False
    with closing(InProcess(tmp_path, "writes")) as transport:
        for x in (fixed, loose):
            np.testing.assert_array_equal(ask(transport, {"x": x})["y"], [2, 4])
            np.testing.assert_array_equal(x, [1, 2])


def test_an_array_that_nobody_can_write_to_reaches_the_model_uncopied(tmp_path, monkeypatch):
    from hermes.aeriel.inprocess.onnx_runner import OnnxRunner

    given = []
    run = OnnxRunner.run

    def note(self, inputs, request=None):
        given.append(inputs["x"])
        return run(self, inputs, request)

    write_sum(tmp_path, "sum")
    monkeypatch.setattr(OnnxRunner, "run", note)
    fixed, loose = np.ones(2, np.float32), np.ones(2, np.float32)
    fixed.flags.writeable = False
    with closing(InProcess(tmp_path, "sum")) as transport:
        for x in (fixed, loose):
            ask(transport, {"x": x}, 1, start=True, end=True)
    assert given[0] is fixed
    assert not np.shares_memory(given[1], loose)
