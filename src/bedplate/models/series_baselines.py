"""The baselines beside which a forecast is judged: the last value, the season before, and boosted trees on lags."""

from __future__ import annotations

from typing import Any

import numpy as np

from bedplate.core.arrays import Arrays, Predict
from bedplate.core.seeds import derive

MOST_LAGS, MOST_EXAMPLES = 48, 50_000


def seasonal(horizon: int, season: int) -> Predict:
    """Answer each step as it was a season before; with a season of 1, as the last step was."""

    def predict(features: Arrays) -> Arrays:
        history = features["history"]
        back = np.array([season - k % season for k in range(horizon)])
        return {"forecast": np.ascontiguousarray(history[:, history.shape[1] - back])}

    return predict


def boosted(features: Arrays, targets: np.ndarray, spec: dict[str, Any], season: int, seed: int) -> Predict:
    """Fit one gradient boosting for all columns and steps, on the latest lags, the season before, and how far ahead.

    Where there is a calendar, it reads that, too.

    Lags and targets are scaled by column and counted from the last step; at most 50,000 examples are drawn.
    """
    from sklearn.ensemble import HistGradientBoostingRegressor

    horizon, scale = targets.shape[1], np.asarray(spec["std"], np.float32)
    draw = np.random.default_rng(derive(seed, "baselines") % 2**32)

    def table(features: Arrays, rows: np.ndarray, steps: np.ndarray, column: int) -> np.ndarray:
        past = features["history"][rows, :, column]
        moment = [features["calendar"][rows]] if "calendar" in features else []
        last = past[:, -1:]
        before = past[np.arange(len(rows)), past.shape[1] - (season - steps % season)]
        lags = (past[:, -min(MOST_LAGS, past.shape[1]) :] - last) / scale[column]
        whole = (past.mean(axis=1) - last[:, 0]) / scale[column]
        apart = (before - last[:, 0]) / scale[column]
        return np.column_stack([lags, whole, apart, steps, np.full(len(rows), column), *moment])

    history, parts, wanted = features["history"], [], []
    columns = history.shape[2]
    for column in range(columns):
        rows = draw.integers(0, len(history), MOST_EXAMPLES // columns)
        steps = draw.integers(0, horizon, len(rows))
        parts.append(table(features, rows, steps, column))
        wanted.append((targets[rows, steps, column] - history[rows, -1, column]) / scale[column])
    model = HistGradientBoostingRegressor(random_state=derive(seed, "baselines") % 2**32)
    model.fit(np.concatenate(parts), np.concatenate(wanted))

    def predict(features: Arrays) -> Arrays:
        history = features["history"]
        found = np.empty((len(history), horizon, columns), np.float32)
        rows = np.repeat(np.arange(len(history)), horizon)
        steps = np.tile(np.arange(horizon), len(history))
        for column in range(columns):
            change = model.predict(table(features, rows, steps, column)).reshape(len(history), horizon)
            found[:, :, column] = history[:, -1:, column] + change * scale[column]
        return {"forecast": found}

    return predict


def fit_series_baselines(
    features: Arrays, targets: np.ndarray, spec: dict[str, Any], season: int, seed: int
) -> dict[str, Predict]:
    """Fit the baselines on the training windows' features: `history` [rows, length, columns]."""
    horizon = targets.shape[1]
    found = {"last value": seasonal(horizon, 1)}
    if season > 1:
        found["as a season ago"] = seasonal(horizon, season)
    return found | {"gradient boosting on lags": boosted(features, targets, spec, season, seed)}
