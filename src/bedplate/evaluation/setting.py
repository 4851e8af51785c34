"""What every judge is given beside outputs and targets, and what it makes of estimates and errors with that."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from bedplate.core.hashing import array_digest, fingerprint
from bedplate.evaluation.bootstrap import Estimate, edged
from bedplate.evaluation.slices import Slice, slice_figures

WORST = 24
"""So many of the worst rows are told."""


@dataclass(frozen=True)
class Setting:
    """How an evaluation is done: of the bootstrap, where each row came from, and texts [N] by column to slice by."""

    resamples: int
    confidence: float
    seed: int
    ids: list[str]
    slices: Mapping[str, np.ndarray]

    def digest(self, targets: np.ndarray) -> str:
        """Return what two reports on the same rows share."""
        return fingerprint([array_digest(np.asarray(self.ids, dtype=object)), array_digest(targets)])

    def edged(self, metrics: Mapping[str, Estimate], units: Mapping[str, int]) -> dict[str, Estimate]:
        """Return estimates with honest intervals where a rate is 1 or 0; without resamples there are none."""
        if not self.resamples:
            return dict(metrics)
        return {name: edged(one, units.get(name, 0), self.confidence) for name, one in metrics.items()}

    def sliced(
        self, errors: np.ndarray, columns: Mapping[str, np.ndarray], rmse: bool, metric: str | None = None
    ) -> list[Slice]:
        """Return the figures of the slices by `columns`; see `slices.slice_figures`."""
        return slice_figures(
            errors, columns, rmse=rmse, resamples=self.resamples, confidence=self.confidence, seed=self.seed,
            metric=metric,
        )  # fmt: skip
