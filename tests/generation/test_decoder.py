from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.bundle.texts import SIZE, Sums

from bedplate.bundle.session import OnnxPredict
from bedplate.codecs.codec import TensorSpec
from bedplate.generation.decoder import Decoder, greedy

VOCABULARY, CONTEXT = 20, 80
MODEL = Sums(VOCABULARY)
PREDICT = OnnxPredict(MODEL.graph(), variant="f32", threads=1)


def decoder(context: int = CONTEXT) -> Decoder:
    return Decoder(PREDICT.step, PREDICT.past, context)


def wanted(tokens: list[int]) -> np.ndarray:
    """What the whole text, read at once, says of what follows."""
    scores = MODEL.scores(np.array(tokens))[-1].copy()
    scores[:2] = -np.inf
    return scores


tokens_of = st.lists(st.integers(2, VOCABULARY - 1), min_size=1, max_size=9)


@settings(max_examples=40, deadline=None)
@given(
    st.lists(tokens_of, min_size=1, max_size=4),
    st.lists(st.tuples(st.integers(0, 3), st.integers(0, 5), tokens_of), max_size=25),
    st.integers(0, 2**16),
)
def test_rows_say_what_their_text_alone_says_whoever_comes_and_goes(
    prompts: list[list[int]], events: list[tuple[int, int, list[int]]], seed: int
) -> None:
    draw, decoding = np.random.default_rng(seed), decoder()
    texts = [list(prompt) for prompt in prompts]
    for row, scores in zip(texts, decoding.join(prompts), strict=True):
        np.testing.assert_allclose(scores, wanted(row), rtol=1e-4, atol=1e-4)
    for kind, place, prompt in events:
        if kind == 0 and texts:
            row = place % len(texts)
            decoding.leave(row)
            texts[row] = texts[-1]
            texts.pop()
        elif kind == 1:
            (scores,) = decoding.join([prompt])
            texts.append(list(prompt))
            np.testing.assert_allclose(scores, wanted(prompt), rtol=1e-4, atol=1e-4)
        elif texts:
            new = draw.integers(2, VOCABULARY, len(texts))
            for text, token in zip(texts, new.tolist(), strict=True):
                text.append(token)
            for text, scores in zip(texts, decoding.advance(new), strict=True):
                np.testing.assert_allclose(scores, wanted(text), rtol=1e-4, atol=1e-4)
    assert decoding.rows == len(texts)
    assert decoding.cache.lengths.tolist() == [len(text) for text in texts]


def test_a_past_grows_beyond_the_room_it_began_with_up_to_the_context() -> None:
    decoding = decoder()
    decoding.join([[2, 3], [4]])
    texts = [[2, 3], [4]]
    for k in range(CONTEXT - 2):
        token = 2 + k % 18
        for text in texts:
            text.append(token)
        scores = decoding.advance([token, token])
        np.testing.assert_allclose(scores[1], wanted(texts[1]), rtol=1e-3, atol=1e-3)
    assert decoding.full(0)
    assert not decoding.full(1)


def test_rows_may_be_repeated_and_put_in_another_order() -> None:
    decoding = decoder()
    decoding.join([[2, 3], [4, 5, 6]])
    decoding.cache.take(np.array([1, 1, 0]))
    scores = decoding.advance([7, 8, 9])
    for row, text in enumerate([[4, 5, 6, 7], [4, 5, 6, 8], [2, 3, 9]]):
        np.testing.assert_allclose(scores[row], wanted(text), rtol=1e-4, atol=1e-4)


def test_what_is_no_text_never_comes() -> None:
    tokens, margins = greedy(decoder(), [[2, 3], [4, 5]], 12)
    assert tokens.shape == margins.shape == (2, 12)
    assert tokens.min() >= 2
    assert margins.min() >= 0
    text = [2, 3]
    for token in tokens[0].tolist():
        assert token == int(wanted(text).argmax())
        text.append(token)


def test_the_past_is_of_the_graphs_own_shape() -> None:
    assert TensorSpec("past_sums_0", "float32", (1, -1, SIZE)) in PREDICT.past
    with pytest.raises(ValueError, match="broadcast"):
        decoder().cache.append([1], {"present_sums_0": np.zeros((2, 1, 1, SIZE), np.float32)})
