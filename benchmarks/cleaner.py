"""DeepClean: computing a second live and offline, latency by stage, against a window-wise scheme.

Run with the environment of `projects/deepclean`; see README.md. The version is one that `deepclean
publish` or the sandbox made; data are simulated.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from cleaning import Choice, Cleaner, Model, Predictor, Recording, load_cleaning_experiment
from deepclean.frames import FrameFolder, GuardedReader, list_frames
from deepclean.models import list_versions, load_version, read_manifest
from deepclean.models.versions import load_network, version_folder
from deepclean.offline import clean_frames, constant, write_cleaned
from deepclean.online.output import Output
from deepclean.online.telemetry import Telemetry
from deepclean.simulation import Plant, load_simulation
from deepclean.simulation.frames import write_simulated

WINDOWS = 512
"""Windows in a second, of the scheme that is compared with."""
BATCH = 128
"""Windows that it computes at once."""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("store", type=Path, help="folder of versions")
    parser.add_argument("--experiment", type=Path, default=Path("configs/deepclean"))
    parser.add_argument("--version", type=int, default=0, help="the newest if 0")
    parser.add_argument("--seconds", type=int, default=256, help="of data")
    parser.add_argument("--live-seconds", type=int, default=60, help="of data, at real time")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    version = arguments.version or list_versions(arguments.store)[-1].version
    model = load_version(arguments.store, version)
    print(f"load of the machine: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    frame_by_frame(arguments.experiment, model, arguments.seconds)
    window_by_window(arguments.store, model)
    with tempfile.TemporaryDirectory() as folder:
        offline(arguments.experiment, model, arguments.seconds, Path(folder))
        if arguments.live_seconds:
            live(arguments.experiment, arguments.store, arguments.live_seconds, Path(folder))
    print(f"load of the machine: {os.getloadavg()[0]:.1f}")


def simulated(experiment: Path) -> tuple[Plant, int]:
    """The experiment's plant and the first second of its evaluation span."""
    settings = load_cleaning_experiment(experiment)
    plant = Plant(load_simulation(settings.file(settings.simulation)), settings.load_problem().ifo)
    return plant, settings.evaluation.start


def frame_by_frame(experiment: Path, model: Model, seconds: int) -> None:
    """What the online cleaner computes for each second, without files."""
    plant, start = simulated(experiment)
    problem = load_cleaning_experiment(experiment).load_problem()
    rates = {name: plant.rates[name] for name in problem.witnesses}
    made = plant(start, start + seconds)
    strain = made.strain.reshape(seconds, -1)
    witnesses = [
        {name: made.witnesses[name][i * r : (i + 1) * r] for name, r in rates.items()}
        for i in range(seconds)
    ]
    for name, choice in (("one version", Choice(model)), ("and a canary", Choice(model, model))):
        recording = Recording(plant.settings.strain_rate, rates, problem.sample_rate, start)
        cleaner = Cleaner(problem, recording, lambda second, c=choice: c, start)
        wall, cpu = [], []
        for i in range(seconds):
            before = time.perf_counter(), time.process_time()
            recording.add(start + i, strain[i], witnesses[i])
            cleaner.advance()
            wall.append(time.perf_counter() - before[0])
            cpu.append(time.process_time() - before[1])
        # until the gate has its seconds there is less to do
        show(f"online, per second, {name}, of the core", cpu[10:])
        show(f"online, per second, {name}, of the clock", wall[10:])


def show(name: str, times: list[float]) -> None:
    """Print quantiles of times [s]."""
    half, most = np.quantile(times, (0.5, 0.99))
    print(f"{name:58s} p50 {1e3 * half:8.1f} ms   p99 {1e3 * most:8.1f} ms")


def of_the_core(work: Callable[[], object]) -> float:
    """Processor time of some work [s], the least of three times."""
    times = []
    for _ in range(3):
        begun = time.process_time()
        work()
        times.append(time.process_time() - begun)
    return min(times)


