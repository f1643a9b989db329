"""Kubernetes objects of a stage: plain mappings, as they are written in YAML.

The forms are those of Kubernetes' API (`v1`, `batch/v1`) and of KubeRay's (`ray.io/v1`).
"""

import base64
import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

Object = dict[str, Any]

# Where a container finds the experiment, and where it may write.
FILES = "/etc/aframe"
SCRATCH = "/scratch"
# The stage's command line in an image.
STAGE = "/opt/venv/bin/stage"
RAY = "/opt/venv/bin/ray"
# A ConfigMap holds less.
MOST_BYTES = 1_000_000
# Of Ray: its own service, its clients, and the daemon of each machine.
HEAD_PORT, CLIENT_PORT, NODE_PORT = 6379, 10001, 6380
# Together with what KubeRay appends, a label holds it.
NAME_LENGTH = 30


def object_name(words: Sequence[str], place: str) -> str:
    """Name of all objects of one stage, of one version, in one store.

    Args:
        words: What a person recognises it by.
        place: What tells it from all others.
    """
    words = [re.sub(r"[^a-z0-9]+", "-", word.lower()) for word in words]
    shown = "-".join(words)[:NAME_LENGTH].strip("-")
    return f"{shown}-{hashlib.sha256(place.encode()).hexdigest()[:8]}"


@dataclass(frozen=True)
class Container:
    """What a container runs, and what it asks for.

    Attributes:
        image: Image in a registry.
        cpus: Cores (number).
        memory: Memory as Kubernetes writes it, for example `32Gi`.
        gpus: GPUs (number).
        variables: Environment variables.
        secrets: Environment variables from secrets: name and key of the secret for each.
        more: Further fields of the pod, as `nodeSelector`.
    """

    image: str
    cpus: int
    memory: str
    gpus: int = 0
    variables: Mapping[str, str] = field(default_factory=dict)
    secrets: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    more: Mapping[str, Any] = field(default_factory=dict)

    def environment(self) -> list[Object]:
        """Its variables; keys are named, and never written down."""
        plain: list[Object] = [{"name": n, "value": v} for n, v in self.variables.items()]
        return plain + [
            {"name": name, "valueFrom": {"secretKeyRef": {"name": secret, "key": key}}}
            for name, (secret, key) in self.secrets.items()
        ]

    def resources(self) -> Object:
        """What it asks for; memory and GPUs are a limit, too."""
        limits = {"memory": self.memory}
        if self.gpus:
            limits["nvidia.com/gpu"] = str(self.gpus)
        return {"requests": {"cpu": str(self.cpus), **limits}, "limits": limits}


def make_config_map(name: str, files: Mapping[str, bytes]) -> Object:
    """The experiment's files for the containers.

    Args:
        name: Name of all objects.
        files: Contents by path, relative to `FILES`.

    Raises:
        ValueError: They are too large.
    """
    size = sum(map(len, files.values()))
    if size > MOST_BYTES:
        raise ValueError(
            f"the files of the experiment have {size} bytes, a ConfigMap holds {MOST_BYTES}: name "
            "smaller ones in experiment.yaml"
        )
    texts, others = {}, {}
    for key, content in zip(_keys(files), files.values(), strict=True):
        try:
            texts[key] = content.decode()
        except UnicodeDecodeError:
            others[key] = base64.b64encode(content).decode()
    item = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": _metadata(name), "data": texts}
    return {**item, "binaryData": others} if others else item


def _keys(files: Mapping[str, bytes]) -> list[str]:
    """Keys of files in a ConfigMap, which know no folders."""
    return [re.sub(r"[^-._a-zA-Z0-9]", "-", path) for path in files]


def _metadata(name: str) -> Object:
    return {"name": name, "labels": _labels(name)}


def _labels(name: str) -> Object:
    return {"app.kubernetes.io/name": "aframe", "app.kubernetes.io/instance": name}


