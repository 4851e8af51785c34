from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bedplate.generation.sampling import Sampling
from bedplate.generation.stream import Spelling, Stream

PIECES = (b"", b"", b"a", b"b", b"c", "é".encode()[:1], "é".encode()[1:])


def only(token: int) -> np.ndarray:
    """Scores that leave no choice."""
    scores = np.full(len(PIECES), -50.0, np.float32)
    scores[token] = 50.0
    return scores


@given(st.text(st.sampled_from("abé猫"), max_size=20), st.lists(st.text("abé", min_size=1, max_size=3), max_size=3))
def test_text_comes_up_to_the_first_string_that_ends_it(text: str, stop: list[str]) -> None:
    spelling, found = Spelling(stop), ""
    data = text.encode()
    for k in range(len(data)):
        found += spelling.feed(data[k : k + 1])
        if spelling.stopped:
            break
    else:
        found += spelling.feed(b"", last=True)
    # The one that is whole first ends it; of several that are whole at once, the one that began first.
    ends = [
        min(place for place in (text[:k].find(one) for one in stop) if place >= 0)
        for k in range(len(text) + 1) if any(one in text[:k] for one in stop)
    ]  # fmt: skip
    assert found == (text[: ends[0]] if ends else text)


def test_half_a_character_is_held_back_and_at_the_end_replaced() -> None:
    spelling = Spelling()
    assert spelling.feed("é".encode()[:1]) == ""
    assert spelling.feed("é".encode()[1:]) == "é"
    assert spelling.feed("é".encode()[:1], last=True) == "\ufffd"


def test_a_stream_ends_by_length_and_by_a_string() -> None:
    stream = Stream([2], Sampling(max_tokens=2, temperature=0), PIECES)
    assert stream.take(only(2)).text == "a"
    last = stream.take(only(3))
    assert (last.text, last.finish, stream.tokens) == ("b", "length", [2, 3])
    stream = Stream([2], Sampling(max_tokens=9, temperature=0, stop=("bc",)), PIECES)
    assert [stream.take(only(token)).text for token in (2, 3)] == ["a", ""]
    last = stream.take(only(4))
    assert (last.text, last.finish) == ("", "stop")


def test_the_seed_decides_and_choices_of_one_request_differ() -> None:
    scores = np.zeros(len(PIECES), np.float32)
    scores[:2] = -np.inf

    def drawn(seed: int | None, number: int = 0) -> list[int]:
        stream = Stream([2], Sampling(max_tokens=30, temperature=1.0, seed=seed), PIECES, number)
        for _ in range(30):
            stream.take(scores)
        return stream.tokens

    assert drawn(1) == drawn(1)
    assert drawn(1) != drawn(2)
    assert drawn(1) != drawn(1, 1)
    assert drawn(None) != drawn(None)


def test_log_probabilities_are_told_where_they_are_asked_for() -> None:
    scores = np.log(np.array([1e-9, 1e-9, 0.5, 0.3, 0.2, 1e-9, 1e-9], np.float32))
    piece = Stream([2], Sampling(temperature=0, logprobs=2), PIECES).take(scores)
    (chosen,) = piece.chosen
    assert chosen.token == 2
    assert chosen.logprob == pytest.approx(np.log(0.5), abs=1e-4)
    assert [token for token, _ in chosen.likeliest] == [2, 3]
