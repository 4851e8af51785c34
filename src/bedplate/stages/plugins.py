"""Load a researcher's own file, so that what it registers can be named in a recipe."""

from __future__ import annotations

import importlib.util
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

from bedplate.core.errors import InputError, did_you_mean
from bedplate.core.hashing import sha256_bytes, sha256_file

_loaded: dict[str, tuple[str, ModuleType]] = {}


def load_plugin(path: Path) -> ModuleType:
    """Import a Python file once, and return the module.

    Raises:
        InputError: no such file, or it fails to import (with the line of the file that failed).
    """
    path = path.resolve()
    if not path.is_file():
        near = did_you_mean(path.name, [p.name for p in path.parent.glob("*.py")]) if path.parent.is_dir() else None
        raise InputError("no such plug-in file", where=str(path), hint=near)
    digest = sha256_file(path)
    known = _loaded.get(str(path))
    if known is not None and known[0] == digest:
        return known[1]
    name = f"bedplate_plugin_{path.stem}_{sha256_bytes(str(path).encode())[:8]}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise InputError("not a Python file", where=str(path), expected="a file that ends in .py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except InputError:
        raise
    except Exception as error:
        del sys.modules[name]
        frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(path)]
        line = frames[-1].lineno if frames else getattr(error, "lineno", None)
        raise InputError(
            "the plug-in fails to import", where=f"{path}:{line or 1}", received=f"{type(error).__name__}: {error}"
        ) from error
    _loaded[str(path)] = (digest, module)
    return module


def blame(error: BaseException) -> InputError | None:
    """Return what to say of an error that a loaded plug-in's part met while running, or None where none is loaded."""
    if not _loaded:
        return None
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if frame.filename in _loaded]
    where = f"{own[-1].filename}:{own[-1].lineno}" if own else ", ".join(Path(path).name for path in _loaded)
    named = own[-1].filename if own else next(iter(_loaded))
    return InputError(
        "the plug-in's part fails" if own else "a part of a plug-in fails, or doesn't fit what calls it",
        where=where,
        received=f"{type(error).__name__}: {error}",
        hint=f"`bedplate check-plugin {Path(named).name}` says what every part must do",
    )


def load_plugins(paths: Sequence[str], base: Path) -> dict[str, str]:
    """Import the recipe's plug-ins (relative to the recipe's folder) and return file name → SHA-256."""
    digests = {}
    for text in paths:
        path = (base / Path(text).expanduser()).resolve()
        load_plugin(path)
        digests[path.name] = sha256_file(path)
    return digests
