"""Servers started for real: ready, broken, side by side, killed, left behind."""

import os
import signal
import socket
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import fsspec
import numpy as np
import onnx
import pytest
import tritonclient.grpc as triton
from hermes.aeriel.serve import Ports, find_server, serve, server
from hermes.aeriel.serve.ports import find_free_ports
from hermes.errors import RepositoryError, ServerError
from onnx import TensorProto, helper

pytestmark = [
    pytest.mark.triton,
    pytest.mark.skipif(find_server() is None, reason="no environment projects/triton"),
]
LIMIT = 60


def write_model(repository: Path, name: str, factor: float) -> None:
    """A model that multiplies four numbers by a factor."""
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        [helper.make_node("Mul", ["x", "factor"], ["y"])],
        name,
        [value("x", TensorProto.FLOAT, [4])],
        [value("y", TensorProto.FLOAT, [4])],
        [helper.make_tensor("factor", TensorProto.FLOAT, [], [factor])],
    )
    opsets = [helper.make_opsetid("", 17)]
    (repository / name / "1").mkdir(parents=True)
    onnx.save(
        helper.make_model(graph, opset_imports=opsets, ir_version=9),
        repository / name / "1" / "model.onnx",
    )
    (repository / name / "config.pbtxt").write_text(
        f'name: "{name}"\nplatform: "onnxruntime_onnx"\nmax_batch_size: 0\n'
        'input { name: "x" data_type: TYPE_FP32 dims: 4 }\n'
        'output { name: "y" data_type: TYPE_FP32 dims: 4 }\n'
        "instance_group { count: 1 kind: KIND_AUTO }\n"
    )


@pytest.fixture
def repository(tmp_path):
    folder = tmp_path / "repository"
    write_model(folder, "twice", 2)
    return folder


def ask(address: str, model: str) -> np.ndarray:
    x = triton.InferInput("x", [4], "FP32")
    x.set_data_from_numpy(np.arange(4, dtype=np.float32))
    with triton.InferenceServerClient(address) as client:
        return client.infer(model, [x], client_timeout=LIMIT).as_numpy("y")


def group_is_gone(group: int) -> bool:
    """Whether no process of a group runs; those that ended and wait for init do not count."""
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = status.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[2]) == group and fields[0] != "Z":
            return False
    return True


def wait_for(condition, limit: float = 10) -> None:
    deadline = time.monotonic() + limit
    while not condition():
        assert time.monotonic() < deadline, "did not happen in time"
        time.sleep(0.05)


def test_nothing_is_left_of_a_server(repository, monkeypatch):
    # A proxy that is not there must not matter on the way to this machine.
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.delenv("no_proxy", raising=False)
    with serve(repository) as instance:
        instance.wait(LIMIT)
        group = os.getpgid(instance.pid)
        assert group != os.getpgid(0)
        mark = instance._id
        assert list(Path("/dev/shm").glob(f"{mark}*"))
    assert group_is_gone(group)
    assert not list(Path("/dev/shm").glob(f"{mark}*"))
    assert not instance.alive
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind(("127.0.0.1", instance.ports.grpc))
    assert "Signal (15) received" in instance.log_tail()


def test_only_the_loopback_interface_is_listened_on(repository):
    with serve(repository) as instance:
        instance.wait(LIMIT)
        np.testing.assert_array_equal(ask(instance.address, "twice"), [0, 2, 4, 6])
        listening = {}
        for table in ("tcp", "tcp6"):
            for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
                address, state = line.split()[1], line.split()[3]
                if state == "0A":
                    host, port = address.rsplit(":", 1)
                    listening.setdefault(int(port, 16), set()).add(host)
        for port in instance.ports:
            # 127.0.0.1, where the table is that of IPv6 too.
            assert all(host.endswith("0100007F") for host in listening[port])


def test_a_broken_model_is_named_and_the_others_are_served(repository, tmp_path):
    write_model(repository, "broken", 3)
    (repository / "broken" / "1" / "model.onnx").write_text("no network")
    (repository / ".staged").mkdir()
    log = tmp_path / "logs" / "server.log"
    with serve(repository, control="none", log=log) as instance:
        with pytest.raises(ServerError, match=r"model broken: .*INVALID_PROTOBUF") as caught:
            instance.wait(LIMIT)
        assert "twice" not in str(caught.value).splitlines()[1]
        instance.wait(LIMIT, models=["twice"])
        np.testing.assert_array_equal(ask(instance.address, "twice"), [0, 2, 4, 6])
        with pytest.raises(ServerError, match="no model thrice, it has broken, twice"):
            instance.wait(LIMIT, models=["thrice"])
    assert "successfully loaded 'twice'" in log.read_text()


def test_a_configuration_that_cannot_be_read_is_explained(repository):
    config = repository / "twice" / "config.pbtxt"
    config.write_text(config.read_text() + "nonsense: 3\n")
    with serve(repository, control="none") as instance:  # noqa: SIM117
        with pytest.raises(ServerError, match=r"model twice: .*nonsense"):
            instance.wait(LIMIT)


