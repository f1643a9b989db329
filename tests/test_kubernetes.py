"""Kubernetes objects of a remote training and a remote study, by the published schemas.

What a cluster does with them cannot be tested here; docs/kubernetes.md says what was.
"""

import base64
import copy
import itertools
import os
import subprocess
from pathlib import Path

import luigi
import pytest
import yaml
from conftest import LAW, REPOSITORY, law_environment
from kubernetes import client
from kubernetes.utils import parse_quantity
from runtime import ExperimentError

from aframe.analysis import load_analysis
from aframe.kubernetes import objects
from aframe.kubernetes.checking import check_object
from aframe.kubernetes.cluster import Cluster, ClusterError
from aframe.tasks.remote import TrainRemote, TuneRemote
from aframe.tasks.train import TrainLocal
from aframe.tasks.tune import Tune

IMAGE = "registry.example.org/aframe/train:0.1"
SECRET = "hidden-word"


@pytest.fixture(autouse=True)
def _store(monkeypatch, tmp_path):
    load_analysis.cache_clear()
    luigi.task_register.Register.clear_instance_cache()
    monkeypatch.setenv("AFRAME_STORE", "s3://bucket/aframe")
    monkeypatch.setenv("AFRAME_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("AWS_ENDPOINT_URL", "https://s3.example.org")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "WANDB_API_KEY"):
        monkeypatch.setenv(name, SECRET)
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "none"))
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)


def train(**more):
    return TrainRemote(**{"experiment": "quickstart", "image": IMAGE, "dry_run": True, **more})


def tune(**more):
    return TuneRemote(**{"experiment": "quickstart", "image": IMAGE, "dry_run": True, **more})


def by_kind(task) -> dict[str, dict]:
    return {item["kind"]: item for item in task.objects()}


def main_container(item) -> dict:
    return item["spec"]["template"]["spec"]["containers"][0]


def options_of(container) -> dict[str, str]:
    return dict(itertools.pairwise(container["command"]))


def pods(item) -> list[dict]:
    """Templates of all pods of an object."""
    if item["kind"] == "Job":
        return [item["spec"]["template"]]
    if item["kind"] == "RayCluster":
        groups = [item["spec"]["headGroupSpec"], *item["spec"]["workerGroupSpecs"]]
        return [group["template"] for group in groups]
    return []


def test_a_training_is_told_what_a_local_one_is():
    """The same options, with URLs for paths in the store."""
    command = main_container(by_kind(train())["Job"])["command"]
    assert command[:2] == ["/opt/venv/bin/stage", "fit"]
    given = dict(itertools.pairwise(command))
    version = train().version
    place = f"s3://bucket/aframe/quickstart/{version}"
    local = TrainLocal(experiment="quickstart")
    for name, path in local.inputs().items():
        assert given[f"--{name}"] == f"{place}/{path.relative_to(local.path())}"
    output = Path(local.output().path).relative_to(local.path())
    assert given["--run_dir"] == f"{place}/{output}"
    assert train().output().path == local.output().path


def test_the_experiment_goes_along(tmp_path, mine):
    folder = mine({"strain.noise_curves": {"H1": "curves/H1.bin", "L1": "curves/H1.bin"}})
    (folder / "curves").mkdir()
    (folder / "curves" / "H1.bin").write_bytes(b"\xff\x00")
    found = by_kind(train(experiment=str(folder)))
    files = found["ConfigMap"]
    settings = yaml.safe_load(files["data"]["experiment.yaml"])
    assert settings == load_analysis(str(folder), "").experiment.settings()
    assert files["data"]["train.yaml"] == (folder / "train.yaml").read_text()
    assert base64.b64decode(files["binaryData"]["curves-H1.bin"]) == b"\xff\x00"
    # each is where the command looks for it
    (volume, *_) = found["Job"]["spec"]["template"]["spec"]["volumes"]
    paths = {item["key"]: item["path"] for item in volume["configMap"]["items"]}
    assert paths["curves-H1.bin"] == "curves/H1.bin"
    container = main_container(found["Job"])
    mount = next(m for m in container["volumeMounts"] if m["name"] == volume["name"])
    assert options_of(container)["--experiment"] == f"{mount['mountPath']}/experiment.yaml"
    with pytest.raises(ValueError, match="a ConfigMap holds"):
        objects.make_config_map("x", {"large": bytes(objects.MOST_BYTES + 1)})


@pytest.mark.parametrize("task", [train, tune])
def test_keys_are_named_and_never_written_down(task):
    items = task(use_wandb=True).objects()
    assert SECRET not in yaml.safe_dump_all(items)
    for pod in itertools.chain.from_iterable(map(pods, items)):
        for container in pod["spec"]["containers"] + pod["spec"].get("initContainers", []):
            variables = {item["name"]: item for item in container["env"]}
            assert variables["AWS_ENDPOINT_URL"]["value"] == "https://s3.example.org"
            for name, secret in (("AWS_SECRET_ACCESS_KEY", "aws"), ("WANDB_API_KEY", "wandb")):
                source = variables[name]["valueFrom"]["secretKeyRef"]
                assert source == {"name": secret, "key": name}
    plain = task().objects()
    assert "WANDB_API_KEY" not in yaml.safe_dump_all(plain)


