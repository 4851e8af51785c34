"""What every trainer under test does: build, train an epoch when told, and say how long its steps took.

A trainer's file calls `serve(make)`. `make(model, features, targets)` returns a function that trains one epoch and
returns (rows trained, seconds of the training loop). It is told "epoch" on standard input and answers with one line of
JSON on standard output. This file needs NumPy alone.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

LEARNING_RATE = 1e-3
BATCH = {"cnn": 128, "mlp": 128, "lstm": 32, "transformer": 32}
VOCABULARY, LENGTH = 30_000, 400
"""Of texts: how many token numbers there are, 0 for padding, and the longest row."""
Epoch = Callable[[], tuple[int, float]]


def process_started() -> float:
    """Return when this process began, on the clock of `time.monotonic`."""
    ticks = int(Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19])
    return time.monotonic() - (time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK"))


def serve(make: Callable[[str, np.ndarray, np.ndarray], Epoch]) -> None:
    """Answer on standard output until standard input ends.

    Args:
        make: builds the trainer. Its first, short epoch of one batch tells the start-up time.
    """
    started = process_started()
    model, folder = sys.argv[1], Path(sys.argv[2])
    answer = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever a library prints goes to standard error
    features, targets = np.load(folder / f"{model}_features.npy"), np.load(folder / f"{model}_targets.npy")
    first = BATCH[model]
    make(model, features[:first], targets[:first])()
    print(json.dumps({"first_step_seconds": time.monotonic() - started}), file=answer, flush=True)
    epoch = make(model, features, targets)
    for _ in sys.stdin:
        rows, seconds = epoch()
        print(json.dumps({"rows": rows, "seconds": seconds}), file=answer, flush=True)
