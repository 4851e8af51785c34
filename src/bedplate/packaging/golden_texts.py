"""The golden rows of a language model: windows of text with their scores, and the likeliest continuation of each."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from bedplate.bundle import Golden
from bedplate.bundle.golden import CONTINUATION, continued
from bedplate.bundle.session import OnnxPredict
from bedplate.codecs.codec import NEVER, TOKENS
from bedplate.core.seeds import generator

LENGTH = 32
"""Tokens of a row at most: scores are a vocabulary wide at each."""

MOST_BYTES = 1 << 22
"""Of the scores of one variant."""


def choose_golden_texts(
    tokens: np.ndarray,
    predictors: Mapping[str, OnnxPredict],
    vocabulary: int,
    *,
    rows: int,
    synthetic: bool,
    seed: int,
    separator: int | None = None,
) -> Golden:
    """Return golden rows with each variant's scores and continuation.

    Args:
        tokens: windows [N, length] of which some are taken.
        predictors: of every variant.
        vocabulary: how many tokens there are.
        rows: how many are wanted; fewer are taken where their scores would be large.
        synthetic: draw each token on its own, as often as it comes, so that no text is repeated.
        seed: of the choice.
        separator: what stands between a text and its answer, where rows are such: they are taken to this at least.
    """
    draw = generator(seed, "golden")
    length = min(LENGTH, tokens.shape[1])
    if separator is not None:
        short = (tokens[:, :length] == separator).any(axis=1)
        tokens, length = (tokens[short], length) if short.any() else (tokens, tokens.shape[1])
    count = max(1, min(rows, len(tokens), MOST_BYTES // (4 * length * vocabulary)))
    if synthetic:
        known = tokens[~np.isin(tokens, NEVER)]
        chosen = draw.choice(known if separator is None else known[known != separator], (count, length)).astype(
            np.int32
        )
        if separator is not None:
            chosen[:, length // 2] = separator
    else:
        chosen = tokens[np.sort(draw.permutation(len(tokens))[:count]), :length].copy()
    inputs = {TOKENS: chosen}
    outputs = {
        name: {**predict(inputs), CONTINUATION: continued(predict, chosen, separator)}
        for name, predict in predictors.items()
    }
    return Golden(inputs, outputs, None, "synthetic" if synthetic else "rows")
