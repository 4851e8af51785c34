"""Cases for `test_distributed.py`, and the program that one worker runs: python two_workers.py FOLDER RANK SIZE."""

from __future__ import annotations

import json
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import distributed, nn

from bedplate.core.errors import BedplateError, Interrupted
from bedplate.models import ImageInput, Network, Outputs, TableInput, build, models
from bedplate.objectives import objectives
from bedplate.recipe.schema import Part, TrainingSpec
from bedplate.training import Run, TrainingData, save_checkpoint, train, weights_digest
from bedplate.training.distributed import leave

TABLE = TableInput(4, (5,), ((-1.0, 0.0, 1.0),) * 4)
NUMBERS = TableInput(4, (), ((-1.0, 0.0, 1.0),) * 4)  # a network with categories draws some as unknown
IMAGE = ImageInput(8, 8, 1, (100.0,), (60.0,))
SGD = Part(name="sgd", lr=0.05, momentum=0.9, nesterov=True)
ADAMW = Part(name="adamw", lr=0.003)

CASES: dict[str, dict[str, Any]] = {
    "uneven last batch": {"batch_size": 32, "optimizer": SGD},
    "odd batch": {"batch_size": 33, "optimizer": ADAMW, "gradient_clip": 1.0, "l2": 0.001},
    "accumulated": {"batch_size": 16, "accumulate": 3, "optimizer": SGD},
    "averaged": {"batch_size": 32, "optimizer": ADAMW, "ema": 0.95},
    "schedule-free": {"batch_size": 32, "optimizer": Part(name="schedule-free-adamw", lr=0.003)},
    "branches": {"batch_size": 32, "optimizer": Part(name="sgd", lr=0.02)},
    "augmented": {
        "batch_size": 32,
        "optimizer": SGD,
        "augment": [Part(name="shift-flip", shift=1), Part(name="mixup", alpha=0.3)],
    },
}
"""What a table's (or, augmented, an image's) network is trained with; none has dropout or batch normalisation."""


def table(rows: int) -> TrainingData:
    draw = np.random.default_rng(0)
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


def images(rows: int = 101) -> TrainingData:
    draw = np.random.default_rng(0)
    pixels = draw.integers(0, 256, (rows, 8, 8, 1), dtype=np.uint8)
    targets = (pixels[:, :4].mean((1, 2, 3)) > pixels[:, 4:].mean((1, 2, 3))).astype(np.int64)
    return TrainingData({"image": pixels[:80]}, targets[:80], {"image": pixels[80:]}, targets[80:])


class _Moody(nn.Module):
    """Uses one of its two layers in a step, as a network with branches does."""

    steps = 0

    def __init__(self, width: int) -> None:
        super().__init__()
        self.one, self.other = nn.Linear(4, width), nn.Linear(4, width)

    def forward(self, numeric: torch.Tensor) -> torch.Tensor:
        self.steps += self.training
        layer: nn.Module = self.one if self.steps % 3 else self.other
        return layer(numeric)


def moody(inputs: Any, outputs: Outputs) -> nn.Module:
    """A model that leaves parameters out of a step."""
    return _Moody(outputs.width)


def go(name: str, **more: Any) -> Run:
    """Train a case and return its run."""
    changes = dict(CASES.get(name, {}))
    picture = name == "augmented"
    if name == "branches":
        if "moody-of-the-tests" not in models.names():
            models.register("moody-of-the-tests")(moody)
        network: Network = build("moody-of-the-tests", {}, NUMBERS, Outputs(3), 3)
    elif picture:
        network = build(
            "cnn", {"widths": [4, 8], "dense": [8], "dropout": 0.0, "batch_norm": False}, IMAGE, Outputs(2), 3
        )
    else:
        exact = not more.pop("noisy", False)
        changes |= {} if exact else {"batch_size": 16, "optimizer": ADAMW}
        arguments = {"hidden": [16], "dropout": 0.0 if exact else 0.3, "batch_norm": not exact}
        network = build("mlp", arguments, NUMBERS if exact else TABLE, Outputs(3), 3)
    spec = TrainingSpec(**{"epochs": 4, "schedule": Part(name="constant"), **changes, **more.pop("spec", {})})
    data = images() if picture else table(307)
    return train(
        network,
        objectives.get("cross-entropy")(),
        data,
        spec,
        **{"seed": 5, "select": "loss", "identity": {"recipe": "r"}, **more},
    )


def stopped_and_continued(folder: Path, rank: int, at: int) -> Run:
    """Stop at a step that only the last worker knows of, and continue from the checkpoint."""
    stop = threading.Event()

    def watch(event: str, run: Run) -> None:
        if event == "step" and run.step == at and rank == distributed.get_world_size() - 1:
            stop.set()

    path = folder / f"checkpoint-{at}.safetensors"
    try:
        go("", noisy=True, hooks=[watch], stop=stop, checkpoint=path)
    except Interrupted:
        distributed.barrier()
        return go("", noisy=True, checkpoint=path, resume=True)
    raise AssertionError("nobody stopped")


def main() -> None:
    folder, rank, size = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    torch.set_num_threads(1)
    distributed.init_process_group("gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=size)
    told: dict[str, Any] = {"digests": {}, "losses": {}}
    for name in CASES if size == 2 else ():
        run = go(name)
        told["digests"][name] = weights_digest(dict(run.network.state_dict()))
        told["losses"][name] = [entry["train_loss"] for entry in run.history]
        if rank == 0:
            save_checkpoint(folder / f"{name}.safetensors", dict(run.network.state_dict()))
    whole = go("", noisy=True)
    found = [whole, *(stopped_and_continued(folder, rank, at) for at in (3, 11, 24))]
    told["resumed"] = [weights_digest(dict(run.best)) for run in found]
    told["resumed losses"] = [[entry["train_loss"] for entry in run.history] for run in found]
    try:
        go("", spec={"batch_size": 2 * size - 1})
    except BedplateError as error:
        told["too small"] = error.message
    (folder / f"told-{rank}.json").write_text(json.dumps(told))
    leave()


if __name__ == "__main__":
    main()
