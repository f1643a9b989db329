"""Training and tuning on a Kubernetes cluster, with the store in a bucket."""

import os
import re
import secrets
import sys
import tempfile
from pathlib import Path
from typing import Any

import luigi
import yaml
from runtime import ExperimentError

from aframe.base import AframeTask, FolderTarget, StageTask, options
from aframe.environment import REPOSITORY
from aframe.kubernetes.objects import (
    CLIENT_PORT,
    FILES,
    HEAD_PORT,
    NODE_PORT,
    RAY,
    SCRATCH,
    STAGE,
    Container,
    Object,
    head_service,
    make_config_map,
    make_job,
    make_pod,
    make_ray_cluster,
    make_secret,
    object_name,
    probes,
)
from aframe.sandbox import FORWARDED, THREADING
from aframe.storage import bring
from aframe.tasks.train import TrainingTask, TrainLocal
from aframe.tasks.tune import Tune, TuningTask

BUCKET_KEYS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
# How long the log of a job can be read after its end, and how long a Ray cluster, which holds
# GPUs, stays if nobody follows the job that leads it [s].
KEPT, HELD = 7 * 86400, 3600
RAY_VARIABLES = {
    "RAY_AUTH_MODE": "token",
    "RAY_USAGE_STATS_ENABLED": "0",
    # KubeRay starts `ray` by its name, in a shell of its own
    "PATH": "/opt/venv/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
}
# What belongs to the machine that law runs on.
LOCAL = ("AFRAME_CACHE", "MKL_NUM_THREADS", "OMP_NUM_THREADS", "TERM")


