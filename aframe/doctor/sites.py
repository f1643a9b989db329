"""Images, batch systems, clusters."""

import importlib.util
import os
import shutil
from pathlib import Path

from aframe.doctor.finding import Finding, ask
from aframe.sandbox import RUNTIMES


def containers() -> Finding:
    """Whether stages can run in images, and which images there are."""
    program = next(filter(shutil.which, RUNTIMES), "apptainer")
    there, said = ask([program, "--version"])
    root = os.environ.get("AFRAME_CONTAINER_ROOT", "")
    images = sorted(path.stem for path in Path(root).glob("*.sif")) if root else []
    shown = f"images: {', '.join(images)}" if images else "no images in $AFRAME_CONTAINER_ROOT"
    enables = "--environment apptainer runs stages in images: https://apptainer.org, make images"
    return Finding("apptainer", there, f"{said}; {shown}" if there else said, enables)


def slurm() -> Finding:
    """Whether a Slurm controller answers."""
    there, said = ask(["sinfo", "--noheader", "--format=%P %a %D nodes"])
    enables = "--workflow slurm runs branches as jobs: docs/slurm.md"
    return Finding("Slurm", there, f"answers, {said}" if there else said, enables)


def htcondor() -> Finding:
    """Whether an HTCondor scheduler answers."""
    there, said = ask(["condor_q", "-totals"])
    enables = "--workflow htcondor runs branches as jobs: docs/ldg.md"
    return Finding("HTCondor", there, "the scheduler answers" if there else said, enables)


def kubernetes() -> Finding:
    """Whether a cluster is configured; it is not asked."""
    enables = "law run aframe.TrainRemote trains on a cluster: docs/kubernetes.md"
    given = os.environ.get("KUBECONFIG") or str(Path.home() / ".kube" / "config")
    configured = [path for path in given.split(os.pathsep) if Path(path).is_file()]
    inside = "KUBERNETES_SERVICE_HOST" in os.environ
    if importlib.util.find_spec("kubernetes") is None:
        found = "no Python client `kubernetes`: make setup"
    elif configured:
        found = f"configured in {', '.join(configured)}"
    else:
        found = "this is a pod of one" if inside else f"no configuration in {given}"
    return Finding("Kubernetes", bool(configured) or inside, found, enables)
