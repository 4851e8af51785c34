"""The baselines beside which every report shows its score: the majority or mean, and scikit-learn's usual models."""

from __future__ import annotations

import warnings
from collections import Counter
from typing import Any

import numpy as np

from bedplate.core.arrays import Arrays, Predict
from bedplate.core.seeds import derive

IMAGE_ROWS = 5000
"""Logistic regression on pixels is fitted on at most so many rows, and labelled so."""


def constant(targets: np.ndarray, classes: int | None) -> Predict:
    """Answer the class shares of the training rows (so, the majority), or the mean."""
    if classes is None:
        mean = np.float32(targets.mean())
        return lambda features: {"value": np.full(len(next(iter(features.values()))), mean, np.float32)}
    shares = (np.bincount(targets, minlength=classes) / len(targets)).astype(np.float32)
    return lambda features: {"probabilities": np.tile(shares, (len(next(iter(features.values()))), 1))}


def matrix(features: Arrays, cardinalities: tuple[int, ...], one_hot: bool) -> np.ndarray:
    """Return the features as one float matrix [rows, columns]; categories one-hot, or as their index."""
    if "image" in features:
        image = features["image"]
        return image.reshape(len(image), -1).astype(np.float32) / 255.0
    parts = [np.asarray(features["numeric"], np.float32)] if "numeric" in features else []
    for k, cardinality in enumerate(cardinalities):
        column = features["categories"][:, k]
        parts.append(np.eye(cardinality, dtype=np.float32)[column] if one_hot else column[:, None].astype(np.float32))
    return np.concatenate(parts, axis=1)


def _predict(model: Any, cardinalities: tuple[int, ...], one_hot: bool, classes: int | None) -> Predict:
    def predict(features: Arrays) -> Arrays:
        X = matrix(features, cardinalities, one_hot)
        if classes is None:
            return {"value": model.predict(X).astype(np.float32)}
        probabilities = np.zeros((len(X), classes), np.float32)
        probabilities[:, model.classes_] = model.predict_proba(X)
        return {"probabilities": probabilities}

    return predict


def terms(tokens: np.ndarray) -> list[list[int]]:
    """Return each text's tokens and pairs of neighbours, as numbers; padding is left out."""
    found = []
    for row in tokens.astype(np.int64):
        own = row[row != 0]
        found.append([*own.tolist(), *((own[:-1] << 32) | own[1:]).tolist()])
    return found


def _tf_idf(tokens: np.ndarray, targets: np.ndarray, classes: int) -> Predict:
    """Fit a logistic regression on the TF-IDF of tokens and pairs that two texts have or more."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression

    found = terms(tokens)
    counts = Counter(term for row in found for term in set(row))
    least = 2 if max(counts.values(), default=0) > 1 else 1  # no two texts have a token in common: all are kept
    weights = TfidfVectorizer(analyzer=lambda row: row, min_df=least, sublinear_tf=True)
    model = LogisticRegression(C=10.0, max_iter=200).fit(weights.fit_transform(found), targets)

    def predict(features: Arrays) -> Arrays:
        probabilities = np.zeros((len(features["tokens"]), classes), np.float32)
        probabilities[:, model.classes_] = model.predict_proba(weights.transform(terms(features["tokens"])))
        return {"probabilities": probabilities}

    return predict


def fit_text_vectors(features: Arrays, size: int, seed: int) -> dict[str, Predict]:
    """Fit the classic vectors of texts: TF-IDF of tokens and pairs, reduced to about `size`.

    Deerwester et al. 1990, "Indexing by Latent Semantic Analysis".
    """
    from sklearn.decomposition import TruncatedSVD
    from sklearn.feature_extraction.text import TfidfVectorizer

    weights = TfidfVectorizer(analyzer=lambda row: row, min_df=2, sublinear_tf=True)
    table = weights.fit_transform(terms(features["tokens"]))
    few = max(1, min(size, *(side - 1 for side in table.shape)))
    reduced = TruncatedSVD(few, random_state=derive(seed, "baselines") % 2**32).fit(table)

    def predict(features: Arrays) -> Arrays:
        found = reduced.transform(weights.transform(terms(features["tokens"])))
        return {"embedding": np.ascontiguousarray(found, np.float32)}

    return {"TF-IDF, latent semantic analysis": predict}


def fit_baselines(
    features: Arrays, targets: np.ndarray, spec: dict[str, Any], classes: int | None, seed: int
) -> dict[str, Predict]:
    """Fit the baselines on the training rows' features.

    Tables: logistic or linear regression, and histogram gradient boosting with its defaults (categories as indices, as
    native categories where there are at most 255 of them). Images: logistic regression on at most 5,000 rows.
    """
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
    from sklearn.linear_model import LinearRegression, LogisticRegression

    name = "majority" if classes else "mean"
    found: dict[str, Predict] = {name: constant(targets, classes)}
    if spec["kind"] == "text":
        if classes is not None and len(np.unique(targets)) > 1:
            found["TF-IDF, logistic regression"] = _tf_idf(features["tokens"], targets, classes)
        return found
    cardinalities = tuple(spec.get("categories", ()))
    random_state = derive(seed, "baselines") % 2**32
    rows = np.arange(len(targets))
    is_image = spec["kind"] == "image"
    if is_image and len(rows) > IMAGE_ROWS:
        rows = np.sort(np.random.default_rng(random_state).permutation(len(rows))[:IMAGE_ROWS])
    X = matrix({key: value[rows] for key, value in features.items()}, cardinalities, one_hot=True)
    y = targets[rows]
    if classes is not None and len(np.unique(y)) < 2:
        return found
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a baseline that stops at max_iter is still a baseline
        linear = LogisticRegression(max_iter=200 if is_image else 1000) if classes else LinearRegression()
        label = "logistic regression" if classes else "linear regression"
        if is_image and len(targets) > IMAGE_ROWS:
            label += f" ({IMAGE_ROWS:,} rows)"
        found[label] = _predict(linear.fit(X, y), cardinalities, True, classes)
        if not is_image:
            offset = X.shape[1] - sum(cardinalities)
            native = [offset + k for k, n in enumerate(cardinalities) if n <= 255]
            kind = HistGradientBoostingClassifier if classes else HistGradientBoostingRegressor
            boosted = kind(random_state=random_state, categorical_features=native or None)
            X = matrix(features, cardinalities, one_hot=False)
            found["gradient boosting"] = _predict(boosted.fit(X, targets), cardinalities, False, classes)
    return found
