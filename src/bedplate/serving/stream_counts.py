"""What a model that writes text has done: tokens, how soon the first one came, how quickly the others."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator, Mapping

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from bedplate.serving.tallies import Buckets, histogram

RECENT = 10.0
"""Seconds over which tokens a second are taken."""

LABELS = ("model", "version")


class StreamCounts:
    """Counted by the thread that writes; read by whoever asks for metrics.

    Attributes:
        prompt: tokens read.
        written: tokens written.
        first: seconds from a request to its first token.
        each: seconds from one token of a text to its next.
        under_way: texts that are being written now.
        waiting: texts that wait for a place among them.
    """

    def __init__(self) -> None:
        self.prompt = self.written = self.under_way = self.waiting = 0
        self.first, self.each = Buckets(), Buckets()
        self._recent: deque[tuple[float, int]] = deque()

    def wrote(self, tokens: int) -> None:
        """Count the tokens of one step."""
        now = time.monotonic()
        self.written += tokens
        self._recent.append((now, tokens))
        while self._recent and self._recent[0][0] < now - RECENT:
            self._recent.popleft()

    def rate(self) -> float:
        """Return the tokens written in the last `RECENT` seconds, by the second."""
        since = time.monotonic() - RECENT
        return sum(tokens for moment, tokens in list(self._recent) if moment >= since) / RECENT


def families(counts: Mapping[tuple[str, str], StreamCounts]) -> Iterator[Metric]:
    """Yield Prometheus's families of the models that write text."""
    for name, text, kind in (
        ("bedplate_prompt_tokens", "Tokens of texts that were continued.", "prompt"),
        ("bedplate_written_tokens", "Tokens written.", "written"),
    ):
        counter = CounterMetricFamily(name, text, labels=LABELS)
        for key, one in counts.items():
            counter.add_metric(key, getattr(one, kind))
        yield counter
    for name, text, kind in (
        ("bedplate_streams", "Texts that are being written.", "under_way"),
        ("bedplate_streams_waiting", "Texts that wait to be begun.", "waiting"),
    ):
        gauge = GaugeMetricFamily(name, text, labels=LABELS)
        for key, one in counts.items():
            gauge.add_metric(key, getattr(one, kind))
        yield gauge
    rate = GaugeMetricFamily("bedplate_tokens_per_second", "Tokens a second, over the last ten.", labels=LABELS)
    for key, one in counts.items():
        rate.add_metric(key, one.rate())
    yield rate
    yield histogram(
        "bedplate_first_token_seconds", "From a request to its first token.", LABELS,
        [(key, one.first) for key, one in counts.items()],
    )  # fmt: skip
    yield histogram(
        "bedplate_token_seconds", "From one token of a text to its next.", LABELS,
        [(key, one.each) for key, one in counts.items()],
    )  # fmt: skip
