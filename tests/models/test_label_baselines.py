"""The baselines of sets of labels: what knows nothing answers shares, and TF-IDF learns which words tell."""

from __future__ import annotations

import numpy as np

from bedplate.models.label_baselines import fit_label_baselines


def test_words_tell_and_shares_are_shares() -> None:
    draw = np.random.default_rng(0)
    targets = (draw.random((80, 3)) < 0.4).astype(np.uint8)
    targets[:, 2] = 0  # a label that no training row has
    tokens = np.concatenate([draw.integers(20, 40, (80, 5)), np.where(targets, [[2, 3, 4]], 0)], axis=1)
    fitted = fit_label_baselines({"tokens": tokens}, targets)
    shares, told = (predict({"tokens": tokens})["label_probabilities"] for predict in fitted.values())
    np.testing.assert_allclose(shares, np.tile(targets.mean(axis=0), (80, 1)))
    assert ((told >= 0.5) == targets).mean() > 0.95
    assert (told[:, 2] == 0).all()
    assert list(fit_label_baselines({"tokens": np.arange(1, 13).reshape(4, 3)}, targets[:4])) == ["share of each label"]
