from __future__ import annotations

from bedplate.serving.stream_counts import RECENT, StreamCounts, families


def test_tokens_and_times_are_told_by_model() -> None:
    counts = StreamCounts()
    counts.prompt += 5
    for _ in range(4):
        counts.wrote(3)
    counts.first.add(0.02)
    counts.each.add(0.001)
    counts.under_way = 2
    found = {sample.name: sample for family in families({("m", "1"): counts}) for sample in family.samples}
    assert found["bedplate_prompt_tokens_total"].value == 5
    assert found["bedplate_written_tokens_total"].value == 12
    assert found["bedplate_streams"].value == 2
    assert found["bedplate_tokens_per_second"].value == 12 / RECENT
    assert found["bedplate_first_token_seconds_count"].value == 1
    assert found["bedplate_token_seconds_sum"].value == 0.001
    assert found["bedplate_streams"].labels == {"model": "m", "version": "1"}