def test_what_a_pod_asks_for(tmp_path):
    path = tmp_path / "pod.yaml"
    path.write_text("nodeSelector: {gpu: a100}\ntolerations:\n- {key: gpu, operator: Exists}\n")
    where = {"s3_endpoint": "http://inside:9000", "s3_secret": "mine", "pod": str(path)}
    task = train(num_gpus=2, cpus=8, memory="64Gi", **where)
    job = by_kind(task)["Job"]
    container = main_container(job)
    assert container["image"] == IMAGE
    asked = container["resources"]
    assert asked["requests"] == {"cpu": "8", "memory": "64Gi", "nvidia.com/gpu": "2"}
    assert asked["limits"] == {"memory": "64Gi", "nvidia.com/gpu": "2"}
    for value in [*asked["requests"].values(), *asked["limits"].values()]:
        assert parse_quantity(value) > 0
    given = options_of(container)
    assert (given["--trainer.devices"], given["--trainer.strategy"]) == ("2", "ddp")
    variables = {item["name"]: item.get("value") for item in container["env"]}
    assert variables["AWS_ENDPOINT_URL"] == "http://inside:9000"
    assert job["spec"]["template"]["spec"]["nodeSelector"] == {"gpu": "a100"}
    # where it runs is no part of what it is
    assert task.output().path == train().output().path
    assert task.name == train().name
    assert "nvidia.com/gpu" not in yaml.safe_dump(by_kind(train(num_gpus=0))["Job"])


def test_names_follow_from_the_product():
    names = {train().name, train(seed=1).name, train(label="v2").name, tune().name}
    names |= {train(experiment="smoke").name, tune(num_samples=9).name}
    assert len(names) == 6
    for name in names:
        # of RFC 1123, and short enough for what KubeRay appends
        assert objects.re.fullmatch(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?", name)
        assert len(f"{name}-head-svc") < 50


def test_a_study_and_its_cluster():
    task = tune(num_workers=3, gpus_per_worker=0.5, num_gpus=2, num_samples=5)
    found = by_kind(task)
    assert set(found) == {"Job", "ConfigMap", "Secret", "RayCluster"}
    assert next(item["kind"] for item in task.objects()) == "Job"
    command = main_container(found["Job"])["command"]
    assert command[:2] == ["/opt/venv/bin/stage", "tune"]
    given = dict(itertools.pairwise(command))
    assert given["--tune.endpoint"] == f"ray://{task.name}-head-svc:10001"
    assert given["--tune"] == "/etc/aframe/tune.yaml"
    assert given["--tune.num_samples"] == "5"
    assert given["--tune.temp_dir"].startswith("/scratch/")
    # the last word on an option holds: the study beside its result, which is a copy
    place = f"s3://bucket/aframe/quickstart/{task.version}"
    assert given["--tune.storage_dir"] == f"{place}/studies"
    output = Path(task.output().path).name
    assert given["--tune.copy_dir"] == f"{place}/{output}"
    cluster = found["RayCluster"]["spec"]
    (workers,) = cluster["workerGroupSpecs"]
    assert (workers["replicas"], workers["minReplicas"], workers["maxReplicas"]) == (3, 3, 3)
    assert workers["rayStartParams"]["num-gpus"] == "2"
    assert cluster["headGroupSpec"]["rayStartParams"]["num-cpus"] == "0"
    lock = (REPOSITORY / "projects" / "train" / "requirements.lock").read_text()
    assert f"\nray=={cluster['rayVersion']} " in lock
    # whoever belongs to it knows the token, and all see the experiment
    for pod in itertools.chain.from_iterable(map(pods, found.values())):
        container = pod["spec"]["containers"][0]
        token = next(item for item in container["env"] if item["name"] == "RAY_AUTH_TOKEN")
        assert token["valueFrom"]["secretKeyRef"] == {"name": task.name, "key": "token"}
        assert "/etc/aframe" in [mount["mountPath"] for mount in container["volumeMounts"]]
    assert len(found["Secret"]["stringData"]["token"]) == 64
    local = Tune(experiment="quickstart", num_samples=5)
    assert task.output().path == local.output().path


@pytest.mark.parametrize("task", [train, tune])
def test_objects_are_of_their_schemas(task):
    for item in task(use_wandb=True, num_gpus=2).objects():
        check_object(item)


def at(item, path):
    for key in path:
        item = item[key]
    return item


POD = ("spec", "template", "spec")
WORKERS = ("spec", "workerGroupSpecs", 0)


@pytest.mark.parametrize(
    ("kind", "path", "value", "sentence"),
    [
        ("Job", ("spec", "backoffLimit"), "2", "valid integer"),
        ("Job", ("spec", "backofLimit"), 2, "backofLimit"),
        ("Job", (*POD, "containers", 0, "name"), None, "name"),
        ("Job", (*POD, "containers", 0, "resources", "limits", "memory"), 3, "memory"),
        ("Job", (*POD, "volumes", 0, "configMap", "item"), [], "item"),
        ("ConfigMap", ("data", "train.yaml"), 1, "data"),
        ("RayCluster", ("spec", "rayVersions"), "2", "rayVersions"),
        ("RayCluster", ("spec", "headGroupSpec", "template"), None, "template"),
        ("RayCluster", (*WORKERS, "replicas"), "3", "replicas"),
        ("RayCluster", (*WORKERS, "rayStartParams", "num-cpus"), 3, "num-cpus"),
        ("RayCluster", (*WORKERS, "template", "spec", "containers", 0, "imag"), "x", "imag"),
    ],
)
def test_objects_that_are_not_are_refused(kind, path, value, sentence):
    item = copy.deepcopy(by_kind(tune())[kind])
    at(item, path[:-1])[path[-1]] = value
    with pytest.raises(ValueError, match=sentence):
        check_object(item)


def test_ray_pods_are_asked_at_ports_that_are_open():
    """KubeRay's own probes need Ray's dashboard and wget, which the image has not."""
    spec = by_kind(tune())["RayCluster"]["spec"]
    for group, port in ((spec["headGroupSpec"], 6379), (spec["workerGroupSpecs"][0], 6380)):
        container = group["template"]["spec"]["containers"][0]
        for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
            assert container[probe]["tcpSocket"] == {"port": port}
    assert spec["workerGroupSpecs"][0]["rayStartParams"]["node-manager-port"] == "6380"


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"image": ""}, "--image REGISTRY/NAME:TAG is missing"),
        ({"image": "images/train.sif"}, "a cluster takes images from a registry"),
        ({"run_dir": "/scratch"}, "--run-dir /scratch goes with training on this machine"),
        ({"pod": "nothing.yaml"}, "--pod nothing.yaml: there is no such file"),
        ({"s3_endpoint": "http://me:word@s3"}, "looks like a key"),
    ],
)
def test_senseless_options_are_refused(options, sentence):
    with pytest.raises(ExperimentError, match=sentence):
        train(**options)


