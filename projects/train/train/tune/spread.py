"""`python -m train.tune.spread`: one training over several machines of a Ray cluster.

Each machine runs the stage's own training command; together they are the processes of one
distributed training (DDP), which find each other by the address of the first. Ray finds the
machines, starts the processes there and ends them.
"""

from __future__ import annotations

import argparse
import contextlib
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from runtime.cli import configure_logging, run_or_explain
from runtime.guard import guarded

from train.tune.cluster import cluster, prepare

log = logging.getLogger("train")

TRAINING = ("-m", "train", "fit")
POLL_INTERVAL = 1.0
# To find machines that are free, and for a training to save at its end [s].
SEARCH_PATIENCE, END_PATIENCE = 120.0, 30.0


class Machine:
    """What runs on one machine: an actor of Ray, which holds the machine's GPUs."""

    def __init__(self, command: Sequence[str], directory: str) -> None:
        """Args: what Python runs, and the folder to which its relative paths refer."""
        self.command = [sys.executable, *command]
        self.directory = directory
        self.process: subprocess.Popen[str] | None = None
        self.lines: list[str] = []

    def address(self) -> tuple[str, int]:
        """Address of this machine, and a port that is free."""
        import ray

        with socket.socket() as one:
            one.bind(("", 0))
            return ray.util.get_node_ip_address(), one.getsockname()[1]

    def start(self, rank: int, address: str, port: int) -> None:
        """Start the training.

        Args:
            rank: Number of this machine.
            address: Address of machine 0.
            port: The port at which its process is found.
        """
        if not Path(self.directory).is_dir():
            raise ValueError(
                f"no folder {self.directory} on {os.uname().nodename}: the training was begun "
                "there, and reads its inputs relative to it"
            )
        place = {"NODE_RANK": str(rank), "MASTER_ADDR": address, "MASTER_PORT": str(port)}
        self.process = subprocess.Popen(
            guarded(self.command, [os.getpid()]),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            cwd=self.directory,
            env={**os.environ, **place},
            start_new_session=True,
        )
        threading.Thread(target=self._read, args=(self.process,), daemon=True).start()

    def _read(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        for line in process.stdout:
            self.lines.append(line.rstrip())

    def look(self, num_seen: int) -> tuple[list[str], int | None]:
        """Lines after the first `num_seen`, and the exit code if the training has ended."""
        assert self.process is not None
        code = self.process.poll()
        return self.lines[num_seen:], code

    def stop(self) -> None:
        """Have the training save what it has, and end it."""
        if self.process is None or self.process.poll() is not None:
            return
        for ask, patience in ((signal.SIGTERM, END_PATIENCE), (signal.SIGKILL, None)):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, ask)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(patience)


def reserve(command: Sequence[str], num_machines: int, cpus: int, gpus: int) -> list[Any]:
    """An actor on each of several machines.

    Raises:
        ValueError: The cluster has not so many that are free.
    """
    import ray
    from ray.util.placement_group import placement_group
    from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

    group = placement_group([{"CPU": cpus, "GPU": gpus}] * num_machines, strategy="STRICT_SPREAD")
    try:
        ray.get(group.ready(), timeout=SEARCH_PATIENCE)
    except ray.exceptions.GetTimeoutError:
        raise ValueError(
            f"the cluster has not {num_machines} machines with {cpus} CPUs and {gpus} GPUs free: "
            "lower --num-machines, --cpus-per-machine or --gpus-per-machine"
        ) from None
    return [
        ray.remote(Machine)
        .options(
            num_cpus=cpus,
            num_gpus=gpus,
            max_concurrency=2,  # it can be stopped while it is looked at
            scheduling_strategy=PlacementGroupSchedulingStrategy(
                placement_group=group, placement_group_bundle_index=index
            ),
        )
        .remote(list(command), str(Path.cwd()))
        for index in range(num_machines)
    ]


def follow(machines: Sequence[Any]) -> None:
    """Show what machine 0 writes until all have ended.

    Raises:
        ValueError: A training failed, or its machine was lost; carries its last sentence.
    """
    import ray

    seen = [0] * len(machines)
    last = [""] * len(machines)
    running = set(range(len(machines)))
    while running:
        time.sleep(POLL_INTERVAL)
        for rank in sorted(running):
            try:
                lines, code = ray.get(machines[rank].look.remote(seen[rank]))
            except ray.exceptions.RayActorError as error:
                raise ValueError(
                    f"machine {rank} was lost ({str(error).splitlines()[0]}): the same command "
                    "goes on from the last checkpoint"
                ) from error
            seen[rank] += len(lines)
            for line in lines:
                last[rank] = line.strip() or last[rank]
                if rank == 0:
                    sys.stderr.write(f"{line}\n")
            if code is None:
                continue
            running.discard(rank)
            if code:
                raise ValueError(f"the training on machine {rank} failed: {last[rank] or code}")


def make_parser() -> argparse.ArgumentParser:
    """Parser of what is not the training's."""
    parser = argparse.ArgumentParser(
        prog="python -m train.tune.spread",
        description="Train over several machines of a running Ray cluster. All other options are "
        "those of `train fit`; every machine must see the inputs and the run's folder at the "
        "same paths.",
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("--endpoint", required=True, help="the cluster, as ray://HOST:10001 (address)")
    add("--num-machines", type=int, default=2, help="machines (number); default: 2")
    add("--gpus-per-machine", type=int, default=1, help="0 trains on CPUs (number); default: 1")
    add("--cpus-per-machine", type=int, default=6, help="cores (number); default: 6")
    return parser


def run(arguments: Sequence[str], training: Sequence[str] = TRAINING) -> None:
    """Train as the options say.

    Args:
        arguments: Options of this command and of the training.
        training: What Python runs on each machine, without its options.
    """
    import ray

    given, options = make_parser().parse_known_args(arguments)
    num, gpus, cpus = given.num_machines, given.gpus_per_machine, given.cpus_per_machine
    if min(num, cpus) < 1 or gpus < 0:
        raise ValueError("--num-machines and --cpus-per-machine are 1 or more, GPUs 0 or more")
    trainer = {"num_nodes": num, "devices": max(1, gpus), "strategy": "ddp"}
    if not gpus:
        trainer["accelerator"] = "cpu"
    options += [f"--trainer.{name}={value}" for name, value in trainer.items()]
    with cluster(given.endpoint, {"cpu": cpus, "gpu": gpus}):
        machines = reserve([*training, *options], num, cpus, gpus)
        try:
            address, port = ray.get(machines[0].address.remote())
            ray.get([m.start.remote(rank, address, port) for rank, m in enumerate(machines)])
            log.info("training on %d machines, the first is %s", num, address)
            follow(machines)
        finally:
            for stopped in [machine.stop.remote() for machine in machines]:
                with contextlib.suppress(ray.exceptions.RayError):
                    ray.get(stopped, timeout=2 * END_PATIENCE)


def main() -> None:
    """Entry point."""
    configure_logging()
    prepare()
    run_or_explain("train spread", lambda: run(sys.argv[1:]))


if __name__ == "__main__":
    # Under its own name, by which the machines of the cluster import it.
    from train.tune.spread import main as spread

    spread()
