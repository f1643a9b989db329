"""Python, environments, memory, disks, GPUs."""

import os
import platform
import shutil
import sys
from pathlib import Path

from runtime import storage

from aframe.doctor.finding import Finding, ask
from aframe.environment import REPOSITORY, SetupError, find_uv, is_current

GB = 1e9
# What the quickstart was seen to take: in memory with two stages at a time, and on disk.
LEAST_MEMORY = 4 * GB
LEAST_STORE = 3 * GB
# What the environments of all stages take, made from nothing, with uv's cache.
LEAST_ENVIRONMENTS = 12 * GB
SANDBOX = ("datagen", "train", "export", "infer", "evaluate")


def python() -> Finding:
    """Whether this Python is one of those that are tested."""
    supported = (3, 11) <= sys.version_info[:2] < (3, 14)
    enables = "3.11 to 3.13 is needed: PYTHON=/path/to/python make setup"
    found = f"{platform.python_version()} in {sys.prefix}"
    return Finding("Python", supported, found, enables, required=True)


def uv() -> Finding:
    """Whether environments can be made."""
    try:
        there, said = ask([find_uv(), "--version"])
    except SetupError as error:
        there, said = False, str(error)
    return Finding("uv", there, said, "makes the stages' environments: make setup", required=True)


def environments() -> list[Finding]:
    """Which stages' environments are there; those missing are made on first use."""
    missing = [name for name in SANDBOX if not is_current(REPOSITORY / "projects" / name)]
    free = shutil.disk_usage(REPOSITORY).free
    enables = (
        "made on first use, about 4 GB of packages from a package index; now: "
        f"python -m aframe.environment {' '.join(f'projects/{name}' for name in missing)}"
    )
    found = f"{len(SANDBOX) - len(missing)} of {len(SANDBOX)} up to date"
    stages = Finding("environments", not missing, found, enables)
    if missing and free < LEAST_ENVIRONMENTS:
        enables = f"{LEAST_ENVIRONMENTS / GB:.0f} GB hold the stages' environments"
        found = f"{found}, {free / GB:.1f} GB free beside {REPOSITORY}"
        stages = Finding("environments", False, found, enables, required=True)
    there = is_current(REPOSITORY / "projects" / "triton")
    triton = Finding(
        "Triton server",
        there,
        "its environment is " + ("up to date" if there else "not made"),
        "--transport triton runs networks on a server: python -m aframe.environment "
        "projects/triton",
    )
    return [stages, triton]


def memory() -> Finding:
    """Memory of the machine, or of what holds this process."""
    size = _memory_size()
    found = f"{size / GB:.1f} GB, {len(os.sched_getaffinity(0))} cores"
    enables = f"{LEAST_MEMORY / GB:.0f} GB let two stages run at a time"
    return Finding("memory", size >= LEAST_MEMORY, found, enables, required=True)


def _memory_size() -> float:
    """Memory that this process may have [bytes]: of a batch job, what the job may have."""
    size = float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    limit = Path("/sys/fs/cgroup/memory.max")
    text = limit.read_text().strip() if limit.is_file() else "max"
    return size if text == "max" else min(size, float(text))


def disks() -> list[Finding]:
    """Space where products are kept, and where copies of remote ones are."""
    store = os.environ.get("AFRAME_STORE") or str(REPOSITORY / "store")
    remote = "://" in store
    enables = f"{LEAST_STORE / GB:.0f} GB hold the quickstart; AFRAME_STORE names another place"
    if remote:
        scheme, _, place = store.partition("://")
        shown = f"{scheme}://{place.rpartition('@')[2]}"
        kept = Finding("store", True, shown, enables, required=True)
    else:
        kept = _space("store", Path(store), enables, required=True)
    enables = "AFRAME_CACHE names the folder of copies from buckets and of what was fetched"
    return [kept, _space("cache", storage.cache_folder(), enables, required=remote)]


def _space(name: str, folder: Path, enables: str, required: bool) -> Finding:
    """Whether a folder, there or to be made, can be written and has space."""
    folder = folder.absolute()
    above = next(path for path in (folder, *folder.parents) if path.exists())
    if not (above.is_dir() and os.access(above, os.W_OK)):
        return Finding(name, False, f"{folder} cannot be written", enables, required)
    free = shutil.disk_usage(above).free
    found = f"{free / GB:.1f} GB free in {folder}"
    return Finding(name, free >= LEAST_STORE, found, enables, required)


def gpu() -> Finding:
    """GPUs and their driver."""
    there, said = ask(
        ["nvidia-smi", "--query-gpu=name,memory.total,driver_version", "--format=csv,noheader"]
    )
    enables = (
        "a GPU with a driver for CUDA 12.8 trains the networks of configs/o3 and serves them; "
        "all else runs without"
    )
    return Finding("GPU", there and bool(said), said or "nvidia-smi shows none", enables)