def window_by_window(store: Path, model: Model) -> None:
    """The networks alone: one pass as the cleaner does it, and windows of a second.

    The windows are shifted by a sample, and computed in single precision, as such schemes are.
    """
    folder = version_folder(store, model.version)
    files = [folder / name for name in read_manifest(folder).networks]
    for layer, file in zip(model.estimator.layers, files, strict=True):
        rate, predictor = layer.layer.sample_rate, layer.predictor
        channels = len(layer.channels)
        step = max(1, rate // WINDOWS)
        size = rate + predictor.past_size + predictor.future_size
        stretch = np.random.default_rng(0).standard_normal((channels, size))
        long = torch.randn(channels, 2 * rate)
        network = load_network(file)

        def once(stretch: np.ndarray = stretch, predictor: Predictor = predictor) -> None:
            predictor.predict(stretch, 0)

        def windows(long=long, network=network, rate=rate, step=step) -> None:
            found = long.unfold(1, rate, step)[:, :WINDOWS].transpose(0, 1)
            for batch in found.split(BATCH):
                network(batch.contiguous())

        with torch.inference_mode():
            once()
            windows()
            one, many = of_the_core(once), of_the_core(windows)
        print(
            f"network, a second of data: {1e3 * one:.1f} ms in one pass, {many:.2f} s in "
            f"{WINDOWS} windows, {many / one:.0f} times as much"
        )


def offline(experiment: Path, model: Model, seconds: int, scratch: Path) -> None:
    """From frames to frames, 64 s at once."""
    plant, start = simulated(experiment)
    problem = load_cleaning_experiment(experiment).load_problem()
    write_simulated(plant, problem, scratch, start, start + seconds, 64, truth=False)
    with GuardedReader() as reader:
        strain = FrameFolder(scratch / "strain", [problem.strain_channel], reader)
        witness = FrameFolder(scratch / "witness", problem.witnesses, reader)
        cpu, wall = time.process_time(), time.perf_counter()
        cleaned = clean_frames(problem, strain, witness, constant(model), start, start + seconds)
        write_cleaned(cleaned, Output(scratch / "cleaned", problem), 64)
        cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    print(
        f"offline, frames to frames: {seconds / cpu:.0f} s of data per second of a core (less the "
        f"process that reads), {seconds / wall:.0f} per second of the clock"
    )


def live(experiment: Path, store: Path, seconds: int, scratch: Path) -> None:
    """Player and cleaner at real time, and when their files appeared."""
    _, start = simulated(experiment)
    root = scratch / "live"
    deepclean = [sys.executable, "-P", "-m", "deepclean"]
    common = ["--experiment", str(experiment)]
    ends = str(start + seconds - 3)
    options = {
        "online": ["--frames", str(root / "frames"), "--store", str(store), "--until", ends],
        "play": ["--duration", str(seconds)],
    }
    places = {"online": root, "play": root / "frames"}

    def begin(verb: str) -> subprocess.Popen[bytes]:
        command = [*deepclean, verb, *common, "--output", str(places[verb]), *options[verb]]
        return subprocess.Popen(command, stderr=subprocess.DEVNULL)

    cleaner = begin("online")
    # its imports are not what is measured
    time.sleep(20)
    player = begin("play")
    try:
        player.wait()
        cleaner.wait(60)
    finally:
        for process in (player, cleaner):
            process.kill()
            process.wait()
    came = appeared(root / "frames" / "strain")
    witnesses = appeared(root / "frames" / "witness")
    for second, at in witnesses.items():
        came[second] = max(came[second], at)
    compute = {r.second: r.compute for r in Telemetry(root / "telemetry").since(0)}
    for name, folder, waits in (("production alone", "early", 1), ("all channels", "cleaned", 2)):
        written = appeared(root / folder)
        # the first seconds wait for the reader's imports; a frame that never comes is waited for
        known = [
            s
            for s in sorted(written)
            if s >= start + 10 and all(t in witnesses for t in range(s - 2, s + waits + 1))
        ]
        total = [written[s] - came[s] for s in known]
        show(f"latency, {name}: frame there until written", total)
        show("  of it waiting for later frames", [came[s + waits] - came[s] for s in known])
        rest = [written[s] - came[s + waits] for s in known]
        show("  of it noticing, reading, computing, writing", rest)
    show("  of it computing", [compute[s] for s in known])


def appeared(folder: Path) -> dict[int, float]:
    """When each frame got its name [s]: renaming sets the time of the last change of status."""
    return {name.start: name.path.stat().st_ctime for name in list_frames(folder)}


if __name__ == "__main__":
    main()