class RemoteTask(AframeTask):
    """A stage in pods of a cluster: same command line, same product as on this machine.

    A subclass says which stage that is.
    """

    exclude_index = True

    dry_run = luigi.BoolParameter(
        default=False,
        significant=False,
        description="write the objects as YAML to standard output, and do nothing (yes or no); "
        "default: no",
    )
    namespace = luigi.Parameter(
        default="",
        significant=False,
        description="namespace of the cluster (no unit); default: that of the configuration",
    )
    context = luigi.Parameter(
        default="",
        significant=False,
        description="context of the cluster's configuration (no unit); default: its current one",
    )
    num_gpus = luigi.IntParameter(
        default=1,
        significant=False,
        description="GPUs of a training (number); 0 trains on CPUs; default: 1",
    )
    cpus = luigi.IntParameter(
        default=6, significant=False, description="cores of a training (number); default: 6"
    )
    memory = luigi.Parameter(
        default="32Gi",
        significant=False,
        description="memory of a training (bytes, as Kubernetes writes them: 32Gi); default: 32Gi",
    )
    s3_secret = luigi.Parameter(
        default="aws",
        significant=False,
        description="secret of the namespace with keys AWS_ACCESS_KEY_ID and "
        "AWS_SECRET_ACCESS_KEY (no unit); default: aws",
    )
    s3_endpoint = luigi.Parameter(
        default="",
        significant=False,
        description="address of the bucket's server as pods reach it (address); default: "
        "AWS_ENDPOINT_URL",
    )
    wandb_secret = luigi.Parameter(
        default="wandb",
        significant=False,
        description="secret of the namespace with key WANDB_API_KEY, for --use-wandb (no unit); "
        "default: wandb",
    )
    pod = luigi.Parameter(
        default="",
        significant=False,
        description="YAML file with further fields of the pods' spec, as nodeSelector, "
        "tolerations, imagePullSecrets (path); default: none",
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        store = os.environ.get("AFRAME_STORE", "")
        if not store.startswith("s3://"):
            raise ExperimentError(
                f"AFRAME_STORE is {store or 'a folder of this repository'}, which pods do not "
                "see: data, network and results of a remote training lie in a bucket, set "
                "AFRAME_STORE=s3://BUCKET/PLACE, and AWS_ENDPOINT_URL to its server"
            )
        if not self.image:
            raise ExperimentError("--image REGISTRY/NAME:TAG is missing: the pods run that image")
        if self.image.endswith(".sif"):
            raise ExperimentError(
                f"--image {self.image} is a file of apptainer, a cluster takes images from a "
                "registry: give REGISTRY/NAME:TAG"
            )
        for name in ("data_dir", "run_dir", "storage_dir", "endpoint"):
            if value := getattr(self, name, ""):
                raise ExperimentError(
                    f"--{name.replace('_', '-')} {value} goes with training on this machine: "
                    "leave it out, all lies in AFRAME_STORE"
                )
        endpoint = self.s3_endpoint or os.environ.get("AWS_ENDPOINT_URL", "")
        if "@" in endpoint:
            raise ExperimentError(
                "the address of the bucket's server holds an @, which looks like a key: keys come "
                "from --s3-secret"
            )
        self.more = _read_pod(self.pod)

    @property
    def place(self) -> str:
        """URL of the folder of this experiment's version."""
        store = os.environ["AFRAME_STORE"].rstrip("/")
        return f"{store}/{self.analysis.experiment.name}/{self.version}"

    @property
    def name(self) -> str:
        """Name of the objects: the same for the same product, so that a running one is found."""
        product = Path(self.output().path).name
        words = (product, self.analysis.experiment.name)
        return object_name(words, f"{self.place}/{product}")

    @property
    def local(self) -> StageTask:
        """The task that makes the same product on this machine."""
        raise NotImplementedError

    def requires(self) -> Any:
        """What the stage needs in the bucket; nothing if it is only to be shown."""
        return {} if self.dry_run else self.local.requires()

    def output(self) -> FolderTarget:
        """The product."""
        return self.local.output()

    def complete(self) -> bool:
        """Whether the product is there; never if it is only to be shown."""
        return not self.dry_run and super().complete()

    def arguments(self, experiment: Path) -> list[str]:
        """The stage's verb and options."""
        return self.local.arguments(experiment)

    def container(self, **more: Any) -> Container:
        """What a pod of the stage runs in."""
        passed = (n for n in FORWARDED if n in os.environ and n not in LOCAL)
        variables = {**THREADING, **{name: os.environ[name] for name in passed}}
        variables["AFRAME_CACHE"] = f"{SCRATCH}/cache"
        if self.s3_endpoint:
            variables["AWS_ENDPOINT_URL"] = self.s3_endpoint
        keys = {name: (str(self.s3_secret), name) for name in BUCKET_KEYS}
        if getattr(self, "use_wandb", False):
            keys["WANDB_API_KEY"] = (str(self.wandb_secret), "WANDB_API_KEY")
        asked: dict[str, Any] = {
            "image": str(self.image),
            "cpus": self.cpus,
            "memory": str(self.memory),
            "gpus": self.num_gpus,
            "variables": variables,
            "secrets": keys,
            "more": self.more,
        }
        asked["secrets"] |= more.pop("secrets", {})
        return Container(**(asked | more))

    def command(self) -> tuple[list[str], dict[str, bytes]]:
        """The stage's command line in a pod, and the files that it reads beside the bucket."""
        with tempfile.TemporaryDirectory() as scratch:
            folder = Path(scratch)
            arguments = self.arguments(self.analysis.write_experiment(folder))
            files = {
                str(path.relative_to(folder)): path.read_bytes()
                for path in sorted(folder.rglob("*"))
                if path.is_file()
            }
        moves = {str(folder): FILES, str(self.local.path()): self.place}
        return [STAGE, *(_moved(word, moves) for word in arguments)], files

    def objects(self) -> list[Object]:
        """The objects, the job first."""
        raise NotImplementedError

    def run(self) -> None:
        """Have the cluster run the stage, and check what it made; or show the objects."""
        # The client takes a second to import.
        from aframe.kubernetes.checking import check_object
        from aframe.kubernetes.cluster import Cluster

        objects = self.objects()
        for item in objects:
            check_object(item)
        if self.dry_run:
            sys.stdout.write(yaml.dump_all(objects, Dumper=_Dumper, sort_keys=False))
            return
        Cluster(str(self.namespace), str(self.context)).run(objects)
        bring([self.output().path])
        self.local.validate()


class _Dumper(yaml.SafeDumper):
    """YAML in which a text of several lines stands as such, without references."""

    def ignore_aliases(self, data: object) -> bool:
        """Write everything where it belongs."""
        return True

    def represent_str(self, text: str) -> yaml.ScalarNode:
        """A text, as a block if it has several lines."""
        style = "|" if "\n" in text else None
        return self.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _Dumper.represent_str)


