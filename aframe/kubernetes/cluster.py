"""A configured cluster: put objects there, and follow a job to its end."""

import json
import logging
import os
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import urllib3
from kubernetes import client, config, dynamic
from kubernetes.client.exceptions import ApiException

from aframe.kubernetes.objects import Object
from aframe.sandbox import StageError

log = logging.getLogger("aframe")

# Seconds between two looks at a job.
INTERVAL = 5.0
# How long the removal of a finished job may take [s].
PATIENCE = 120.0
# How long a cluster may be silent while a job is followed, which goes on meanwhile [s].
SILENCE = 900.0


class ClusterError(StageError):
    """The cluster cannot be asked, or refuses."""


class SilenceError(ClusterError):
    """The cluster does not answer, now."""


@contextmanager
def _explained(what: str) -> Iterator[None]:
    """Say in a sentence what the cluster's answer was."""
    try:
        yield
    except ApiException as error:
        said = error.reason
        with suppress(TypeError, ValueError, KeyError):
            said = json.loads(error.body or "{}")["message"]
        raise ClusterError(f"the cluster refuses to {what}: {error.status}, {said}") from error
    except urllib3.exceptions.HTTPError as error:
        raise SilenceError(f"the cluster does not answer: {error}") from error


class Cluster:
    """One namespace of a cluster, as configured for `kubectl` or for a pod of it."""

    def __init__(self, namespace: str = "", context: str = "") -> None:
        """Args: the namespace, and the context of the configuration; its own if empty.

        Raises:
            ClusterError: No cluster is configured.
        """
        found = ""
        # Asked here, for the client asks when it is imported.
        file = os.environ.get("KUBECONFIG") or config.KUBE_CONFIG_DEFAULT_LOCATION
        try:
            config.load_kube_config(file, context or None)
            contexts, active = config.list_kube_config_contexts(file)
            chosen = next((c for c in contexts if c["name"] == context), active)
            found = chosen["context"].get("namespace", "")
        except config.ConfigException as error:
            try:
                config.load_incluster_config()
            except config.ConfigException:
                raise ClusterError(
                    f"no Kubernetes cluster is configured ({error}): put its configuration into "
                    "~/.kube/config or name it by KUBECONFIG, until `kubectl get jobs` answers; "
                    "--dry-run shows the objects without one"
                ) from None
        self.namespace = namespace or found or "default"
        api = client.ApiClient()
        self.jobs = client.BatchV1Api(api)
        self.core = client.CoreV1Api(api)
        with _explained("tell what it knows"):
            self.kinds = dynamic.DynamicClient(api)

    def run(self, objects: Sequence[Object]) -> None:
        """Put a job and what belongs to it there, and follow it to its end.

        A job of the same name that runs is followed; one that has ended makes room.

        Args:
            objects: The job first. All others are removed with it.

        Raises:
            StageError: It failed; carries the last line of its log.
            ClusterError: The cluster does not answer, or refuses an object.
        """
        job, *others = objects
        name = job["metadata"]["name"]
        owner = self._submit(job)
        for item in others:
            self._add(item, owner)
        try:
            self._follow(name)
        except KeyboardInterrupt:
            log.warning(
                "%s goes on without being followed: the same command follows it again, `kubectl "
                "-n %s delete job %s` ends it",
                name, self.namespace, name,
            )  # fmt: skip
            raise
        # What holds GPUs does not stay as long as the log does.
        for item in others:
            if item["kind"] == "RayCluster":
                self._remove(item)

    def _submit(self, job: Object) -> Object:
        """Put the job there, if it does not run; a reference to it."""
        name = job["metadata"]["name"]
        found = self._read(name)
        if found is not None and not _ended(found):
            log.info("%s: runs in %s, following it", name, self.namespace)
        else:
            if found is not None:
                self._clear(name)
            with _explained(f"take job {name}"):
                item = client.V1Job.model_validate(client.V1Job.from_dict(job))
                found = self.jobs.create_namespaced_job(self.namespace, item)
            log.info("%s: submitted to %s", name, self.namespace)
        return {
            "apiVersion": "batch/v1",
            "kind": "Job",
            "name": name,
            "uid": found.metadata.uid,
        }

    def _read(self, name: str) -> Any:
        """The job, or None."""
        with _explained(f"show job {name}"):
            try:
                return self.jobs.read_namespaced_job(name, self.namespace)
            except ApiException as error:
                if error.status == 404:
                    return None
                raise

    def _clear(self, name: str) -> None:
        """Remove a job that has ended, and wait until all that belongs to it is gone."""
        log.info("%s: has ended before, and begins anew", name)
        with _explained(f"remove job {name}"):
            self.jobs.delete_namespaced_job(name, self.namespace, propagation_policy="Foreground")
        end = time.monotonic() + PATIENCE
        while self._read(name) is not None:
            if time.monotonic() > end:
                raise ClusterError(
                    f"job {name} is not removed after {PATIENCE:g} s: look at `kubectl -n "
                    f"{self.namespace} get job {name} -o yaml`"
                )
            time.sleep(INTERVAL)

    def _kind(self, item: Object) -> Any:
        with _explained(f"take a {item['kind']}"):
            try:
                return self.kinds.resources.get(api_version=item["apiVersion"], kind=item["kind"])
            except dynamic.exceptions.ResourceNotFoundError:
                raise ClusterError(
                    f"the cluster knows no {item['kind']} ({item['apiVersion']}): its "
                    "administrators install KubeRay's operator"
                ) from None

    def _add(self, item: Object, owner: Object) -> None:
        """Put an object there that belongs to the job, unless it is there."""
        item = {**item, "metadata": {**item["metadata"], "ownerReferences": [owner]}}
        kind = self._kind(item)
        there = suppress(dynamic.exceptions.ConflictError)
        with _explained(f"take {item['kind']} {item['metadata']['name']}"), there:
            kind.create(body=item, namespace=self.namespace)

    def _remove(self, item: Object) -> None:
        kind = self._kind(item)
        gone = suppress(dynamic.exceptions.NotFoundError)
        with _explained(f"remove {item['kind']}"), gone:
            kind.delete(name=item["metadata"]["name"], namespace=self.namespace)

    def _follow(self, name: str) -> None:
        """Show the log of the job's newest pod until the job has ended."""
        logs = Log(self.core, self.namespace, name)
        heard = time.monotonic()
        while True:
            try:
                if self._look(name, logs):
                    return
                heard = time.monotonic()
            except SilenceError as error:
                if time.monotonic() - heard > SILENCE:
                    raise
                log.warning("%s; asking again", error)
            time.sleep(INTERVAL)

    def _look(self, name: str, logs: "Log") -> bool:
        """Show what is new; whether the job has ended well.

        Raises:
            StageError: It has not.
        """
        job = self._read(name)
        if job is None:
            raise StageError(f"{name} was removed from the cluster while it ran")
        ended = _ended(job)
        with _explained(f"show the pods of {name}"):
            logs.show()
        if ended and ended != "Complete":
            raise StageError(
                f"{name} failed: {logs.last or ended}\n  log: kubectl -n {self.namespace} "
                f"logs job/{name}"
            )
        return bool(ended)


