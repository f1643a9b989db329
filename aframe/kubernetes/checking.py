"""See that objects are what their schemas say, before a cluster is asked.

Kubernetes' own kinds are read by the models of its official client, which are made from the
published schemas: they refuse a missing field, and lose one that they do not know. For KubeRay's
RayCluster, which they do not have, the fields are listed here after the types of `ray.io/v1`; its
pods are read by the official models again.
"""

from collections.abc import Mapping
from typing import Any

from kubernetes import client
from pydantic import ValidationError

MODELS = {"ConfigMap": "V1ConfigMap", "Job": "V1Job", "Secret": "V1Secret"}
RAY_CLUSTER = {
    "headGroupSpec": dict,
    "workerGroupSpecs": list,
    "rayVersion": str,
    "enableInTreeAutoscaling": bool,
    "suspend": bool,
}
RAY_GROUP = {
    "head": {"rayStartParams": dict, "template": dict, "serviceType": str, "enableIngress": bool},
    "workers": {
        "groupName": str,
        "replicas": int,
        "minReplicas": int,
        "maxReplicas": int,
        "numOfHosts": int,
        "rayStartParams": dict,
        "template": dict,
    },
}
RAY_NEEDED = {
    "head": {"rayStartParams", "template"},
    "workers": {"groupName", "minReplicas", "maxReplicas", "rayStartParams", "template"},
}


def check_object(item: Mapping[str, Any]) -> None:
    """See that an object is of its kind's schema.

    Raises:
        ValueError: It is not; says which field.
    """
    kind = item["kind"]
    if kind == "RayCluster":
        _check_ray_cluster(item)
    else:
        _check_model(item, MODELS[kind], kind)


def _check_model(item: Mapping[str, Any], model: str, name: str) -> None:
    """Read an object by a model of the official client, and see that nothing was lost."""
    try:
        read = getattr(client, model).from_dict(item)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise ValueError(f"{name} is no {error.title}: {where}: {first['msg']}") from None
    lost = _differences(item, client.ApiClient().sanitize_for_serialization(read), name)
    if lost:
        raise ValueError(f"{lost[0]}, which the schema of {model} does not have")


def _differences(one: Any, other: Any, name: str) -> list[str]:
    """Where the second of two structures has not what is in the first."""
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return [
            found
            for key, value in one.items()
            for found in _differences(value, other.get(key), f"{name}.{key}")
        ]
    if isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        pairs = enumerate(zip(one, other, strict=True))
        return [found for i, pair in pairs for found in _differences(*pair, f"{name}[{i}]")]
    return [] if one == other and type(one) is type(other) else [f"{name} is {one!r}"]


def _check_ray_cluster(item: Mapping[str, Any]) -> None:
    if item["apiVersion"] != "ray.io/v1":
        raise ValueError(f"RayCluster.apiVersion is {item['apiVersion']!r}, expected 'ray.io/v1'")
    _check_model(item["metadata"], "V1ObjectMeta", "RayCluster.metadata")
    spec = item["spec"]
    _check_fields(spec, RAY_CLUSTER, {"headGroupSpec"}, "RayCluster.spec")
    groups = [("head", spec["headGroupSpec"])]
    groups += [("workers", group) for group in spec.get("workerGroupSpecs", [])]
    for kind, group in groups:
        name = f"RayCluster.spec ({kind})"
        _check_fields(group, RAY_GROUP[kind], RAY_NEEDED[kind], name)
        for option, value in group["rayStartParams"].items():
            if not isinstance(value, str):
                raise ValueError(f"{name}: rayStartParams.{option} is {value!r}, expected text")
        _check_model(group["template"], "V1PodTemplateSpec", name)


def _check_fields(
    found: Mapping[str, Any], known: Mapping[str, type], needed: set[str], name: str
) -> None:
    if missing := needed - set(found):
        raise ValueError(f"{name} lacks {', '.join(sorted(missing))}")
    for key, value in found.items():
        if not isinstance(value, known.get(key, ())):
            expected = known[key].__name__ if key in known else f"one of {', '.join(known)}"
            raise ValueError(f"{name}.{key} is {value!r}, expected {expected}")