def _moved(word: str, moves: dict[str, str]) -> str:
    """A word of a command line with paths as they are in a pod."""
    for here, there in moves.items():
        if word == here or word.startswith(here + os.sep):
            return there + word[len(here) :]
    return word


def _read_pod(path: str) -> dict[str, Any]:
    """Further fields of the pods' spec.

    Raises:
        ExperimentError: There is no such file, or it sets what the task sets.
    """
    if not path:
        return {}
    if not Path(path).is_file():
        raise ExperimentError(f"--pod {path}: there is no such file")
    content = yaml.safe_load(Path(path).read_text())
    if not isinstance(content, dict):
        raise ExperimentError(f"--pod {path} holds no fields: expected lines as nodeSelector: ...")
    if ours := {"containers", "volumes", "restartPolicy"} & set(content):
        raise ExperimentError(f"--pod {path} sets {', '.join(sorted(ours))}, which the task sets")
    return content


class TrainRemote(RemoteTask, TrainingTask):
    """Train the network of one fold on a cluster; its product is that of `TrainLocal`."""

    seed = TrainLocal.seed

    @property
    def local(self) -> TrainLocal:
        """The training, on all GPUs of its pod."""
        return TrainLocal.req(self, gpus=",".join(map(str, range(self.num_gpus))))

    def objects(self) -> list[Object]:
        """A job, and the experiment's files."""
        command, files = self.command()
        pod = make_pod(self.name, self.container(), files, "train", command)
        return [
            make_job(self.name, pod, self.retries, KEPT),
            make_config_map(self.name, files),
        ]


class TuneRemote(RemoteTask, TuningTask, TrainingTask):
    """Tune the training of one fold on a Ray cluster that lasts as long as the study.

    Each of `--num-workers` pods runs one trial at a time, or several where `--gpus-per-worker` is
    a fraction of its `--num-gpus`.
    """

    @property
    def local(self) -> Tune:
        """The study."""
        return Tune.req(self)

    def arguments(self, experiment: Path) -> list[str]:
        """`train tune`, with trials in the pods' own space, on the cluster.

        The study changes as long as it lasts, and its result is a copy that appears whole.
        """
        where = {
            "tune.temp_dir": f"{SCRATCH}/trials",
            "tune.endpoint": f"ray://{head_service(self.name)}:{CLIENT_PORT}",
            "tune.storage_dir": f"{self.place}/studies",
            "tune.copy_dir": self.output().path,
        }
        return [*super().arguments(experiment), *options(**where)]

    def objects(self) -> list[Object]:
        """A job that leads the study, its Ray cluster, their token, and the experiment's files."""
        name = self.name
        command, files = self.command()
        # Whoever reaches a cluster's ports without it can run nothing there.
        token = {"RAY_AUTH_TOKEN": (name, "token")}
        workers = self.container(secrets=token)
        mode = {**workers.variables, **RAY_VARIABLES}
        workers = self.container(secrets=token, variables=mode)
        small = self.container(secrets=token, variables=mode, cpus=2, memory="8Gi", gpus=0)
        driver = make_pod(name, small, files, "tune", command)
        driver["spec"]["initContainers"] = [_wait_for_head(name, driver)]
        head = make_pod(name, small, files, "ray-head", **probes(HEAD_PORT))
        trials = make_pod(name, workers, files, "ray-worker", **probes(NODE_PORT))
        return [
            make_job(name, driver, self.retries, HELD),
            make_config_map(name, files),
            make_secret(name, {"token": secrets.token_hex(32)}),
            make_ray_cluster(name, head, trials, self.num_workers, workers, _ray_version()),
        ]


def _wait_for_head(name: str, pod: Object) -> Object:
    """A container that ends when the Ray cluster can be joined."""
    main = pod["spec"]["containers"][0]
    address = f"{head_service(name)}:{HEAD_PORT}"
    wait = f"until {RAY} health-check --address {address}; do sleep 5; done"
    return {
        "name": "wait-for-ray",
        "command": ["sh", "-c", wait],
        **{key: main[key] for key in ("image", "env", "resources")},
    }


def _ray_version() -> str:
    """Version of Ray in the image, which is that of the lock."""
    lock = (REPOSITORY / "projects" / "train" / "requirements.lock").read_text()
    found = re.search(r"^ray==(\S+)", lock, re.MULTILINE)
    return found[1] if found else ""
