"""A Ray cluster of two machines: a training over both, trials on both, one of the machines lost.

The machines are two nodes of Ray on this one, with a folder and ports of their own. In place of
trainings they run stand-ins.
"""

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from runtime import storage
from test_train_tune import (
    TRAINING,
    Study,
    bucket,
    config_of,
    end,
    free_port,
    wait_for,
)
from train.tune.cli import result_published
from train.tune.settings import Settings

__all__ = ["bucket"]  # a fixture, found by its name


class Nodes:
    """Two nodes of Ray on loopback, each with one CPU: it runs one trial."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port, self.client = free_port(), free_port()
        # for what joins the cluster
        self.variables = {
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN": "0123456789abcdef" * 4,
            "WANDB_MODE": "offline",
        }
        self.processes: dict[str, subprocess.Popen[bytes]] = {}

    def marker(self, name: str) -> str:
        """What all processes of a node have in their environment."""
        return f"NODE_OF_A_TEST={self.folder}/{name}"

    def start(self, name: str, port: int, *options: str, **variables: str) -> None:
        """Start a node, and wait until a port of it can be reached."""
        file = self.folder / f"{name}.log"
        with file.open("w") as log:
            process = subprocess.Popen(
                [
                    f"{sys.prefix}/bin/ray", "start", "--block", "--num-cpus=1", "--num-gpus=0",
                    "--min-worker-port=0", "--max-worker-port=0",
                    "--object-store-memory=100000000", f"--temp-dir={self.folder / name}",
                    *options,
                ],
                env={
                    **os.environ,
                    **self.variables,
                    **dict([self.marker(name).split("=")]),
                    "RAY_USAGE_STATS_ENABLED": "0",
                    **variables,
                },
                stdout=log,
                stderr=log,
                start_new_session=True,
            )  # fmt: skip
        self.processes[name] = process

        def answers() -> bool:
            assert process.poll() is None, file.read_text()
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
                return True
            return False

        wait_for(answers)

    def start_both(self) -> None:
        """Start the one that leads and one that joins it, both listening on loopback alone."""
        self.start(
            "head",
            self.client,
            "--head",
            f"--port={self.port}",
            f"--ray-client-server-port={self.client}",
            "--include-dashboard=false",
            RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER="0",
        )
        # Under a name in which Ray does not see the loopback that it would put its own address
        # in the place of.
        address, port = f"LOCALHOST:{self.port}", free_port()
        self.start("second", port, f"--address={address}", f"--node-manager-port={port}")

    def lose(self, name: str) -> None:
        """End a node at once, with all that runs there."""
        process = self.processes.pop(name)
        end(process.pid, self.marker(name))
        process.wait()

    def stop(self) -> None:
        """End what runs."""
        for name in list(self.processes):
            self.lose(name)
        shutil.rmtree(self.folder, ignore_errors=True)


@pytest.fixture(scope="module")
def nodes() -> Iterator[Nodes]:
    pytest.importorskip("grpc", reason="needs Ray's client: pip install 'ray[client]'")
    # Paths of sockets are limited to some hundred characters.
    both = Nodes(Path(tempfile.mkdtemp(prefix="ray-")))
    try:
        both.start_both()
        yield both
    finally:
        both.stop()


def spread(nodes: Nodes, program: Path, *options: str) -> "subprocess.Popen[str]":
    """Start a training over both nodes, with a stand-in for `train fit`."""
    code = (
        "import sys; from train.tune.cluster import prepare; prepare();"
        "from runtime.cli import run_or_explain; from train.tune.spread import run;"
        "run_or_explain('spread', lambda: run(sys.argv[2:], [sys.argv[1]]))"
    )
    where = [f"--endpoint=ray://127.0.0.1:{nodes.client}", "--gpus-per-machine=0"]
    return subprocess.Popen(
        [sys.executable, "-c", code, str(program), *where, "--cpus-per-machine=1", *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=program.parent,
        env={**os.environ, **nodes.variables},
    )


# Processes that find each other as those of Lightning do, and sum up their ranks.
RANKS = """
import os, sys
import torch
from lightning.fabric.plugins.environments import LightningEnvironment

