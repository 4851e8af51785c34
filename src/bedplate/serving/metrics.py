"""Counters and histograms for Prometheus. Labels are bounded: models, protocols, statuses and watched features."""

from __future__ import annotations

import contextlib

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from bedplate.profile import DriftReport
from bedplate.serving.models import Model

SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class Metrics:
    """All metrics of one server, in a registry of their own."""

    content_type = CONTENT_TYPE_LATEST

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        registry = self._registry
        self.requests = Counter(
            "bedplate_requests_total", "Requests answered.", ["model", "version", "protocol", "status"],
            registry=registry,
        )  # fmt: skip
        self.seconds = Histogram(
            "bedplate_request_seconds", "From the request's body to the reply.", ["model", "version", "protocol"],
            buckets=SECONDS, registry=registry,
        )  # fmt: skip
        self.queue = Histogram(
            "bedplate_queue_seconds", "From a request's tensors to their batch.", ["model", "version"], buckets=SECONDS,
            registry=registry,
        )  # fmt: skip
        self.run = Histogram(
            "bedplate_run_seconds", "The batch in which a request was run.", ["model", "version"], buckets=SECONDS,
            registry=registry,
        )  # fmt: skip
        self.rows = Counter("bedplate_rows_total", "Rows predicted.", ["model", "version"], registry=registry)
        self.unwatched = Counter(
            "bedplate_unwatched_rows_total", "Rows that were predicted but not sketched, for want of time.", ["model"],
            registry=registry,
        )  # fmt: skip
        self.drift = Gauge(
            "bedplate_drift", "1 where the last full window drifted, 0 where not, NaN before the first.", ["model"],
            registry=registry,
        )  # fmt: skip
        self.distance = Gauge(
            "bedplate_drift_distance", "Jensen-Shannon distance of a figure in the last full window.",
            ["model", "feature"], registry=registry,
        )  # fmt: skip
        self.windows = Counter(
            "bedplate_drift_windows_total", "Windows compared.", ["model", "drift"], registry=registry
        )
        self._info = Gauge(
            "bedplate_model_info", "The bundles served.", ["model", "bundle", "variant", "version"], registry=registry
        )
        self._engine = Gauge(
            "bedplate_engine_info", "The engine that runs a model.",
            ["model", "version", "engine", "precision", "variant"], registry=registry,
        )  # fmt: skip
        self._rates = Gauge(
            "bedplate_engine_rows_per_second", "What each candidate did on this machine when one was chosen.",
            ["model", "version", "candidate"], registry=registry,
        )  # fmt: skip

        # Looking a label up costs more than counting, so the counters of each model are kept at hand.
        self._answered: dict[tuple[str, str, str, str], tuple[Counter, Histogram]] = {}
        self._predicted: dict[tuple[str, str], tuple[Counter, Histogram, Histogram]] = {}

    def add_model(self, model: Model) -> None:
        """Begin to speak of a model, before its first request."""
        self._info.labels(model.name, model.bundle.id, model.chosen.variant, model.version).set(1)
        self._engine.labels(*_engine_labels(model)).set(1)
        for candidate, rate in model.chosen.rates.items():
            self._rates.labels(model.name, model.version, candidate).set(rate)
        self.rows.labels(model.name, model.version)
        self.unwatched.labels(model.name)
        self.drift.labels(model.name).set(float("nan"))

    def remove_model(self, model: Model) -> None:
        """Cease to say that a model is served; what it has done stays counted."""
        with contextlib.suppress(KeyError):
            self._info.remove(model.name, model.bundle.id, model.chosen.variant, model.version)
            self._engine.remove(*_engine_labels(model))
            for candidate in model.chosen.rates:
                self._rates.remove(model.name, model.version, candidate)

    def answered(self, model: Model, protocol: str, status: str, seconds: float) -> None:
        """Count one request to a model."""
        key = (model.name, model.version, protocol, status)
        found = self._answered.get(key)
        if found is None:
            found = self.requests.labels(*key), self.seconds.labels(*key[:3])
            self._answered[key] = found
        found[0].inc()
        found[1].observe(seconds)

    def refused(self, protocol: str, status: str) -> None:
        """Count one request that reached no model."""
        self.requests.labels("", "", protocol, status).inc()

    def predicted(self, model: Model, rows: int, queue: float, run: float) -> None:
        """Count the rows of one request, and the times of its batch."""
        key = (model.name, model.version)
        found = self._predicted.get(key)
        if found is None:
            found = self.rows.labels(*key), self.queue.labels(*key), self.run.labels(*key)
            self._predicted[key] = found
        found[0].inc(rows)
        found[1].observe(queue)
        found[2].observe(run)

    def note_drift(self, name: str, report: DriftReport, *, new: bool = True) -> None:
        """Show a window's verdict; `new` is False where it was restored."""
        self.drift.labels(name).set(float(report.drift))
        for feature in report.features:
            if feature.kind == "distribution":
                self.distance.labels(name, feature.name).set(feature.statistic)
        if new:
            self.windows.labels(name, str(report.drift).lower()).inc()

    def text(self) -> bytes:
        """Return the exposition."""
        return generate_latest(self._registry)


def _engine_labels(model: Model) -> tuple[str, str, str, str, str]:
    chosen = model.chosen
    return model.name, model.version, chosen.engine, chosen.precision, chosen.variant
