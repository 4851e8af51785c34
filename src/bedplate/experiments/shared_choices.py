"""The measured choices of an experiment: made once, by its first run, and shared by all others.

Runs that each measured for themselves would pay for it every time, and an arm that met a busy machine would be computed
otherwise than its neighbour: precision, say, would then be part of the difference.
"""

from __future__ import annotations

from pathlib import Path

from bedplate.core.files import read_json, write_json
from bedplate.experiments.matrix import Cell
from bedplate.stages.train import CHOICES
from bedplate.training.choices import MEASURED

FILE = "choices.json"


def use_shared(experiment: Path, cell: Cell) -> None:
    """Write the experiment's choices into a cell that has none; what its recipe says itself stays as it says."""
    shared, own = experiment / FILE, experiment / cell.folder / "train" / CHOICES
    if not shared.is_file() or own.is_file():
        return
    spec, found = cell.resolved.recipe.training, read_json(shared)
    settled = {key: getattr(spec, key) for key in MEASURED}
    open_ = [key for key, value in settled.items() if value in ("auto", None)]
    why = {key: f"measured once, for {found['run']}" if key in open_ else "the recipe says so" for key in settled}
    write_json(
        own,
        {
            "settled": {key: found["settled"][key] if key in open_ else value for key, value in settled.items()},
            "learning_rate": None,
            "reasons": why,
            "trials": [],
            "seconds": 0.0,
        },
    )


def keep_shared(experiment: Path, cell: Cell) -> None:
    """Keep the choices of the first run that measured, for all that follow."""
    measured = experiment / cell.folder / "train" / CHOICES
    if not (experiment / FILE).is_file() and measured.is_file():
        found = read_json(measured)
        write_json(experiment / FILE, {"run": cell.label, "settled": found["settled"], "reasons": found["reasons"]})