def make_pod(
    name: str,
    container: Container,
    files: Mapping[str, bytes],
    role: str,
    command: Sequence[str] = (),
    **fields: Any,
) -> Object:
    """Template of a pod with one container.

    Args:
        name: Name of all objects.
        container: What it asks for.
        files: The files in the ConfigMap.
        role: Name of the container.
        command: What it runs; for a pod of KubeRay, which runs Ray, nothing.
        fields: Further fields of the container.
    """
    items = [{"key": key, "path": path} for key, path in zip(_keys(files), files, strict=True)]
    main: Object = {
        "name": role,
        "image": container.image,
        **({"command": list(command)} if command else {}),
        "workingDir": SCRATCH,
        "env": container.environment(),
        "resources": container.resources(),
        "volumeMounts": [
            {"name": "files", "mountPath": FILES, "readOnly": True},
            {"name": "scratch", "mountPath": SCRATCH},
            {"name": "shared-memory", "mountPath": "/dev/shm"},
        ],
        **fields,
    }
    spec: Object = {
        # A stage has no business with the cluster that it runs on.
        "automountServiceAccountToken": False,
        "containers": [main],
        "volumes": [
            {"name": "files", "configMap": {"name": name, "items": items}},
            {"name": "scratch", "emptyDir": {}},
            # Processes that load data hand them over there; the default of 64 MB is too little.
            {"name": "shared-memory", "emptyDir": {"medium": "Memory"}},
        ],
        **container.more,
    }
    return {"metadata": {"labels": _labels(name)}, "spec": spec}


def make_job(name: str, pod: Object, retries: int, kept: int) -> Object:
    """A job that runs a pod to its end.

    Args:
        name: Name of all objects.
        pod: Template of the pod.
        retries: How often a pod that failed is followed by another.
        kept: How long the job, its log, and all that belongs to it stay after its end [s].
    """
    pod = {**pod, "spec": {"restartPolicy": "Never", **pod["spec"]}}
    # A pod that the cluster moves has not failed.
    moved = {"type": "DisruptionTarget", "status": "True"}
    rules = [{"action": "Ignore", "onPodConditions": [moved]}]
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": _metadata(name),
        "spec": {
            "backoffLimit": retries,
            "ttlSecondsAfterFinished": kept,
            "podFailurePolicy": {"rules": rules},
            "template": pod,
        },
    }


def make_secret(name: str, values: Mapping[str, str]) -> Object:
    """A secret of this stage alone.

    Args:
        name: Name of all objects.
        values: Its keys and values.
    """
    metadata = _metadata(name)
    return {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": dict(values)}


def make_ray_cluster(
    name: str,
    head: Object,
    workers: Object,
    num_workers: int,
    container: Container,
    ray_version: str,
) -> Object:
    """A Ray cluster, which KubeRay's operator starts.

    Its pods need neither Ray's dashboard nor `wget`, which KubeRay's own probes would ask for.

    Args:
        name: Name of all objects.
        head: Template of the pod that leads, and runs no trial.
        workers: Template of the pods that run trials.
        num_workers: How many of them.
        container: What each of them asks for.
        ray_version: Version of Ray in the image.
    """
    start = {"num-cpus": "0", "include-dashboard": "false"}
    join = {
        "num-cpus": str(container.cpus),
        "num-gpus": str(container.gpus),
        "node-manager-port": str(NODE_PORT),
    }
    return {
        "apiVersion": "ray.io/v1",
        "kind": "RayCluster",
        "metadata": _metadata(name),
        "spec": {
            "rayVersion": ray_version,
            "headGroupSpec": {"rayStartParams": start, "template": head},
            "workerGroupSpecs": [
                {
                    "groupName": "trials",
                    "replicas": num_workers,
                    "minReplicas": num_workers,
                    "maxReplicas": num_workers,
                    "rayStartParams": join,
                    "template": workers,
                }
            ],
        },
    }


def probes(port: int) -> Object:
    """Fields of a container that is well as long as a port of it can be reached."""
    probe = {"tcpSocket": {"port": port}, "periodSeconds": 10, "timeoutSeconds": 5}
    return {
        "startupProbe": {**probe, "failureThreshold": 30},
        "readinessProbe": {**probe, "failureThreshold": 3},
        "livenessProbe": {**probe, "failureThreshold": 12},
    }


def head_service(name: str) -> str:
    """Name under which a Ray cluster's head is found, given to it by KubeRay."""
    return f"{name}-head-svc"
