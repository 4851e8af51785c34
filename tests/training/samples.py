"""Small data and networks that the training tests share."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from bedplate.models import ImageInput, Network, Outputs, TableInput, build
from bedplate.objectives import objectives
from bedplate.recipe.schema import Part, TrainingSpec
from bedplate.training import Run, TrainingData, train

TABLE = TableInput(4, (5,), ((-1.0, 0.0, 1.0),) * 4)
GREY = ImageInput(8, 8, 1, (100.0,), (50.0,))
COLOUR = ImageInput(8, 8, 3, (100.0,) * 3, (50.0,) * 3)


def table(rows: int = 300, seed: int = 0) -> TrainingData:
    """Rows whose class depends on the first three numbers."""
    draw = np.random.default_rng(seed)
    numeric = draw.normal(size=(rows, 4)).astype(np.float32)
    categories = draw.integers(0, 5, (rows, 1))
    targets = (numeric[:, 0] + numeric[:, 1] > 0).astype(np.int64) + (numeric[:, 2] > 1)
    cut = rows * 4 // 5
    first, last = slice(0, cut), slice(cut, rows)
    return TrainingData(
        {"numeric": numeric[first], "categories": categories[first]},
        targets[first],
        {"numeric": numeric[last], "categories": categories[last]},
        targets[last],
    )


def images(rows: int = 240, channels: int = 1, seed: int = 0) -> TrainingData:
    """Images whose class says which quarter is bright."""
    draw = np.random.default_rng(seed)
    targets = draw.integers(0, 4, rows)
    pixels = draw.integers(0, 120, (rows, 8, 8, channels))
    for row, quarter in enumerate(targets):
        top, left = 4 * (quarter // 2), 4 * (quarter % 2)
        pixels[row, top : top + 4, left : left + 4] += 100
    pixels = pixels.astype(np.uint8)
    cut = rows * 4 // 5
    return TrainingData(
        {"image": pixels[:cut]}, targets[:cut].astype(np.int64), {"image": pixels[cut:]}, targets[cut:].astype(np.int64)
    )


def mlp(**arguments: Any) -> Network:
    """A multi-layer perceptron with batch normalisation and dropout on the table."""
    given = {"hidden": [16], "dropout": 0.2, "batch_norm": True, **arguments}
    return build("mlp", given, TABLE, Outputs(3), 3)


def cnn(channels: int = 1, **arguments: Any) -> Network:
    """A small convolutional network with batch normalisation and dropout."""
    given = {"widths": [8, 8], "dense": [16], "dropout": 0.2, "batch_norm": True, **arguments}
    return build("cnn", given, GREY if channels == 1 else COLOUR, Outputs(4), 3)


def spec(**changes: Any) -> TrainingSpec:
    """A short training."""
    return TrainingSpec(**{"epochs": 4, "batch_size": 32, "optimizer": Part(name="adamw", lr=0.01), **changes})


def go(
    network: Network, data: TrainingData, settings: TrainingSpec, objective: str = "cross-entropy", **more: Any
) -> Run:
    """Train."""
    arguments = {"seed": 5, "select": "loss", "identity": {"recipe": "r"}, **more}
    return train(network, objectives.get(objective)(), data, settings, **arguments)


class StopNow(Exception):
    """Raised by a hook in place of a kill."""


def stopped_and_continued(
    make: Any, data: TrainingData, settings: TrainingSpec, step: int, path: Path
) -> tuple[Run, Run]:
    """Return an uninterrupted run, and one that was stopped after `step` steps, mid-epoch, and continued."""
    whole = go(make(), data, settings)

    def stop(event: str, run: Run) -> None:
        if event == "step" and run.step == step:
            run.save(path)
            raise StopNow

    try:
        go(make(), data, settings, checkpoint=path, hooks=[stop])
    except StopNow:
        pass
    else:
        raise AssertionError("the run ended before the step at which it should stop")
    return whole, go(make(), data, settings, checkpoint=path, resume=True)
