from __future__ import annotations

from prometheus_client.parser import text_string_to_metric_families

from bedplate.serving.exposition import merged

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
