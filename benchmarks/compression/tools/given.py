"""What every peer's program is given, and where it puts its graphs: `PROGRAM INPUTS OUT`. Needs numpy alone."""

import json
import sys
import time
from pathlib import Path

import numpy as np

BATCH = 32
INPUTS, OUT = Path(sys.argv[1]), Path(sys.argv[2])
SETTINGS = json.loads((INPUTS / "settings.json").read_text())
GRAPH = INPUTS / "f32.onnx"


def rows(name):
    """Return the arrays of `calibration` (training rows) or `validation`, by the graph's input names."""
    with np.load(INPUTS / f"{name}.npz") as file:
        return {key: file[key] for key in file.files}


def batches(arrays, size=BATCH):
    """Return the rows in batches, as the graph takes them."""
    count = len(next(iter(arrays.values())))
    return [{key: value[k : k + size] for key, value in arrays.items()} for k in range(0, count, size)]


def run(graphs):
    """Make each graph (name → function of the path to write), and note the seconds, or why it could not be made."""
    told = {}
    for name, make in graphs.items():
        begun = time.perf_counter()
        try:
            make(OUT / f"{name}.onnx")
            told[name] = {"seconds": round(time.perf_counter() - begun, 1)}
        except Exception as error:  # noqa: BLE001 - whatever a peer raises is its result
            told[name] = {"failed": f"{type(error).__name__}: {error}"[:300]}
        (OUT / "told.json").write_text(json.dumps(told))
