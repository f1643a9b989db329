"""What a server has counted, from its metrics in the text format of Prometheus."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, fields

from prometheus_client.parser import text_string_to_metric_families

# Name of each counter in the metrics, without the ending that Prometheus may add.
_NAMES = {
    "nv_inference_request_success": "requests",
    "nv_inference_request_failure": "failures",
    "nv_inference_count": "inferences",
    "nv_inference_exec_count": "executions",
    "nv_inference_queue_duration_us": "queue",
    "nv_inference_compute_input_duration_us": "compute_input",
    "nv_inference_compute_infer_duration_us": "compute_infer",
    "nv_inference_compute_output_duration_us": "compute_output",
    "nv_inference_pending_request_count": "pending",
}
_GAUGES = ("pending",)
_MICROSECONDS = 1e-6
ModelVersion = tuple[str, str]


@dataclass(frozen=True)
class Counters:
    """What a server has counted of one version of a model since it loaded it.

    Attributes:
        requests: Requests that were answered.
        failures: Requests that failed, for whichever reason.
        inferences: Elements of batches that were answered.
        executions: Runs of the model; fewer than requests where the server batches.
        queue: Time that requests waited, added up [s].
        compute_input: Time for preparing inputs, added up over requests [s].
        compute_infer: Time in the model, added up over requests [s].
        compute_output: Time for preparing outputs, added up over requests [s].
        pending: Requests that wait now; not a counter.
    """

    requests: float = 0.0
    failures: float = 0.0
    inferences: float = 0.0
    executions: float = 0.0
    queue: float = 0.0
    compute_input: float = 0.0
    compute_infer: float = 0.0
    compute_output: float = 0.0
    pending: float = 0.0

    def since(self, before: Counters) -> Counters:
        """What was counted since an earlier reading.

        A counter that has fallen has begun anew, with the server or the model: then all of this
        reading is new.

        Args:
            before: The earlier reading.
        """
        counted = [field.name for field in fields(self) if field.name not in _GAUGES]
        if any(getattr(self, name) < getattr(before, name) for name in counted):
            return self
        changes = {name: getattr(self, name) - getattr(before, name) for name in counted}
        return Counters(**changes, pending=self.pending)


def parse_metrics(text: str) -> dict[ModelVersion, Counters]:
    """Read metrics: those of each version of each model, added up over GPUs and all other labels.

    Args:
        text: What the server answers.

    Raises:
        ValueError: It is not in the text format of Prometheus.
    """
    sums: dict[ModelVersion, dict[str, float]] = defaultdict(lambda: defaultdict(float))
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            name = _NAMES.get(sample.name) or _NAMES.get(sample.name.removesuffix("_total"))
            if name is None or "model" not in sample.labels:
                continue
            scale = _MICROSECONDS if "duration_us" in sample.name else 1.0
            key = (sample.labels["model"], sample.labels.get("version", ""))
            sums[key][name] += scale * sample.value
    return {key: Counters(**values) for key, values in sums.items()}
