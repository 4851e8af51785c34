"""A small recipe that a trial learns in about a quarter of a second, for the tests of sweeps."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import bedplate as bp

TINY = """\
# Wine, small and short.
name: tiny
seed: 3
task: tabular-classification
data: {source: wine, split: {validation: 0.2, test: 0.25}}
model: {name: mlp, hidden: [8], dropout: 0.1, bins: false}
training:
  epochs: 4
  batch_size: 16
  optimizer: {name: adamw, lr: 2.0e-3}
  schedule: constant
search:
  space:
    training.optimizer.lr: {low: 1.0e-4, high: 1.0e-1, log: true}
    model.dropout: 0..0.5
    model.hidden: [[8], [16, 8]]
  trials: 6
"""


def recipe(folder: Path, text: str = TINY) -> Path:
    """Return the path of the recipe in a folder."""
    path = folder / "tiny.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def swept(folder: Path, *overrides: str, out: str = "sweep", **more: Any) -> dict[str, Any]:
    """Return the figures of a sweep of the recipe."""
    found = bp.sweep(recipe(folder), folder / out, overrides=overrides, **more)
    figures: dict[str, Any] = found.figures
    return figures