def test_a_store_that_pods_do_not_see_is_refused(monkeypatch, tmp_path):
    for store in ("", str(tmp_path)):
        monkeypatch.setenv("AFRAME_STORE", store)
        luigi.task_register.Register.clear_instance_cache()
        with pytest.raises(ExperimentError, match=r"set AFRAME_STORE=s3://BUCKET/PLACE"):
            train()


def test_fields_that_the_task_sets_are_not_taken_from_a_file(tmp_path):
    path = tmp_path / "pod.yaml"
    path.write_text("volumes: []\n")
    with pytest.raises(ExperimentError, match="sets volumes, which the task sets"):
        train(pod=str(path))


def test_without_a_cluster_the_error_says_how():
    with pytest.raises(ClusterError, match=r"~/\.kube/config .* --dry-run shows"):
        Cluster()


def test_a_cluster_that_does_not_answer(tmp_path, monkeypatch):
    path = tmp_path / "config"
    monkeypatch.setenv("KUBECONFIG", str(path))
    context = {"cluster": "c", "user": "u", "namespace": "mine"}
    path.write_text(
        yaml.safe_dump(
            {
                "apiVersion": "v1",
                "kind": "Config",
                "clusters": [{"name": "c", "cluster": {"server": "http://127.0.0.1:9"}}],
                "users": [{"name": "u", "user": {}}],
                "contexts": [{"name": "x", "context": context}],
                "current-context": "x",
            }
        )
    )
    with pytest.raises(ClusterError, match="the cluster does not answer"):
        Cluster()


def test_the_command_shows_objects_and_runs_nothing(tmp_path):
    """The whole way, `law run` to YAML that the schemas accept; no bucket is asked."""
    variables = {"AFRAME_STORE": "s3://bucket/aframe", "AFRAME_CACHE": str(tmp_path / "cache")}
    done = subprocess.run(
        [
            str(LAW), "run", "aframe.tasks.remote.TrainRemote", "--experiment", "quickstart",
            "--image", IMAGE, "--dry-run",
        ],
        cwd=REPOSITORY,
        env={**law_environment(tmp_path), **variables, "HOME": os.environ["HOME"]},
        capture_output=True,
        text=True,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    job, files = yaml.safe_load_all(done.stdout)
    check_object(job)
    check_object(files)
    assert client.V1Job.from_dict(job).spec.template.spec.containers[0].image == IMAGE
    # several lines stand as such: people read this
    assert "  experiment.yaml: |\n    name: quickstart\n" in done.stdout
