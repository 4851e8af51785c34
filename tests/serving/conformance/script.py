"""What the scripts of checks share. They run in their client's environment, so this needs NumPy only."""

from __future__ import annotations

import json
import traceback
from typing import Any

import numpy as np

rng = np.random.default_rng(0)
IMAGES = rng.integers(0, 256, (3, 8, 8, 1), dtype=np.uint8)
KINDS = {
    "bool": np.bool_, "uint8": np.uint8, "uint16": np.uint16, "uint32": np.uint32, "uint64": np.uint64,
    "int8": np.int8, "int16": np.int16, "int32": np.int32, "int64": np.int64, "float16": np.float16,
    "float32": np.float32, "float64": np.float64, "string": np.object_,
}  # fmt: skip


def values(rows: int = 3) -> dict[str, np.ndarray]:
    """A tensor of each type."""
    found: dict[str, np.ndarray] = {}
    for name, kind in KINDS.items():
        if name == "string":
            found[name] = np.array([f"row {k}: Zürich".encode() for k in range(rows)], np.object_)
        elif name == "bool":
            found[name] = rng.random((rows, 2)) < 0.5
        elif name.startswith("float"):
            found[name] = rng.normal(size=(rows, 2)).astype(kind)
        else:
            limits = np.iinfo(kind)
            found[name] = rng.integers(limits.min, limits.max, (rows, 2), dtype=kind, endpoint=True)
    return found


def run_all(names: dict[str, Any]) -> None:
    """Run what is called check_…, and print a line of JSON each: its name, and "" or what went wrong."""
    for name, check in list(names.items()):
        if not name.startswith("check_"):
            continue
        try:
            check()
        except Exception:
            print(json.dumps({"name": name, "fault": traceback.format_exc()[-1500:]}), flush=True)
        else:
            print(json.dumps({"name": name, "fault": ""}), flush=True)
