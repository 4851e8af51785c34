from __future__ import annotations

import itertools

import numpy as np
import pytest
from tests.bundle.texts import Sums

from bedplate.bundle.session import OnnxPredict
from bedplate.core.errors import InputError
from bedplate.generation.beams import as_piece, beam_search
from bedplate.generation.decoder import Decoder
from bedplate.generation.sampling import Sampling, log_probabilities

VOCABULARY = 6
MODEL = Sums(VOCABULARY, seed=3)
PREDICT = OnnxPredict(MODEL.graph(), variant="f32", threads=1)
PIECES = (b"", b"", b"a", b"b", b"c", b"d")


def decoder() -> Decoder:
    return Decoder(PREDICT.step, PREDICT.past, 12)


def mean(prompt: list[int], tokens: tuple[int, ...]) -> float:
    """The mean log probability of a continuation by the definition."""
    total, text = 0.0, list(prompt)
    for token in tokens:
        scores = MODEL.scores(np.array(text))[-1].copy()
        scores[:2] = -np.inf
        total += float(log_probabilities(scores)[token])
        text.append(token)
    return total / len(tokens)


def test_wide_enough_beams_find_the_likeliest_of_all() -> None:
    prompt = [2, 5]
    found = beam_search(decoder(), prompt, Sampling(max_tokens=3, beams=16), PIECES)
    every = {tokens: mean(prompt, tokens) for tokens in itertools.product(range(2, VOCABULARY), repeat=3)}
    best = max(every, key=lambda tokens: every[tokens])
    assert found[0].tokens == best
    assert found[0].score == pytest.approx(every[best], abs=1e-4)
    assert all(beam.score == pytest.approx(every[beam.tokens], abs=1e-4) for beam in found)
    assert [beam.score for beam in found] == sorted((beam.score for beam in found), reverse=True)


def test_two_beams_are_never_worse_than_always_the_likeliest() -> None:
    for first in range(2, VOCABULARY):
        greedy = beam_search(decoder(), [first], Sampling(max_tokens=5, beams=1), PIECES)[0]
        wide = beam_search(decoder(), [first], Sampling(max_tokens=5, beams=4), PIECES)[0]
        assert wide.score >= greedy.score - 1e-5


def test_a_string_ends_a_beam_and_is_no_part_of_its_text() -> None:
    sampling = Sampling(max_tokens=6, beams=4, stop=("b",))
    found = beam_search(decoder(), [2], sampling, PIECES)
    ended = [beam for beam in found if beam.finish == "stop"]
    assert ended
    for beam in ended:
        assert beam.tokens[-1] == 3
        assert "b" not in as_piece(beam, sampling, PIECES).text


@pytest.mark.parametrize("width", [2, 3, 8])
def test_what_is_told_as_cut_off_was_cut_off(width: int) -> None:
    for first in range(2, VOCABULARY):
        for end in range(2, VOCABULARY):
            found = beam_search(decoder(), [first], Sampling(max_tokens=6, beams=width), PIECES, end)
            assert found
            for beam in found:
                assert (len(beam.tokens) == 6) if beam.finish == "length" else (beam.tokens[-1] == end)


@pytest.mark.parametrize("width", [2, 3, 8])
def test_an_answer_is_no_less_likely_than_the_greedy_one(width: int) -> None:
    """A search that ends as soon as two answers have would leave the likeliest on its way."""
    for first in range(2, VOCABULARY):
        for end in range(2, VOCABULARY):
            greedy = beam_search(decoder(), [first], Sampling(max_tokens=6, beams=1), PIECES, end)[0]
            wide = beam_search(decoder(), [first], Sampling(max_tokens=6, beams=width), PIECES, end)[0]
            assert wide.score >= greedy.score - 1e-5


def test_beams_beyond_the_context_are_refused() -> None:
    with pytest.raises(InputError, match="at most 10 behind this prompt"):
        beam_search(decoder(), [2, 3], Sampling(max_tokens=11, beams=2), PIECES)
