"""The baselines beside which a tagger is judged: the commonest tag, and each word's commonest tag in training."""

from __future__ import annotations

import numpy as np

from bedplate.core.arrays import Arrays, Predict


def fit_tag_baselines(features: Arrays, targets: np.ndarray, tags: int) -> dict[str, Predict]:
    """Count the training words' tags.

    Args:
        features: `tokens` and `shapes` [rows, words].
        targets: tags' numbers [rows, words]; -1 beyond a row's end.
        tags: how many there are.
    """
    there = targets >= 0
    found = targets[there].astype(np.int64)
    most = int(np.bincount(found, minlength=tags).argmax())
    words, which = np.unique(_words(features)[there], return_inverse=True)
    counts = np.bincount(which * tags + found, minlength=len(words) * tags).reshape(len(words), tags)
    best = counts.argmax(axis=1)

    def by_word(features: Arrays) -> Arrays:
        asked = _words(features)
        place = np.searchsorted(words, asked).clip(max=len(words) - 1)
        return _certain(np.where(words[place] == asked, best[place], most), features, tags)

    return {
        "commonest tag": lambda features: _certain(np.full_like(features["tokens"], most), features, tags),
        "each word's commonest tag": by_word,
    }


def _words(features: Arrays) -> np.ndarray:
    """Return one number for each word as it is written, capitals and all."""
    return features["tokens"].astype(np.int64) * 64 + features["shapes"]


def _certain(codes: np.ndarray, features: Arrays, tags: int) -> Arrays:
    return {"tag_probabilities": np.eye(tags, dtype=np.float32)[codes] * (features["tokens"] != 0)[:, :, None]}
