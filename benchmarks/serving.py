"""Requests per second and latency of the client, in this process and with a Triton server.

Run with the environment of `projects/export`; see README.md.
"""

import argparse
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import onnxruntime
import torch
import yaml
from hermes import quiver as qv
from hermes.aeriel.client import Answer, InferenceClient, Request
from hermes.aeriel.serve import serve
from tritonclient.grpc.model_config_pb2 import ModelConfig

SHAPE = (2, 256)
UPDATE = 64


class Nothing:
    """A transport that answers at once, to see what the client itself takes."""

    def __init__(self, config: ModelConfig) -> None:
        self.config, self.version, self.stateful = config, 1, False
        self.answer = {"y": np.zeros((1, 1), dtype=np.float32)}

    def send(self, request: Request, done: Callable[[Answer], None]) -> None:
        """Answer."""
        done(self.answer)

    def reconnect(self) -> None:
        """Nothing to do."""

    def close(self) -> None:
        """Nothing to do."""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("version", type=Path, nargs="?", help="folder of a finished search")
    parser.add_argument("--seconds", type=float, default=5.0, help="for each line")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "models"
        config = write_models(folder)
        overhead(config, folder, arguments.seconds)
        print("model    where      in flight  sequences   requests/s   p50 [ms]   p99 [ms]")
        with serve(folder) as server:
            server.wait()
            for where, address in (("inprocess", str(folder)), ("triton", server.address)):
                for in_flight in (1, 32):
                    rate(address, where, "unary", in_flight, 0, arguments.seconds)
                for in_flight, sequences in ((1, 1), (32, 1), (1, 8), (32, 8)):
                    rate(address, where, "stream", in_flight, sequences, arguments.seconds)
    if arguments.version:
        layouts(arguments.version / "repository-0", arguments.seconds)


def write_models(folder: Path) -> ModelConfig:
    """A small network, and the same behind a snapshotter."""
    torch.manual_seed(0)
    network = torch.nn.Sequential(
        torch.nn.Conv1d(2, 8, 7, stride=4),
        torch.nn.ReLU(),
        torch.nn.AdaptiveAvgPool1d(1),
        torch.nn.Flatten(),
        torch.nn.Linear(8, 1),
    )
    repository = qv.ModelRepository(folder)
    unary = repository.add("unary", platform=qv.Platform.ONNX)
    unary.export_version(network, input_shapes={"x": [None, *SHAPE]}, output_names=["y"])
    stream = repository.add("stream", platform=qv.Platform.ENSEMBLE)
    stream.add_streaming_inputs(
        unary.inputs["x"], stream_size=UPDATE, streams_per_gpu=16, strategy="oldest"
    )
    stream.add_output(unary.outputs["y"])
    stream.export_version(None)
    return unary.config


def overhead(config: ModelConfig, folder: Path, seconds: float) -> None:
    """Processor time that the client takes for a request, beside that of the model alone."""
    x = np.zeros((1, *SHAPE), dtype=np.float32)
    session = onnxruntime.InferenceSession(str(folder / "unary/1/model.onnx"))
    with InferenceClient(Nothing(config), "unary") as client:
        costs = {
            "client": repeat(lambda: client.infer(x).result(), seconds),
            "network": repeat(lambda: session.run(None, {"x": x}), seconds),
        }
    print(f"the client's own processor time is {costs['client'] * 1e3:.3f} ms for a request;")
    print(f"the network by itself, by onnxruntime, takes {costs['network'] * 1e3:.3f} ms")


def repeat(work: Callable[[], object], seconds: float) -> float:
    """Processor time of one repetition [s]."""
    work()
    count, begun, until = 0, time.process_time(), time.monotonic() + seconds
    while time.monotonic() < until:
        for _ in range(100):
            work()
        count += 100
    return (time.process_time() - begun) / count


def rate(
    address: str, where: str, model: str, in_flight: int, sequences: int, seconds: float
) -> None:
    """Print requests per second and quantiles of the latency of one case."""
    with InferenceClient(address, model, in_flight=in_flight) as client:
        shape = (1, *SHAPE) if not sequences else (1, SHAPE[0], UPDATE)
        x = np.zeros(shape, dtype=np.float32)
        calls = requests(client, x, sequences)
        for _ in range(50):
            next(calls).result()
        client.latencies.reset()
        waiting: deque = deque()
        begun = time.monotonic()
        while time.monotonic() - begun < seconds:
            waiting.append(next(calls))
            if len(waiting) >= in_flight:
                waiting.popleft().result()
        for answer in waiting:
            answer.result()
        took = time.monotonic() - begun
        p50, p99 = (client.latencies.quantile(q) * 1e3 for q in (0.5, 0.99))
        print(
            f"{model:8s} {where:10s} {in_flight:9d} {sequences or '-':>10} "
            f"{client.latencies.count / took:12.0f} {p50:10.3f} {p99:10.3f}"
        )


def requests(client: InferenceClient, x: np.ndarray, sequences: int) -> Iterator:
    """Requests without end, of so many sequences in turn."""
    ids = [client.new_sequence() for _ in range(sequences)]
    started = False
    while True:
        if not ids:
            yield client.infer(x)
        for sequence in ids:
            yield client.infer(x, sequence_id=sequence, sequence_start=not started)
        started = True


def layouts(folder: Path, seconds: float) -> None:
    """Seconds of strain per second through the two ways to stream a search."""
    content = yaml.safe_load((folder / "repository.yaml").read_text())
    sample_rate, ifos = content["network"]["sample_rate"], len(content["network"]["ifos"])
    rng = np.random.default_rng(0)
    with serve(folder) as server:
        server.wait()
        for where, address in (("inprocess", str(folder)), ("triton", server.address)):
            speed = {}
            for name, stream in content["streams"].items():
                size = stream["update_size"]
                x = (rng.standard_normal((1, ifos, size)) * 1e-21).astype(np.float32)
                with InferenceClient(address, name, in_flight=4) as client:
                    calls = requests(client, x, 1)
                    waiting = deque(next(calls) for _ in range(4))
                    count, begun = 0, time.monotonic()
                    while time.monotonic() - begun < seconds or count < 5:
                        waiting.popleft().result()
                        waiting.append(next(calls))
                        count += 1
                    speed[name] = count * size / sample_rate / (time.monotonic() - begun)
                    for answer in waiting:
                        answer.result()
                print(f"{name:18s} {where:10s} {speed[name]:8.0f} s of data per s")
            if len(speed) == 2:
                ratio = speed["aframe-stream"] / speed["aframe-snapshots"]
                print(f"the exact stream is {ratio:.1f} times as fast as snapshots")


if __name__ == "__main__":
    main()
