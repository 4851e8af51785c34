"""The names under which other servers' dashboards look for the same figures.

TensorFlow Serving: `monitoring/prometheus` of tensorflow_model_server. Triton: docs/user_guide/metrics.md.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from bedplate.serving.models import Model
from bedplate.serving.tallies import Buckets, Tallies, histogram

_CODES = {
    "200": "OK", "400": "INVALID_ARGUMENT", "401": "UNAUTHENTICATED", "403": "PERMISSION_DENIED", "404": "NOT_FOUND",
    "413": "RESOURCE_EXHAUSTED", "429": "RESOURCE_EXHAUSTED", "499": "CANCELLED", "501": "UNIMPLEMENTED",
    "503": "UNAVAILABLE", "504": "DEADLINE_EXCEEDED",
}  # fmt: skip

_APIS = {"tfserving": ("Predict", "REST"), "tfserving-grpc": ("Predict", "GRPC")}


class Aliases(Collector):
    """Figures of the tallies and of the models' counts, under other servers' names.

    Args:
        tallies: what was counted for each request.
        models: gives the models that are served now.
    """

    def __init__(self, tallies: Tallies, models: Callable[[], Iterable[Model]]) -> None:
        self._tallies, self._models = tallies, models

    def collect(self) -> Iterator[Metric]:
        """Yield the families."""
        models = list(self._models())
        yield from self._tensorflow(models)
        yield from self._triton(models)

    def _tensorflow(self, models: list[Model]) -> Iterator[Metric]:
        requests = CounterMetricFamily(
            ":tensorflow:serving:request_count", "Requests.", labels=["model_name", "status"]
        )
        counted: dict[tuple[str, str], int] = {}
        for (name, _, _, status), number in list(self._tallies.answered.items()):
            key = name, _CODES.get(status, "INTERNAL")
            counted[key] = counted.get(key, 0) + number
        for key, number in counted.items():
            requests.add_metric(key, number)
        yield _untouched(requests)
        latency: list[tuple[tuple[str, ...], Buckets]] = []
        for model in models:
            api = next((_APIS[p] for n, v, p in list(self._tallies.seconds) if n == model.name and p in _APIS), None)
            latency.append(((model.name, *(api or ("Predict", "REST"))), model.counts.microseconds))
        yield histogram(
            ":tensorflow:serving:request_latency", "Microseconds of a request.", ["model_name", "API", "entrypoint"],
            latency,
        )  # fmt: skip
        yield histogram(
            ":tensorflow:serving:runtime_latency", "Microseconds of a batch.", ["model_name", "API", "runtime"],
            [((model.name, "Predict", "ONNX"), model.counts.run_microseconds) for model in models],
        )  # fmt: skip

    def _triton(self, models: list[Model]) -> Iterator[Metric]:
        labels = ["model", "version"]

        def counter(name: str, text: str, value: Callable[[Model], float]) -> CounterMetricFamily:
            family = CounterMetricFamily(name, text, labels=labels)
            for model in models:
                family.add_metric((model.name, model.version), value(model))
            return _untouched(family)

        yield counter("nv_inference_request_success", "Requests answered.", lambda m: m.counts.success.count)
        yield counter("nv_inference_request_failure", "Requests refused or failed.", lambda m: m.counts.fail.count)
        yield counter("nv_inference_count", "Rows predicted.", lambda m: m.counts.rows)
        yield counter(
            "nv_inference_exec_count",
            "Batches run.",
            lambda m: sum(one.count for one in list(m.counts.batches.values())),
        )
        pending = GaugeMetricFamily("nv_inference_pending_request_count", "Rows that wait.", labels=labels)
        for model in models:
            pending.add_metric((model.name, model.version), model.batcher.rows_waiting)
        yield pending
        for part, take in (
            ("request", lambda m: m.counts.success), ("queue", lambda m: m.counts.queue),
            ("compute_input", lambda m: m.counts.read), ("compute_infer", lambda m: m.counts.run),
            ("compute_output", lambda m: m.counts.write),
        ):  # fmt: skip
            yield counter(
                f"nv_inference_{part}_duration_us", "Microseconds, summed over requests.",
                lambda m, take=take: math.floor(take(m).seconds * 1e6),  # type: ignore[misc]
            )  # fmt: skip


def _untouched(family: CounterMetricFamily) -> CounterMetricFamily:
    """Keep a counter's own name: its peers write none of Prometheus's `_total` behind it."""
    family.samples = [sample._replace(name=family.name) for sample in family.samples]
    family.type = "unknown"
    return family
