"""The monitor against numbers counted by hand, and against a real server."""

import http.server
import math
import re
import threading
from dataclasses import dataclass
from io import StringIO
from pathlib import Path

import numpy as np
import pytest
import tritonclient.grpc as triton
from hermes.aeriel.monitor import Counters, ServerMonitor, Target, parse_metrics, read_rows
from hermes.aeriel.monitor.display import open_display
from hermes.aeriel.monitor.plot import write_plot
from hermes.aeriel.monitor.targets import as_target
from hermes.aeriel.serve import find_server, serve
from rich.console import Console
from test_serve import LIMIT, ask, write_model


def metrics(**values: float) -> str:
    """Metrics of model `net`, version 1, of which the queue time is in microseconds."""
    names = {
        "requests": "nv_inference_request_success",
        "inferences": "nv_inference_count",
        "executions": "nv_inference_exec_count",
        "queue": "nv_inference_queue_duration_us",
        "infer": "nv_inference_compute_infer_duration_us",
        "pending": "nv_inference_pending_request_count",
    }
    return "".join(
        f'{names[name]}{{model="net",version="1"}} {value}\n' for name, value in values.items()
    )


@pytest.fixture
def page():
    """A server of a text that can be changed; answers 500 where that is None."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            text = holder["text"]
            self.send_response(200 if text is not None else 500)
            self.end_headers()
            self.wfile.write((text or "").encode())

        def log_message(self, *_):
            pass

    holder: dict = {"text": ""}
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    holder["url"] = f"http://127.0.0.1:{server.server_port}/metrics"
    yield holder
    server.shutdown()
    thread.join()
    server.server_close()


def test_labels_come_in_any_order_and_gpus_are_added_up():
    text = (
        "# HELP nv_inference_count Number of inferences\n"
        "# TYPE nv_inference_count counter\n"
        'nv_inference_count{gpu_uuid="GPU-1",model="a",version="2"} 3\n'
        'nv_inference_count{version="2", model="a", gpu_uuid="GPU-2"} 4\n'
        'nv_inference_count{model="say \\"hi\\" \\\\ {x,y}",version="1"} 5\n'
        'nv_inference_queue_duration_us{model="a",version="2",gpu_uuid="GPU-1"} 1.5e6\n'
        "# TYPE nv_inference_request_failure counter\n"
        'nv_inference_request_failure{model="a",reason="OTHER",version="2"} 1\n'
        'nv_inference_request_failure{model="a",reason="BACKEND",version="2"} 6\n'
        'nv_gpu_utilization{gpu_uuid="GPU-1"} 0.5\n'
        "nv_cpu_utilization 0.5\n"
    )
    assert parse_metrics(text) == {
        ("a", "2"): Counters(inferences=7, queue=1.5, failures=7),
        ('say "hi" \\ {x,y}', "1"): Counters(inferences=5),
    }


def test_a_counter_that_falls_has_begun_anew():
    before = Counters(requests=10, inferences=40, queue=3, pending=7)
    after = Counters(requests=4, inferences=50, queue=1, pending=2)
    assert after.since(before) == after
    later = Counters(requests=12, inferences=48, queue=3.5, pending=1)
    assert later.since(before) == Counters(requests=2, inferences=8, queue=0.5, pending=1)


def test_rows_hold_differences_and_times_per_request(page, tmp_path):
    page["text"] = metrics(requests=100, inferences=400, executions=50, queue=9e6, infer=1e6)
    monitor = ServerMonitor(page["url"], file=tmp_path / "m.csv")
    assert monitor.sample() == []
    page["text"] = metrics(
        requests=110, inferences=440, executions=52, queue=9.5e6, infer=1.02e6, pending=3
    )
    (row,) = monitor.sample()
    assert (row.requests, row.inferences, row.executions, row.pending) == (10, 40, 2, 3)
    assert row.queue == pytest.approx(0.05)
    assert row.compute_infer == pytest.approx(0.002)
    assert row.throughput == pytest.approx(40 / row.interval)
    # Nothing happened: the rate is 0 and there is no time per request.
    (row,) = monitor.sample()
    assert row.throughput == 0
    assert math.isnan(row.queue)
    # The server began anew.
    page["text"] = metrics(requests=2, inferences=2, executions=2, queue=4e6, infer=0)
    (row,) = monitor.sample()
    assert (row.requests, row.queue) == (2, 2)
    monitor.stop()
    monitor.stop()
    rows = read_rows(tmp_path / "m.csv")
    assert [row.requests for row in rows] == [10, 0, 2, 0]
    assert rows[0].time == monitor.rows[0].time
    assert rows[0].interval == pytest.approx(monitor.rows[0].interval)
    assert math.isnan(rows[0].p50)


def test_a_model_that_appears_later_is_counted_from_its_beginning(page):
    monitor = ServerMonitor(page["url"])
    monitor.sample()
    page["text"] = metrics(requests=5, inferences=5)
    (row,) = monitor.sample()
    assert row.requests == 5


def test_a_server_that_is_away_is_said_so_once(page, caplog):
    page["text"] = metrics(requests=1)
    monitor = ServerMonitor(page["url"])
    monitor.sample()
    page["text"] = None
    assert monitor.sample() == monitor.sample() == []
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    page["text"] = metrics(requests=3)
    (row,) = monitor.sample()
    assert row.requests == 2


def test_what_is_no_metrics_is_no_reason_to_end(page, caplog):
    page["text"] = "<html>{not metrics</html>\n"
    assert ServerMonitor(page["url"]).sample() == []
    assert "is not read" in caplog.text


class FakeLatencies:
    def __init__(self) -> None:
        self.values = {"count": 0, "p50": math.nan, "p90": math.nan, "p99": math.nan}

    def summary(self):
        return self.values


@dataclass
class FakeClient:
    latencies: FakeLatencies
    model: str = "net"
    version: int = 3


def test_clients_stand_beside_servers(tmp_path):
    client = FakeClient(FakeLatencies())
    monitor = ServerMonitor(clients=[client], file=tmp_path / "m.csv")
    monitor.sample()
    client.latencies.values = {"count": 8, "p50": 0.1, "p90": 0.2, "p99": 0.3}
    (row,) = monitor.sample()
    assert (row.server, row.model, row.version, row.requests) == ("client", "net", "3", 8)
    assert (row.p50, row.p90, row.p99) == (0.1, 0.2, 0.3)
    monitor.stop()
    page = write_plot(tmp_path / "m.csv", tmp_path / "m.html").read_text()
    assert "From sending to answer" in page
    assert not re.search(r"<(script|link)[^>]+(src|href)=", page)


def test_a_file_of_something_else_is_not_touched(tmp_path):
    path = tmp_path / "m.csv"
    path.write_text("a,b\n1,2\n")
    with pytest.raises(ValueError, match=r"is not of a monitor: .* it is a,b"):
        ServerMonitor(file=path)
    assert path.read_text() == "a,b\n1,2\n"
    with pytest.raises(FileNotFoundError):
        write_plot(tmp_path / "none.csv", tmp_path / "m.html")


def test_a_line_that_is_being_written_is_left_out(tmp_path):
    monitor = ServerMonitor(clients=[FakeClient(FakeLatencies())], file=tmp_path / "m.csv")
    monitor.sample()
    monitor.stop()
    path = tmp_path / "m.csv"
    path.write_text(path.read_text() + "1795287596.5,1.0,cli")
    assert len(read_rows(path)) == 1


def test_addresses_are_taken_as_users_write_them():
    usual = Target("http://node:8002/metrics", "node:8001")
    assert as_target("node") == usual
    assert as_target("node:9000") == Target("http://node:9000/metrics")
    assert as_target("http://node/m") == Target("http://node/m")
    assert usual.name == "node:8002"


def test_a_terminal_gets_a_table_and_a_log_gets_lines(page, caplog):
    caplog.set_level("INFO")
    page["text"] = metrics(requests=1, inferences=1)
    for terminal in (True, False):
        written = StringIO()
        console = Console(file=written, force_terminal=terminal, width=160)
        with open_display(console) as display:
            monitor = ServerMonitor(page["url"], listener=display.show)
            monitor.sample()
            monitor.sample()
        assert ("per s" in written.getvalue()) == terminal
    assert "model net" in caplog.text
    assert "p50" not in caplog.text


def write_ensemble(repository: Path) -> None:
    write_model(repository, "twice", 2)
    write_model(repository, "thrice", 3)
    write_model(repository, "other", 1)
    (repository / "both" / "1").mkdir(parents=True)
    (repository / "both" / "config.pbtxt").write_text(
        'name: "both"\nplatform: "ensemble"\nmax_batch_size: 0\n'
        'input { name: "x" data_type: TYPE_FP32 dims: 4 }\n'
        'output { name: "y" data_type: TYPE_FP32 dims: 4 }\n'
        "ensemble_scheduling {\n"
        'step { model_name: "twice" model_version: -1 input_map { key: "x" value: "x" }'
        ' output_map { key: "y" value: "between" } }\n'
        'step { model_name: "thrice" model_version: -1 input_map { key: "x" value: "between" }'
        ' output_map { key: "y" value: "y" } }\n}\n'
    )


@pytest.mark.triton
@pytest.mark.skipif(find_server() is None, reason="no environment projects/triton")
def test_a_real_server_counts_what_was_sent(tmp_path):
    repository = tmp_path / "repository"
    write_ensemble(repository)
    with serve(repository) as instance:
        instance.wait(LIMIT)
        with ServerMonitor(instance, ["both"], interval=0.2, file=tmp_path / "m.csv") as monitor:
            for _ in range(30):
                np.testing.assert_array_equal(ask(instance.address, "both"), [0, 6, 12, 18])
            ask(instance.address, "other")
            with triton.InferenceServerClient(instance.address) as client:
                statistics = client.get_inference_statistics("both").model_stats[0]
    rows = read_rows(tmp_path / "m.csv")
    assert {row.model for row in rows} == {"both", "twice", "thrice"}
    for model in ("both", "twice", "thrice"):
        own = [row for row in rows if row.model == model]
        assert sum(row.requests for row in own) == 30
        assert sum(row.inferences for row in own) == 30
    queue = sum(row.queue * row.requests for row in rows if row.model == "both" and row.requests)
    assert queue == pytest.approx(statistics.inference_stats.queue.ns * 1e-9, abs=1e-4)
    assert len(monitor.rows) == len(rows)
    assert "Queue per request" in write_plot(tmp_path / "m.csv", tmp_path / "m.html").read_text()
