from __future__ import annotations

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from bedplate.serving.aliases import Aliases
from bedplate.serving.exposition import ADDED, merged
from bedplate.serving.metrics import Metrics
from bedplate.serving.stream_counts import StreamCounts, families
from bedplate.serving.tallies import Tallies

ONE = """# HELP a_total Things.
# TYPE a_total counter
a_total{k="x"} 2.0
a_total{k="y"} 1.0
# HELP h Times.
# TYPE h histogram
h_bucket{le="1.0"} 1.0
h_bucket{le="+Inf"} 3.0
h_count 3.0
h_sum 9.5
# HELP g Level.
# TYPE g gauge
g 4.0
# HELP d Verdict.
# TYPE d gauge
d NaN
"""
TWO = ONE.replace('a_total{k="y"} 1.0', 'a_total{k="z"} 5.0').replace("g 4.0", "g 7.0").replace("d NaN", "d 1.0")


def samples(text: str) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_counters_add_up_and_of_gauges_the_highest_counts() -> None:
    found = samples(merged([ONE, TWO]))
    assert found == {
        ("a_total", (("k", "x"),)): 4.0, ("a_total", (("k", "y"),)): 1.0, ("a_total", (("k", "z"),)): 5.0,
        ("h_bucket", (("le", "1.0"),)): 2.0, ("h_bucket", (("le", "+Inf"),)): 6.0, ("h_count", ()): 6.0, ("h_sum", ()): 19.0,
        ("g", ()): 7.0, ("d", ()): 1.0,
    }  # fmt: skip
    assert samples(merged([TWO, ONE])) == found


def test_one_process_is_itself() -> None:
    assert samples(merged([TWO])) == samples(TWO)


def gauges(process: int) -> str:
    """Return the gauges of a process of which so many texts are under way, and twice as many wait."""
    counts = StreamCounts()
    counts.under_way, counts.waiting = process, 2 * process
    counts.wrote(50 * process)
    tallies, registry = Tallies(), CollectorRegistry()
    tallies.more.append(lambda: families({("m", "1"): counts}))
    registry.register(tallies)
    return generate_latest(registry).decode()


def test_what_each_process_has_a_share_of_is_added() -> None:
    found = samples(merged([gauges(3), gauges(1)]))
    labels = (("model", "m"), ("version", "1"))
    assert found["bedplate_streams", labels] == 4
    assert found["bedplate_streams_waiting", labels] == 8
    assert found["bedplate_tokens_per_second", labels] == 20


def test_every_gauge_that_is_added_is_one() -> None:
    texts = [Metrics().text().decode(), gauges(1)]
    known = {family.name: family.type for text in texts for family in text_string_to_metric_families(text)}
    known |= {family.name: family.type for family in Aliases(Tallies(), list).collect()}
    assert {known.get(name) for name in ADDED} == {"gauge"}