def _ended(job: Any) -> str:
    """How a job has ended: `Complete` or why not; empty while it runs."""
    for condition in job.status.conditions or []:
        if condition.status == "True" and condition.type in ("Complete", "Failed"):
            failed = condition.type == "Failed"
            return f"{condition.reason}: {condition.message}" if failed else condition.type
    return ""


class Log:
    """What the newest pod of a job writes, and why one does not begin."""

    def __init__(self, core: Any, namespace: str, job: str) -> None:
        """Args: the API, the namespace, and the name of the job."""
        self.core, self.namespace, self.job = core, namespace, job
        self.pod = ""
        self.num_shown = 0
        self.last = ""
        self.obstacle = ""

    def show(self) -> None:
        """Write the lines that are new."""
        found = self.core.list_namespaced_pod(
            self.namespace, label_selector=f"job-name={self.job}"
        )
        if not found.items:
            return
        newest = max(found.items, key=lambda pod: pod.metadata.creation_timestamp)
        if newest.metadata.name != self.pod:
            self.pod, self.num_shown = newest.metadata.name, 0
        if newest.status.phase == "Pending":
            self._show_obstacle(newest.status)
            return
        try:
            # Whole, for there is no other way to go on at the line where one was.
            text = self.core.read_namespaced_pod_log(self.pod, self.namespace)
        except ApiException as error:
            if error.status in (400, 404):  # not begun, or just removed
                return
            raise
        lines = (text or "").splitlines()
        for line in lines[self.num_shown :]:
            sys.stderr.write(f"[{self.job}] {line}\n")
            self.last = line.strip() or self.last
        self.num_shown = len(lines)

    def _show_obstacle(self, status: Any) -> None:
        """Say what a pod waits for, once."""
        waiting = [
            container.state.waiting
            for container in (status.init_container_statuses or [])
            + (status.container_statuses or [])
            if container.state is not None and container.state.waiting is not None
        ]
        reasons = [f"{state.reason}: {state.message}" for state in waiting if state.message]
        reasons += [
            f"{condition.reason}: {condition.message}"
            for condition in status.conditions or []
            if condition.status == "False" and condition.message
        ]
        if reasons and reasons[0] != self.obstacle:
            self.obstacle = reasons[0]
            log.warning("%s waits: %s", self.job, self.obstacle)