def test_a_taken_port_is_refused_before_anything_starts(repository):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        free = find_free_ports()
        taken = other.getsockname()[1]
        with (
            pytest.raises(ServerError, match=f"port {taken} \\(grpc\\) .* cannot be used"),
            serve(repository, ports=(free.http, taken, free.metrics)),
        ):
            pass


def test_another_port_is_found_when_somebody_was_faster(repository, monkeypatch):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        taken = other.getsockname()[1]
        first = find_free_ports()._replace(grpc=taken)
        offers = [first, find_free_ports()]
        monkeypatch.setattr(server, "find_free_ports", lambda: offers.pop(0))
        with serve(repository) as instance:
            assert instance.address.endswith(f":{taken}")
            instance.wait(LIMIT)
            assert not instance.address.endswith(f":{taken}")
            np.testing.assert_array_equal(ask(instance.address, "twice"), [0, 2, 4, 6])


def test_servers_side_by_side_answer_each_for_itself(tmp_path):
    answers = {}

    def run(factor: int) -> None:
        folder = tmp_path / f"repository-{factor}"
        write_model(folder, "times", factor)
        with serve(folder) as instance:
            instance.wait(LIMIT)
            barrier.wait(LIMIT)
            answers[factor] = ask(instance.address, "times")
            barrier.wait(LIMIT)

    barrier = threading.Barrier(2)
    threads = [threading.Thread(target=run, args=(factor,)) for factor in (3, 5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(2 * LIMIT)
    for factor in (3, 5):
        np.testing.assert_array_equal(answers[factor], factor * np.arange(4))


def test_a_killed_server_is_noticed_and_starts_again_where_it_was(repository):
    with serve(repository) as instance:
        instance.wait(LIMIT)
        address, pid = instance.address, instance.pid
        os.kill(pid, signal.SIGKILL)
        wait_for(lambda: not instance.alive)
        with pytest.raises(ServerError, match=r"exit code -9\n(.|\n)*successfully loaded"):
            instance.wait(LIMIT)
        instance.restart()
        instance.wait(LIMIT)
        assert instance.address == address
        np.testing.assert_array_equal(ask(address, "twice"), [0, 2, 4, 6])
        instance.kill()
        assert not instance.alive


def test_an_exception_ends_the_server_and_carries_the_log_if_that_died(repository):
    group = []

    def work() -> None:
        with serve(repository) as instance:
            instance.wait(LIMIT)
            group.append(os.getpgid(instance.pid))
            instance.kill()
            raise KeyError("nothing to do with the server")

    with pytest.raises(KeyError) as caught:
        work()
    assert "successfully loaded 'twice'" in caught.value.__notes__[0]
    assert group_is_gone(group[0])


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_server_does_not_outlive_a_process_that_is_killed(repository, number):
    script = textwrap.dedent(
        """
        import os, sys, threading, time
        from hermes.aeriel.serve import serve

        def work():
            # From a thread that ends: the server must outlive it, and end with the process.
            context = serve(sys.argv[1])
            kept.append(context)
            instance = context.__enter__()
            instance.wait(60)
            print(os.getpgid(instance.pid), instance._id, flush=True)

        kept = []
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
        time.sleep(100)
        """
    )
    process = subprocess.Popen(
        [sys.executable, "-P", "-c", script, str(repository)], stdout=subprocess.PIPE, text=True
    )
    try:
        group, mark = process.stdout.readline().split()
        time.sleep(0.5)
        assert not group_is_gone(int(group))
    finally:
        process.send_signal(number)
        process.wait(LIMIT)
        process.stdout.close()
    wait_for(lambda: group_is_gone(int(group)))
    wait_for(lambda: not list(Path("/dev/shm").glob(f"{mark}*")))


def test_models_from_a_store_are_copied_and_served(repository):
    store = fsspec.filesystem("memory")
    store.put(f"{repository}/", "/models/", recursive=True)
    try:
        with serve("memory://models", models=["twice"]) as instance:
            instance.wait(LIMIT)
            np.testing.assert_array_equal(ask(instance.address, "twice"), [0, 2, 4, 6])
            folder = instance._repository
        assert not folder.exists()
    finally:
        store.rm("/models", recursive=True)


def test_waiting_ends_when_the_time_is_up(repository):
    with serve(repository, timeout=0) as instance:  # noqa: SIM117
        with pytest.raises(ServerError, match="after 0 s the server does not answer"):
            instance.wait()


def test_a_bad_argument_of_the_server_is_shown(repository):
    with serve(repository, arguments=["--no-such-thing"]) as instance:  # noqa: SIM117
        with pytest.raises(ServerError, match=r"ended with exit code 1(.|\n)*no-such-thing"):
            instance.wait(LIMIT)


def test_a_folder_without_models_is_refused(tmp_path):
    with pytest.raises(RepositoryError, match=r"holds no model: .* config.pbtxt"), serve(tmp_path):
        pass
    with pytest.raises(RepositoryError, match="no model repository at"), serve(tmp_path / "nix"):
        pass
    with (
        pytest.raises(ValueError, match="control pol is not known"),
        serve(tmp_path, control="pol"),
    ):
        pass


def test_ports_must_differ(repository):
    with pytest.raises(ServerError, match="must differ"), serve(repository, ports=(1, 1, 2)):
        pass
    assert Ports(1, 2, 3).metrics == 3
