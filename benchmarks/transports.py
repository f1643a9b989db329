"""DeepClean's networks asked on a server and in a repository's models, against in memory.

Run with the environment of `projects/deepclean`; see README.md. Networks have random weights,
which take as long as trained ones.
"""

import argparse
import os
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
import yaml
from architectures import DeepClean
from architectures.bilinear import Bilinear
from cleaning import Predictor
from deepclean.models import publish
from deepclean.served import MemorySource, Source
from deepclean.served.building import Form, add_version
from deepclean.served.connection import Place
from deepclean.served.sources import ServedSource
from hermes.aeriel.serve import serve

START = 1_000_000_000
CHANNELS = 21
BAND_PASS = 0.5
"""What the filters after the network need of it on either side [s]."""
NETWORKS = {"Bilinear, 512 Hz": (Bilinear, 512), "DeepClean, 4096 Hz": (DeepClean, 4096)}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=64, help="of data")
    parser.add_argument("--update-lengths", type=float, nargs="+", default=[1.0, 0.25])
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    print(f"load of the machine: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    for name, (kind, rate) in NETWORKS.items():
        for length in arguments.update_lengths:
            with tempfile.TemporaryDirectory() as folder:
                measure(f"{name}, updates of {length} s", kind, rate, length, arguments, folder)
    print(f"load of the machine: {os.getloadavg()[0]:.1f}")


def measure(name: str, kind: type, rate: int, length: float, arguments, folder: str) -> None:
    """Time of one network on all transports."""
    store, repository = Path(folder) / "models", Path(folder) / "repository"
    published(kind, rate, store, Path(folder))
    add_version(store, 1, repository, Form(update_length=length))
    with serve(repository) as server:
        server.wait()
        sources: dict[str, Source] = {
            "memory": MemorySource(),
            "inprocess": ServedSource(Place(repository)),
            "triton": ServedSource(Place(server.address)),
        }
        predictors = {
            key: source.load(store, 1).estimator.layers[0].predictor
            for key, source in sources.items()
        }
        online = {key: [] for key in sources}
        offline = {key: [] for key in sources}
        random = np.random.default_rng(0)
        data = random.standard_normal((CHANNELS, (arguments.seconds + 4) * rate), np.float32)
        for i in range(arguments.seconds):
            for key, predictor in predictors.items():
                online[key].append(once(predictor, data, i, 1, rate))
        for i in range(3):
            for key, predictor in predictors.items():
                # long after what was asked before: nothing is known of it
                begin = START + 10_000 * (i + 1)
                offline[key].append(once(predictor, data, 0, arguments.seconds, rate, begin))
    base = np.median(online["memory"][5:]), min(offline["memory"])
    for key in sources:
        half, most = np.quantile(online[key][5:], (0.5, 0.99))
        long = min(offline[key])
        print(
            f"{name:38s} {key:10s} a second at a time: p50 {1e3 * half:6.2f} ms, p99 "
            f"{1e3 * most:6.2f} ms, {half / base[0]:5.2f} of memory; {arguments.seconds} s at "
            f"once: {1e3 * long / arguments.seconds:6.2f} ms per s, {long / base[1]:5.2f}",
            flush=True,
        )


def once(
    predictor: Predictor,
    data: np.ndarray,
    start: int,
    length: int,
    rate: int,
    begin: int = START,
) -> float:
    """Wall time of one stretch as an estimator asks for it [s]."""
    hop, past, future = predictor.hop_size, predictor.past_size, predictor.future_size
    margin = -(-round(BAND_PASS * rate) // hop) * hop
    first = (start + 2) * rate - margin - past
    asked = data[:, first : (start + length + 2) * rate + margin + future].copy()
    begun = time.perf_counter()
    predictor.predict(asked, begin * rate + first)
    return time.perf_counter() - begun


def published(kind: type, rate: int, store: Path, folder: Path) -> None:
    """Publish a network with random weights as version 1."""
    names = [f"WITNESS_{i}" for i in range(CHANNELS)]
    layer = {"bands": [[55, 65]], "witnesses": names, "sample_rate": rate}
    problem = folder / "problem.yaml"
    problem.write_text(yaml.safe_dump({"name": "60Hz", "ifo": "H1", "layers": [layer]}))
    network = kind(CHANNELS, rate, 8.0).eval()
    scripted = torch.jit.trace(network, torch.zeros(1, CHANNELS, 8 * rate))
    path = folder / "network.pt"
    torch.jit.script(Sized(scripted, network)).save(str(path))
    publish(store, problem, [path], (START, START + 1))


class Sized(torch.nn.Module):
    """A traced network with the sizes that a trace leaves out."""

    def __init__(self, traced: torch.nn.Module, network: torch.nn.Module) -> None:
        super().__init__()
        self.traced = traced
        self.hop_size = int(network.hop_size)
        self.past_size, self.future_size = int(network.past_size), int(network.future_size)

    def forward(self, witnesses: torch.Tensor) -> torch.Tensor:
        """Noise, (batch, time)."""
        return self.traced(witnesses)


if __name__ == "__main__":
    main()
