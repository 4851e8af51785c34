"""Move a forecast's quantiles to where they hold their share of rows that training hasn't seen."""

from __future__ import annotations

import numpy as np
import torch

from bedplate.core.arrays import Arrays
from bedplate.models import Network, predictor

FEWEST_ROWS = 30
"""With fewer validation rows a shift would be chance."""


def calibrate_quantiles(network: Network, features: Arrays, targets: np.ndarray) -> np.ndarray | None:
    """Shift each column's quantiles but the median by what they are off on average; return the shifts.

    A network fits the quantiles of the rows that it learns from, and its intervals are too narrow for others. Each is
    moved by the quantile of its own residuals among validation rows: split conformal prediction, one side at a time
    (Romano, Patterson and Candès 2019, "Conformalized Quantile Regression", section 4). Overlapping windows aren't
    exchangeable, so the share is what is aimed at, not what is guaranteed.

    Args:
        network: its buffer `shift` is added to.
        features: of the validation rows.
        targets: what came, float64 [rows, steps, columns].

    Returns:
        The shifts in the columns' units [columns, levels]; None where there are no quantiles, or too few rows.
    """
    levels = network.outputs.levels
    if not levels or len(targets) < FEWEST_ROWS:
        return None
    residuals = targets[..., None] - predictor(network)(features)["forecast"].astype(np.float64)
    count = residuals.shape[0] * residuals.shape[1]
    columns = residuals.transpose(2, 3, 0, 1).reshape(residuals.shape[2], len(levels), count)
    shifts = np.zeros(columns.shape[:2])
    for k, level in enumerate(levels):
        if level != 0.5:
            # One more row than there are: what comes next (section 2 of the source).
            share = (count + 1) * level / count if level > 0.5 else 1 - (count + 1) * (1 - level) / count
            shifts[:, k] = np.quantile(columns[:, k], float(np.clip(share, 0, 1)), axis=1)
    std = np.asarray(network.outputs.std, np.float64)[:, None]
    with torch.no_grad():
        network.shift += torch.as_tensor(shifts / std, dtype=network.shift.dtype, device=network.shift.device)
    return shifts