place = LightningEnvironment()
assert "--trainer.num_nodes=2" in sys.argv and "--trainer.strategy=ddp" in sys.argv
rank = place.node_rank()
if "--fail" in sys.argv and rank == 1:
    sys.exit("train: the loss is nan")
torch.distributed.init_process_group(
    "gloo", init_method=f"tcp://{place.main_address}:{place.main_port}", rank=rank, world_size=2)
total = torch.tensor([float(rank + 1)])
torch.distributed.all_reduce(total)
node = os.environ["NODE_OF_A_TEST"].rpartition("/")[2]
open(f"rank-{rank}", "w").write(f"{node} {total.item():g}")
print("sum", total.item())
"""


def test_a_training_over_two_machines(tmp_path: Path, nodes: Nodes) -> None:
    program = tmp_path / "ranks.py"
    program.write_text(RANKS)
    process = spread(nodes, program)
    output, _ = process.communicate(timeout=200)
    assert process.returncode == 0, output
    ranks = [(tmp_path / f"rank-{rank}").read_text().split() for rank in range(2)]
    assert {node for node, _ in ranks} == {"head", "second"}
    assert [total for _, total in ranks] == ["3", "3"]
    assert "sum 3.0" in output
    # one fails, and the other, which waits for it, is ended
    process = spread(nodes, program, "--fail")
    output, _ = process.communicate(timeout=200)
    assert process.returncode == 1
    assert output.splitlines()[-1] == (
        "spread: the training on machine 1 failed: train: the loss is nan"
    )


def test_trials_on_two_machines_of_which_one_is_lost(tmp_path: Path, nodes: Nodes) -> None:
    """Its trial goes on at the machine that is left, from the last epoch that was kept."""
    study = Study(
        tmp_path,
        str(tmp_path / "store"),
        # neither trial ends an epoch before both have begun, so that each machine has one
        config_of(epochs=4, duration=0.3, company=2),
        num_samples=2,
        endpoint=f"ray://127.0.0.1:{nodes.client}",
        # both go on to the end
        scheduler={"class_path": "ray.tune.schedulers.FIFOScheduler"},
    )
    node = 'os.environ["NODE_OF_A_TEST"].rpartition("/")[2]'
    noted = TRAINING.replace("line |= {", f'line |= {{"node": {node}, ')
    assert noted != TRAINING
    (tmp_path / "training.py").write_text(noted)
    (tmp_path / "hold").touch()
    process = study.start(**nodes.variables)
    try:
        # both wait in the third epoch, their second is kept
        kept = (tmp_path / "store").glob
        wait_for(lambda: len(list(kept("mine/*/checkpoint_000001"))) == 2)
        first = {line["node"]: line["trial"] for line in study.notes("begin")}
        nodes.lose("second")
        (tmp_path / "hold").unlink()
        output, _ = process.communicate(timeout=200)
    finally:
        end(process.pid, study.marker)
        process.wait()
    assert process.returncode == 0, output
    assert set(first) == {"head", "second"}
    assert len(set(first.values())) == 2
    *_, again = study.notes("begin")
    assert (again["trial"], again["node"]) == (first["second"], "head")
    assert again["epoch"] >= 1
    ended = [(line["trial"], line["node"]) for line in study.notes("end")]
    assert sorted(ended) == sorted((trial, "head") for trial in first.values())


def test_the_result_appears_in_a_bucket(
    tmp_path: Path, bucket: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whole, at the end: a study that fails leaves nothing there."""
    for name, value in {**bucket, "AFRAME_CACHE": str(tmp_path)}.items():
        monkeypatch.setenv(name, value)
    url = "s3://studies/copies/tune-0"
    for fails in (True, False):
        settings = Settings("mine", "s3://studies/kept", {}, copy_dir=Path(url))
        with contextlib.suppress(ValueError), result_published(settings):
            assert settings.copy_dir is not None
            settings.copy_dir.mkdir(parents=True, exist_ok=True)
            (settings.copy_dir / "trials.csv").write_text("trial\n")
            if fails:
                raise ValueError
        assert storage.exists(url) is not fails
