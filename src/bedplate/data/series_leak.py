"""Columns of a series that know its future: the target itself, some steps early."""

from __future__ import annotations

import numpy as np

_LOOKED_AT = 20_000
"""Steps; the latest."""

_SAME = 0.999
_OWN = 0.99
"""Correlations: so alike are two columns that are one; so alike a series may be to its own later steps."""


def steps_ahead(column: np.ndarray, target: np.ndarray, horizon: int) -> int | None:
    """Return how many steps of the target's future a column shows, 1 to `horizon`; None: none that can be told.

    A series that is its own later self, as a slow or a strictly periodic one, shows nothing by being alike.

    Args:
        column: its values [steps], NaN where there is none.
        target: likewise.
        horizon: how many steps are forecast.
    """
    column, target = column[-_LOOKED_AT:], target[-_LOOKED_AT:]
    for ahead in range(1, min(horizon, len(target) // 2) + 1):
        later = target[ahead:]
        if _alike(column[:-ahead], later) > _SAME and _alike(target[:-ahead], later) < _OWN:
            return ahead
    return None


def _alike(first: np.ndarray, second: np.ndarray) -> float:
    """Return the absolute correlation where both are known; 0 where one never changes."""
    known = np.isfinite(first) & np.isfinite(second)
    a, b = first[known], second[known]
    if len(a) < 10 or not a.std() or not b.std():
        return 0.0
    return abs(float(np.corrcoef(a, b)[0, 1]))
