"""The machines that trials run on."""

from __future__ import annotations

import contextlib
import logging
import os
import secrets
import shutil
import tempfile
from collections.abc import Iterator, Mapping

log = logging.getLogger("train")

# Trials hand over a row of numbers per epoch; checkpoints go to the storage.
OBJECT_STORE_BYTES = 100_000_000
# To join a running cluster.
ATTEMPTS = 3
# Set before Ray is imported. Nothing is reported to anybody, and an interrupt ends the study at
# once: what it leaves is complete at any time.
VARIABLES = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_AIR_NEW_OUTPUT": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",
    "TUNE_WARN_EXCESSIVE_EXPERIMENT_CHECKPOINT_SYNC_THRESHOLD_S": "0",
    "RAY_ENABLE_METRICS_COLLECTION": "0",
    # What Ray does on desktops: the cluster of one machine listens on loopback alone.
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
}


def prepare() -> None:
    """Set the variables that Ray reads when it is imported."""
    for name, value in VARIABLES.items():
        os.environ.setdefault(name, value)


@contextlib.contextmanager
def cluster(endpoint: str | None, resources: Mapping[str, float]) -> Iterator[None]:
    """Join a running cluster, or start one on this machine for the time of the block.

    The one on this machine listens on loopback, and has no dashboard.

    Args:
        endpoint: Address of a running cluster; None starts one.
        resources: CPUs and GPUs of a trial.

    Raises:
        ValueError: The cluster cannot be reached, or this machine is too small for a trial.
    """
    import ray

    # It prints the traceback of each trial that fails; the study logs the sentence.
    logging.getLogger("ray.tune.execution.tune_controller").setLevel(logging.CRITICAL)
    folder = None
    quiet = {"log_to_driver": False, "configure_logging": False}
    if endpoint:
        try:
            import grpc  # noqa: F401 - Ray's own sentence names another remedy
        except ImportError as error:
            raise ValueError(
                f"--tune.endpoint {endpoint} needs Ray's client: install ray[client]"
            ) from error
        _join(endpoint, **quiet)
    else:
        # Of this study alone; Ray would keep one in the home folder, which an image lacks.
        os.environ["RAY_AUTH_TOKEN"] = secrets.token_hex(32)
        # Paths of sockets are limited to some hundred characters, so none below temp_dir.
        folder = tempfile.mkdtemp(prefix="tune-")
        ray.init(
            "local",
            include_dashboard=False,
            object_store_memory=OBJECT_STORE_BYTES,
            _temp_dir=folder,
            **quiet,
        )
    try:
        _check_size(endpoint, resources)
        yield
    finally:
        ray.shutdown()
        if folder:
            shutil.rmtree(folder, ignore_errors=True)


def _join(endpoint: str, **options: bool) -> None:
    """Join a running cluster.

    Its head starts a server for each client, and gives up after a while: on a busy machine the
    next attempt finds it quicker.
    """
    import ray

    for attempt in range(1, ATTEMPTS + 1):
        try:
            ray.init(endpoint, **options)
            return
        except (ConnectionError, RuntimeError, ValueError) as error:
            if "Starting Ray client server failed" in str(error) and attempt < ATTEMPTS:
                log.warning("%s is slow to take a client, attempt %d", endpoint, attempt)
                ray.shutdown()
                continue
            raise ValueError(
                f"no Ray cluster answers at --tune.endpoint {endpoint}: {error}"
            ) from error


def _check_size(endpoint: str | None, resources: Mapping[str, float]) -> None:
    import ray

    there = ray.cluster_resources()
    for kind, option in (("gpu", "gpus_per_worker"), ("cpu", "cpus_per_gpu")):
        found = there.get(kind.upper(), 0.0)
        if found >= resources[kind]:
            continue
        words = f"a trial reserves {resources[kind]:g} {kind.upper()}s, and there are {found:g}"
        if endpoint is None:
            raise ValueError(f"{words} on this machine: lower --tune.{option}")
        # It may grow on demand.
        log.warning("%s in the cluster now; waiting for more", words)
