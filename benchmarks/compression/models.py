"""The trained runs that are compressed: found in a folder, or trained there once; a copy of one to work on."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from bedplate.stages.compress_trained import STORE

HOME = Path(tempfile.gettempdir()) / "bedplate-compression"

RECIPES: dict[str, tuple[str, ...]] = {
    "mnist": ("mnist",),
    "mnist-wide": (
        "mnist", "--set", "model.widths=[64,128,128]", "--set", "model.dense=[512]", "--set", "name=mnist-wide",
    ),
    "cifar10": ("cifar10",),
}  # fmt: skip
"""What `bedplate run` is told for each."""


def trained(name: str, runs: Path) -> Path:
    """Return a run's folder, which is trained when it is missing."""
    folder = runs / name
    if not (folder / "bundle").is_dir():
        print(f"training {name}", flush=True)
        command = [sys.executable, "-m", "bedplate", "run", *RECIPES[name], "--out", str(folder), "--quiet"]
        subprocess.run(command, check=True)
    return folder


def copied(run: Path, folder: Path, *, students: bool = False) -> Path:
    """Return a copy of a run, since a search keeps its students beside the bundle.

    With `students` those that an earlier search of this run trained come along: the same steps are then not done twice.
    """
    target = folder / run.name
    left = ("compressed",) if students else ("compressed", STORE)
    shutil.copytree(run, target, ignore=shutil.ignore_patterns(*left))
    return target
