"""Streams of randomness: named, independent, and the same each time."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from bedplate.core.seeds import derive, generator


@given(st.integers(0, 2**53 - 1))
def test_names_give_streams_of_their_own(seed: int) -> None:
    found = {
        derive(seed, "shuffle", 0),
        derive(seed, "shuffle", 1),
        derive(seed, "augment", 0),
        derive(seed + 1, "shuffle", 0),
    }
    assert len(found) == 4
    assert all(0 <= value < 2**63 for value in found)
    assert generator(seed, "a").random() == generator(seed, "a").random()


def test_the_streams_never_change_between_versions() -> None:
    assert derive(0, "shuffle", 0) == 6104912743681336401
