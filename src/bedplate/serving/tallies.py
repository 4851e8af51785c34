"""What is counted for each request: plain numbers on the event loop, turned to Prometheus's families when asked.

Prometheus's own counters lock and look labels up at each call; with three histograms a request that is a tenth of
what a small model's whole request costs.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import accumulate

from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Upper bounds of the histograms of times, in seconds."""


class Buckets:
    """A histogram: how many values lie at or below each bound (and above the last), and their sum."""

    __slots__ = ("bounds", "counts", "sum")

    def __init__(self, bounds: Sequence[float] = SECONDS) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.sum = 0.0

    def add(self, value: float) -> None:
        """Count one value."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.sum += value

    @property
    def count(self) -> int:
        """How many values there are."""
        return sum(self.counts)

    def cumulative(self) -> list[tuple[str, float]]:
        """Return (bound, values at or below it), as Prometheus writes them."""
        names = [f"{bound:g}" for bound in self.bounds] + ["+Inf"]
        return list(zip(names, map(float, accumulate(self.counts)), strict=True))

    def quantile(self, share: float) -> float:
        """Return about which value a share of all values doesn't exceed; NaN where there are none."""
        wanted, seen, low = share * self.count, 0, 0.0
        if not wanted:
            return float("nan")
        for bound, number in zip(self.bounds, self.counts, strict=False):
            if seen + number >= wanted:
                return low + (bound - low) * (wanted - seen) / max(number, 1)
            seen, low = seen + number, bound
        return low


class Tallies(Collector):
    """All that is counted for each request.

    Attributes:
        answered: requests by (model, version, protocol, status); the model is "" where none was found.
        seconds: from the body to the reply, by (model, version, protocol).
        queue, run: from the tensors to their batch, and the batch itself, by (model, version).
        rows: rows predicted, by (model, version).
        unwatched: rows predicted but not sketched, by model.
        more: asked for further families.
    """

    def __init__(self) -> None:
        self.answered: dict[tuple[str, str, str, str], int] = {}
        self.seconds: dict[tuple[str, str, str], Buckets] = {}
        self.queue: dict[tuple[str, str], Buckets] = {}
        self.run: dict[tuple[str, str], Buckets] = {}
        self.rows: dict[tuple[str, str], int] = {}
        self.unwatched: dict[str, int] = {}
        self.more: list[Callable[[], Iterable[Metric]]] = []

    def begin(self, model: str, version: str) -> None:
        """Speak of a model before its first request."""
        self.rows.setdefault((model, version), 0)
        self.unwatched.setdefault(model, 0)

    def answer(self, model: str, version: str, protocol: str, status: str, seconds: float) -> None:
        """Count one request to a model."""
        key = (model, version, protocol, status)
        self.answered[key] = self.answered.get(key, 0) + 1
        found = self.seconds.get((model, version, protocol))
        if found is None:
            found = self.seconds[model, version, protocol] = Buckets()
        found.add(seconds)

    def refuse(self, protocol: str, status: str) -> None:
        """Count one request that reached no model."""
        key = ("", "", protocol, status)
        self.answered[key] = self.answered.get(key, 0) + 1

    def predict(self, model: str, version: str, rows: int, queue: float, run: float) -> None:
        """Count the rows of one request, and the times of its batch."""
        key = (model, version)
        waited = self.queue.get(key)
        if waited is None:
            waited, self.run[key] = Buckets(), Buckets()
            self.queue[key] = waited
        waited.add(queue)
        self.run[key].add(run)
        self.rows[key] = self.rows.get(key, 0) + rows

    def pass_over(self, model: str, rows: int) -> None:
        """Count rows that aren't sketched: there were many, or the sketch failed."""
        self.unwatched[model] = self.unwatched.get(model, 0) + rows

    def collect(self) -> Iterator[Metric]:
        """Yield the families. The copies are made because the event loop goes on counting."""
        yield _counter(
            "bedplate_requests", "Requests answered.", ("model", "version", "protocol", "status"),
            list(self.answered.items()),
        )  # fmt: skip
        yield histogram(
            "bedplate_request_seconds", "From the request's body to the reply.", ("model", "version", "protocol"),
            list(self.seconds.items()),
        )  # fmt: skip
        labels = ("model", "version")
        yield histogram(
            "bedplate_queue_seconds", "From a request's tensors to their batch.", labels, list(self.queue.items())
        )
        yield histogram("bedplate_run_seconds", "The batch in which a request was run.", labels, list(self.run.items()))
        yield _counter("bedplate_rows", "Rows predicted.", labels, list(self.rows.items()))
        yield _counter(
            "bedplate_unwatched_rows", "Rows predicted but not sketched: of many, some are taken.", ("model",),
            [((name,), rows) for name, rows in self.unwatched.items()],
        )  # fmt: skip
        for families in self.more:
            yield from families()


def _counter(
    name: str, text: str, labels: Sequence[str], values: Iterable[tuple[Sequence[str], float]]
) -> CounterMetricFamily:
    family = CounterMetricFamily(name, text, labels=labels)
    for key, value in values:
        family.add_metric(key, value)
    return family


def histogram(
    name: str, text: str, labels: Sequence[str], values: Iterable[tuple[Sequence[str], Buckets]]
) -> HistogramMetricFamily:
    """Return a family of histograms."""
    family = HistogramMetricFamily(name, text, labels=labels)
    for key, buckets in values:
        family.add_metric(key, buckets.cumulative(), buckets.sum)
    return family
