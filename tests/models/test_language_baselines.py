"""Kneser-Ney beside its definition, one n-gram after the other."""

from __future__ import annotations

import itertools

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from bedplate.models.language_baselines import KneserNey, fit_language_baselines

TEXT = st.lists(st.integers(0, 3), min_size=6, max_size=40)


def plain_kneser_ney(text: list[int], vocabulary: int, length: int, context: tuple[int, ...], word: int) -> float:
    """Return P(word | context) by the definition, one n-gram after the other; the twin of `KneserNey`."""
    context = context[max(0, len(context) - length + 1) :]

    def count(gram: tuple[int, ...]) -> int:
        grams = [tuple(text[k : k + length]) for k in range(len(text) - length + 1)]
        if len(gram) == length:
            return grams.count(gram)
        longer = {one[len(one) - size :] for one in set(grams) for size in [len(gram) + 1]}
        return sum(one[1:] == gram for one in longer)

    def discount(size: int) -> float:
        counts = [count(gram) for gram in itertools.product(range(vocabulary), repeat=size)]
        once, twice = counts.count(1), counts.count(2)
        return once / (once + 2 * twice) if once else 0.0

    def chance(context: tuple[int, ...]) -> float:
        shorter = chance(context[1:]) if context else 1.0 / vocabulary
        counts = [count((*context, other)) for other in range(vocabulary)]
        if not sum(counts):
            return shorter
        taken = min(discount(len(context) + 1), 0.999)
        kept = max(counts[word] - taken, 0.0)
        return (kept + taken * sum(one > 0 for one in counts) * shorter) / sum(counts)

    return chance(context)


@settings(max_examples=25, deadline=None)
@given(TEXT, st.lists(st.integers(0, 3), min_size=1, max_size=5), st.integers(1, 3))
def test_probabilities_are_those_of_the_definition(text: list[int], row: list[int], length: int) -> None:
    found = KneserNey(np.array(text), 4, length).probabilities(np.array(row))
    for place in range(len(row)):
        context = tuple(row[: place + 1])
        wanted = [plain_kneser_ney(text, 4, length, context, word) for word in range(4)]
        np.testing.assert_allclose(found[place], wanted, atol=1e-9)


@given(TEXT, st.lists(st.integers(0, 3), min_size=1, max_size=8), st.integers(1, 4))
def test_probabilities_add_up_to_one(text: list[int], row: list[int], length: int) -> None:
    found = KneserNey(np.array(text), 4, length).probabilities(np.array(row))
    np.testing.assert_allclose(found.sum(axis=1), 1)
    assert (found >= 0).all()


def test_the_baselines_answer_windows_as_a_model_does() -> None:
    text = np.tile(np.arange(2, 7), 50)
    tokens, targets = text[:240].reshape(10, 24), text[1:241].reshape(10, 24)
    fitted = fit_language_baselines({"tokens": tokens}, targets, 8)
    assert list(fitted) == ["how often tokens come", "Kneser-Ney, 6 tokens"]
    for predict in fitted.values():
        logits = predict({"tokens": tokens[:3].astype(np.int32)})["logits"]
        assert logits.shape == (3, 24, 8)
        np.testing.assert_allclose(np.exp(logits).sum(axis=-1), 1, atol=1e-5)
    best = fitted["Kneser-Ney, 6 tokens"]({"tokens": tokens[:1]})["logits"].argmax(axis=-1)
    assert (best[:, 1:] == targets[:1, 1:]).all()
