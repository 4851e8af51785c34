"""TensorBoard event files of a training, an epoch a step. The package is asked for only where the recipe wants them."""

from __future__ import annotations

import importlib.util
import shutil
import time
from pathlib import Path
from typing import Any

from bedplate.core.errors import InputError
from bedplate.training.distributed import workers
from bedplate.training.run import Event, Run

FOLDER = "tensorboard"
TAGS = {
    "train_loss": "loss/train",
    "validation_loss": "loss/validation",
    "validation_f1": "f1/validation",
    "validation_accuracy": "accuracy/validation",
    "validation_rmse": "rmse/validation",
    "learning_rate": "learning_rate",
}
"""Figure of the history → tag in TensorBoard."""
SPEED = "rows_per_second"


def need_tensorboard() -> None:
    """Raise an InputError that names the line to type, unless the package is there."""
    if importlib.util.find_spec("tensorboard") is None:
        raise InputError(
            "training.tensorboard needs a package that is not installed",
            where="training.tensorboard",
            hint='pip install "bedplate[tensorboard]", or leave training.tensorboard out',
        )


class EventFiles:
    """The training hook that writes `tensorboard/` in a folder.

    The first epoch that a process ends writes all epochs so far into a new file and removes the files of the processes
    before it, so that a continued training has no epoch twice. An epoch's time is then reckoned back from its seconds.
    """

    def __init__(self, folder: Path, rows: int) -> None:
        self._folder, self._rows = folder / FOLDER, rows
        self._writer: Any = None
        self._written = 0

    def __call__(self, event: Event, run: Run) -> None:
        """Write the epochs that are not written yet."""
        if event != "epoch" or not workers().first:
            return
        if self._writer is None:
            from tensorboard.summary.writer.event_file_writer import EventFileWriter

            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder.mkdir(parents=True)
            self._writer = EventFileWriter(str(self._folder))
        now = time.time()
        for place in range(self._written, len(run.history)):
            entry = run.history[place]
            before = run.history[place - 1]["seconds"] if place else 0.0
            figures = {TAGS[key]: value for key, value in entry.items() if key in TAGS}
            figures[SPEED] = self._rows / max(entry["seconds"] - before, 1e-9)
            self._add(figures, int(entry["epoch"]), now - (run.seconds - entry["seconds"]))
        self._written = len(run.history)
        self._writer.flush()
        if run.finished:
            self._writer.close()
            self._writer = None

    def _add(self, figures: dict[str, float], epoch: int, wall_time: float) -> None:
        from tensorboard.compat.proto.event_pb2 import Event as Record
        from tensorboard.compat.proto.summary_pb2 import Summary

        values = [Summary.Value(tag=tag, simple_value=value) for tag, value in figures.items()]
        self._writer.add_event(Record(step=epoch, wall_time=wall_time, summary=Summary(value=values)))
