"""Prometheus texts of several processes as one."""

from __future__ import annotations

from collections.abc import Sequence

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import Metric
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector

ADDED = frozenset(
    {
        "bedplate_streams", "bedplate_streams_waiting", "bedplate_tokens_per_second",
        "nv_inference_pending_request_count", "process_open_fds", "process_resident_memory_bytes",
        "process_virtual_memory_bytes",
    }
)  # fmt: skip
"""Gauges of which each process has a share. Others speak of the model or the machine, alike in all processes, or of the
worst: a verdict on drift, a time, a limit."""


class _Families(Collector):
    def __init__(self, families: Sequence[Metric]) -> None:
        self._families = families

    def collect(self) -> Sequence[Metric]:
        return self._families


def counters_of(text: str) -> str:
    """Return an exposition without its gauges: what a process that has ended leaves behind."""
    families = [family for family in text_string_to_metric_families(text) if family.type != "gauge"]
    return _written(families)


def merged(texts: Sequence[str]) -> str:
    """Return the sum of some expositions: all is added, but of gauges that aren't in `ADDED` the highest counts."""
    found: dict[str, Metric] = {}
    values: dict[str, dict[tuple[str, tuple[tuple[str, str], ...]], float]] = {}
    for text in texts:
        for family in text_string_to_metric_families(text):
            found.setdefault(family.name, Metric(family.name, family.documentation, family.type))
            samples = values.setdefault(family.name, {})
            for sample in family.samples:
                key = sample.name, tuple(sorted(sample.labels.items()))
                before = samples.get(key)
                if before is None or before != before:  # the first, or in place of "not known"
                    samples[key] = sample.value
                elif family.type != "gauge" or family.name in ADDED:
                    samples[key] = before + sample.value
                elif sample.value == sample.value:
                    samples[key] = max(before, sample.value)
    for name, samples in values.items():
        for (full_name, labels), value in samples.items():
            found[name].add_sample(full_name, dict(labels), value)
    return _written(list(found.values()))


def _written(families: Sequence[Metric]) -> str:
    registry = CollectorRegistry()
    registry.register(_Families(families))
    return generate_latest(registry).decode()
