from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Histogram, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from bedplate.serving.tallies import SECONDS, Buckets, Tallies


@given(st.lists(st.floats(0, 20), max_size=200))
def test_buckets_count_as_prometheus_own_histogram(values: list[float]) -> None:
    registry = CollectorRegistry()
    theirs = Histogram("h", "h", buckets=SECONDS, registry=registry)
    mine = Buckets()
    for value in values:
        theirs.observe(value)
        mine.add(value)
    samples = next(iter(theirs.collect())).samples
    expected = [sample.value for sample in samples if sample.name == "h_bucket"]
    assert [number for _, number in mine.cumulative()] == expected
    assert mine.count == len(values)
    assert mine.sum == pytest.approx(sum(values))


def test_a_quantile_lies_in_the_right_bucket() -> None:
    buckets = Buckets()
    values = np.random.default_rng(0).exponential(0.02, 5000)
    for value in values:
        buckets.add(value)
    for share in (0.5, 0.9, 0.99):
        real = float(np.quantile(values, share))
        low = max((bound for bound in SECONDS if bound <= real), default=0.0)
        high = min(bound for bound in SECONDS if bound >= real)
        assert low <= buckets.quantile(share) <= high
    assert np.isnan(Buckets().quantile(0.5))


def test_all_families_can_be_read_again() -> None:
    tallies = Tallies()
    tallies.begin("quiet", "1")
    tallies.answer("small", "2", "oip", "200", 0.003)
    tallies.answer("small", "2", "oip", "400", 0.001)
    tallies.refuse("oip", "404")
    tallies.predict("small", "2", 7, 0.0001, 0.002)
    registry = CollectorRegistry()
    registry.register(tallies)
    found = {
        (sample.name, *sorted(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(generate_latest(registry).decode())
        for sample in family.samples
    }
    who = (("model", "small"), ("version", "2"))
    assert found["bedplate_rows_total", *who] == 7
    assert found["bedplate_rows_total", ("model", "quiet"), ("version", "1")] == 0
    assert (
        found["bedplate_requests_total", ("model", "small"), ("protocol", "oip"), ("status", "400"), ("version", "2")]
        == 1
    )
    assert found["bedplate_requests_total", ("model", ""), ("protocol", "oip"), ("status", "404"), ("version", "")] == 1
    assert (
        found[
            "bedplate_request_seconds_bucket",
            ("le", "0.0025"),
            ("model", "small"),
            ("protocol", "oip"),
            ("version", "2"),
        ]
        == 1
    )
    assert found["bedplate_run_seconds_sum", *who] == 0.002
