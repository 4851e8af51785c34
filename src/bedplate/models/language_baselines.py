"""The baselines beside which a language model is judged: how often tokens come, and an n-gram by Kneser and Ney."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bedplate.codecs.codec import TOKENS
from bedplate.core.arrays import Arrays, Predict

MOST_SIGNS = 300
"""Vocabularies up to this size are of characters, whose n-grams are longer."""

LONG, SHORT = 6, 3


@dataclass(frozen=True)
class _Order:
    """What was seen behind contexts of one length: contexts in rising order, and what followed each, side by side."""

    contexts: np.ndarray
    starts: np.ndarray
    words: np.ndarray
    counts: np.ndarray
    totals: np.ndarray
    discount: float


def _codes(text: np.ndarray, length: int, vocabulary: int) -> np.ndarray:
    """Return each run of `length` tokens as one number, int64 [tokens - length + 1]."""
    size = len(text) - length + 1
    found = np.zeros(size, np.int64)
    for k in range(length):
        found = found * vocabulary + text[k : k + size]
    return found


def _order(grams: np.ndarray, counts: np.ndarray, vocabulary: int) -> _Order:
    """Gather distinct n-grams [grams], in rising order, by their contexts."""
    contexts, starts, distinct = np.unique(grams // vocabulary, return_index=True, return_counts=True)
    once, twice = int((counts == 1).sum()), int((counts == 2).sum())
    # Ney, Essen and Kneser 1994, "On structuring probabilistic dependences in stochastic language modelling", eq. 16.
    discount = once / (once + 2 * twice) if once else 0.0
    return _Order(
        contexts, np.append(starts, len(grams)), grams % vocabulary, counts.astype(np.float64),
        np.add.reduceat(counts, starts).astype(np.float64), min(discount, 0.999) if distinct.size else 0.0,
    )  # fmt: skip


class KneserNey:
    """Interpolated Kneser-Ney smoothing of n-grams.

    P(w | h) = max(c(hw) − D, 0) / c(h) + D · N(h·) / c(h) · P(w | h'), where h' is h without its first token, the
    longest n-grams count how often they came, and shorter ones how many tokens they came behind. What follows nothing
    known is spread evenly. Kneser and Ney 1995, "Improved backing-off for m-gram language modeling"; in this form Chen
    and Goodman 1998, section 2.7.

    Args:
        text: tokens [tokens] to count.
        vocabulary: how many there are.
        length: of the longest n-grams.
    """

    def __init__(self, text: np.ndarray, vocabulary: int, length: int) -> None:
        text = np.asarray(text, np.int64)
        self.vocabulary, self.length = vocabulary, min(length, len(text))
        orders = []
        grams, counts = np.unique(_codes(text, self.length, vocabulary), return_counts=True)
        orders.append(_order(grams, counts, vocabulary))
        for size in range(self.length - 1, 0, -1):
            # Every distinct n-gram that is longer by one is a token that this one came behind.
            grams, counts = np.unique(grams % vocabulary**size, return_counts=True)
            orders.append(_order(grams, counts, vocabulary))
        self.orders = orders[::-1]

    def probabilities(self, tokens: np.ndarray) -> np.ndarray:
        """Return P of every token of the vocabulary behind each of a row's tokens [tokens, vocabulary]."""
        found = np.full((len(tokens), self.vocabulary), 1.0 / self.vocabulary)
        for size, order in enumerate(self.orders):
            if size > len(tokens):
                break
            codes = _codes(np.asarray(tokens, np.int64), size, self.vocabulary) if size else np.zeros(len(tokens), int)
            reached = found[max(0, size - 1) :]
            place = np.minimum(np.searchsorted(order.contexts, codes), len(order.contexts) - 1)
            rows = np.flatnonzero(order.contexts[place] == codes)
            place = place[rows]
            first, last = order.starts[place], order.starts[place + 1]
            reached[rows] *= (order.discount * (last - first) / order.totals[place])[:, None]
            lengths = last - first
            at = np.repeat(first - np.concatenate([[0], np.cumsum(lengths)[:-1]]), lengths) + np.arange(lengths.sum())
            share = (order.counts[at] - order.discount) / np.repeat(order.totals[place], lengths)
            reached[np.repeat(rows, lengths), order.words[at]] += share
        return found


def _logits(probabilities: np.ndarray) -> np.ndarray:
    return np.asarray(np.log(np.maximum(probabilities, 1e-30)), np.float32)


def fit_language_baselines(features: Arrays, targets: np.ndarray, vocabulary: int) -> dict[str, Predict]:
    """Fit the baselines on the training windows, which lie one after the other.

    Args:
        features: `tokens` [rows, length].
        targets: the token after each.
        vocabulary: how many there are.
    """
    text = np.concatenate([features[TOKENS][:1, 0], targets.reshape(-1)])
    length = LONG if vocabulary <= MOST_SIGNS else SHORT
    found: dict[str, Predict] = {}
    for name, size in (("how often tokens come", 1), (f"Kneser-Ney, {length} tokens", length)):
        model = KneserNey(text, vocabulary, size)

        def predict(inputs: Arrays, model: KneserNey = model) -> Arrays:
            return {"logits": np.stack([_logits(model.probabilities(row)) for row in inputs[TOKENS]])}

        found[name] = predict
    return found
