"""Counters and histograms for Prometheus. Labels are bounded: models, protocols, statuses and watched features."""

from __future__ import annotations

import contextlib

from prometheus_client import CollectorRegistry, Counter, Gauge, ProcessCollector, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from bedplate.profile import DriftReport
from bedplate.serving.aliases import Aliases
from bedplate.serving.models import Model
from bedplate.serving.stream_counts import StreamCounts, families
from bedplate.serving.tallies import Tallies


class Metrics:
    """All metrics of one server, in a registry of their own."""

    content_type = CONTENT_TYPE_LATEST

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        registry = self._registry
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
        self.tallies = Tallies()
        self._writing: dict[tuple[str, str], StreamCounts] = {}
        self.tallies.more.append(lambda: families(self._writing) if self._writing else ())
        self._models: dict[tuple[str, str], Model] = {}
        registry.register(self.tallies)
        ProcessCollector(registry=registry)
        registry.register(Aliases(self.tallies, lambda: list(self._models.values())))

    def add_model(self, model: Model) -> None:
        """Begin to speak of a model, before its first request."""
        self._info.labels(model.name, model.bundle.id, model.chosen.variant, model.version).set(1)
        self._engine.labels(*_engine_labels(model)).set(1)
        for candidate, rate in model.chosen.rates.items():
            self._rates.labels(model.name, model.version, candidate).set(rate)
        self._models[model.name, model.version] = model
        if model.streams is not None:
            self._writing[model.name, model.version] = model.streams.counts
        self.tallies.begin(model.name, model.version)
        self.drift.labels(model.name).set(float("nan"))

    def remove_model(self, model: Model) -> None:
        """Cease to say that a model is served; what it has done stays counted."""
        if self._models.get((model.name, model.version)) is not model:
            return  # another bundle has taken its place
        del self._models[model.name, model.version]
        with contextlib.suppress(KeyError):
            self._info.remove(model.name, model.bundle.id, model.chosen.variant, model.version)
            self._engine.remove(*_engine_labels(model))
            for candidate in model.chosen.rates:
                self._rates.remove(model.name, model.version, candidate)

    def refused(self, protocol: str, status: str) -> None:
        """Count one request that reached no model."""
        self.tallies.refuse(protocol, status)

    def answered(self, model: Model, protocol: str, status: str, seconds: float) -> None:
        """Count one request to a model."""
        model.counts.microseconds.add(seconds * 1e6)
        self.tallies.answer(model.name, model.version, protocol, status, seconds)

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
