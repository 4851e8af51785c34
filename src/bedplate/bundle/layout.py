"""The names inside a bundle, which paths it may hold, and what really lies in its folder."""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path

from bedplate.core.errors import BundleError

FORMAT = 1
"""The version of the format that is written; older ones are read for ever, newer ones are refused."""

MANIFEST = "manifest.json"
BUNDLE_ID = "BUNDLE_ID"
WEIGHTS = "weights.safetensors"
MODEL = "model.json"
REPORT = "report.json"
GOLDEN = "golden.json"
GOLDEN_TENSORS = "golden.safetensors"
REFERENCE = "reference.json"
LINEAGE = "lineage.json"
CARD = "MODEL_CARD.md"

REQUIRED = (MODEL, REPORT, GOLDEN, GOLDEN_TENSORS, REFERENCE, LINEAGE, CARD)
FOUNDATION = "f32"
"""The variant that runs on every processor; others may need features of one."""

MOST_MANIFEST_BYTES = 16 << 20
MOST_FILES = 10_000

_PART = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")
VARIANT = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")


def graph_file(variant: str) -> str:
    """Return where a variant's graph lies in the bundle."""
    return f"graphs/{variant}.onnx"


def check_path(name: str, where: str) -> str:
    """Return `name` if it is a plain relative path of safe parts (no `..`, no root, no backslash), else raise."""
    parts = name.split("/")
    if len(name) > 255 or len(parts) > 8 or not all(_PART.fullmatch(part) for part in parts):
        raise BundleError(
            "unsafe path in a bundle", where=where, expected="a relative path without '..'", received=repr(name)
        )
    return name


def list_files(folder: Path) -> dict[str, int]:
    """Return the size of every file below `folder` by relative path, refusing all that isn't a plain file or folder.

    Symbolic links are refused before anything is read through them.
    """
    found: dict[str, int] = {}
    waiting = [(folder, "")]
    while waiting:
        place, prefix = waiting.pop()
        with os.scandir(place) as entries:
            for entry in entries:
                name = prefix + entry.name
                mode = entry.stat(follow_symlinks=False).st_mode
                if stat.S_ISLNK(mode):
                    raise BundleError("a bundle holds no symbolic links", where=str(folder), received=name)
                if stat.S_ISDIR(mode):
                    waiting.append((Path(entry.path), f"{name}/"))
                elif stat.S_ISREG(mode):
                    found[name] = entry.stat(follow_symlinks=False).st_size
                else:
                    raise BundleError("a bundle holds plain files only", where=str(folder), received=name)
                if len(found) + len(waiting) > MOST_FILES:
                    raise BundleError("too many files", where=str(folder), expected=f"at most {MOST_FILES}")
    return found
