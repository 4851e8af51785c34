"""The baselines beside which sets of labels are judged: each label's share, and TF-IDF with a regression a label."""

from __future__ import annotations

import numpy as np

from bedplate.core.arrays import Arrays, Predict, count
from bedplate.models.baselines import terms


def fit_label_baselines(features: Arrays, targets: np.ndarray) -> dict[str, Predict]:
    """Fit what knows nothing of the texts, and one logistic regression a label on the TF-IDF of tokens and pairs.

    Args:
        features: `tokens` [rows, length].
        targets: 1 where a row has a label [rows, labels].
    """
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression

    shares = targets.mean(axis=0).astype(np.float32)
    found: dict[str, Predict] = {
        "share of each label": lambda features: {"label_probabilities": np.tile(shares, (count(features), 1))}
    }
    weights = TfidfVectorizer(analyzer=lambda row: row, min_df=2, sublinear_tf=True)
    try:
        table = weights.fit_transform(terms(features["tokens"]))
    except ValueError:  # no token is in two texts: there is nothing to weigh
        return found
    told = [k for k in range(targets.shape[1]) if 0 < shares[k] < 1]
    models = [LogisticRegression(C=10.0, max_iter=200).fit(table, targets[:, k]) for k in told]

    def predict(features: Arrays) -> Arrays:
        asked = weights.transform(terms(features["tokens"]))
        probabilities = np.tile(shares, (asked.shape[0], 1))
        for k, model in zip(told, models, strict=True):
            probabilities[:, k] = model.predict_proba(asked)[:, 1]
        return {"label_probabilities": probabilities}

    return found | {"TF-IDF, a logistic regression a label": predict}
