"""Counters and histograms for Prometheus. Labels are bounded: models, protocols, statuses and watched features."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from bedplate.profile import DriftReport
from bedplate.serving.models import VERSION, Model

SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class Metrics:
    """All metrics of one server, in a registry of their own."""

    content_type = CONTENT_TYPE_LATEST

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        registry = self._registry
        self.requests = Counter(
            "bedplate_requests_total", "Requests answered.", ["model", "protocol", "status"], registry=registry
        )
        self.seconds = Histogram(
            "bedplate_request_seconds", "From the request's head to the reply.", ["model", "protocol"], buckets=SECONDS,
            registry=registry,
        )  # fmt: skip
        self.rows = Counter("bedplate_rows_total", "Rows predicted.", ["model"], registry=registry)
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

    def add_model(self, model: Model) -> None:
        """Begin to speak of a model, before its first request."""
        self._info.labels(model.name, model.bundle.id, model.predict.variant, VERSION).set(1)
        self.rows.labels(model.name)
        self.unwatched.labels(model.name)
        self.drift.labels(model.name).set(float("nan"))

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
