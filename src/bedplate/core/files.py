"""Writing that is never half done: a file or folder appears whole, or not at all."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bedplate.core.errors import InputError

_NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_NOT_HERE = {
    errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG, errno.ELOOP, errno.ENXIO,
    errno.EEXIST,
}  # fmt: skip


@contextlib.contextmanager
def explain_write_errors(path: Path, flag: str = "--out") -> Iterator[None]:
    """Turn an OSError met while writing below `path`, which `flag` named, into an error that says what to do."""
    try:
        yield
    except OSError as error:
        if error.errno in _NO_ROOM:
            raise InputError(
                "no room left to write",
                where=str(path),
                received=os.strerror(error.errno or 0),
                hint=f"free some space, or choose another folder with {flag}; what was there before is untouched",
            ) from error
        if error.errno in _NOT_HERE:
            raise InputError(
                "can't write here",
                where=str(path),
                received=os.strerror(error.errno or 0),
                hint=f"choose another folder, one that you may write to, with {flag}",
            ) from error
        raise


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_bytes(path: Path, data: bytes, flag: str = "--out") -> None:
    """Write `data` to `path` through a temporary file and an atomic rename; `flag` named the folder."""
    with explain_write_errors(path, flag):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            os.chmod(name, 0o644)
            os.replace(name, path)
            _sync_folder(path.parent)
        except BaseException:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(name)
            raise


def write_text(path: Path, text: str, flag: str = "--out") -> None:
    """Write UTF-8 text atomically; `flag` named the folder."""
    write_bytes(path, text.encode(), flag)


def write_json(path: Path, value: Any, flag: str = "--out") -> None:
    """Write JSON atomically, indented for people; NaN and infinity are refused. `flag` named the folder."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n", flag)


def read_json(path: Path) -> Any:
    """Read a JSON file; a missing or broken one is an InputError that names it."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise InputError("no such file", where=str(path)) from error
    except (OSError, ValueError) as error:
        raise InputError("not a readable JSON file", where=str(path), received=str(error)) from error


@contextlib.contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """Give a temporary folder that becomes `path` when the block ends well, and vanishes when it doesn't.

    Raises:
        InputError: `path` exists already, or can't be written.
    """
    with explain_write_errors(path):
        if path.exists():
            raise InputError("already exists", where=str(path), hint="remove it or choose another name")
        path.parent.mkdir(parents=True, exist_ok=True)
        work = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
        try:
            yield work
            for file in work.rglob("*"):
                if file.is_file():
                    with file.open("rb") as handle:
                        os.fsync(handle.fileno())
            os.chmod(work, 0o755)
            os.rename(work, path)
            _sync_folder(path.parent)
        except BaseException:
            shutil.rmtree(work, ignore_errors=True)
            raise


__all__ = [
    "atomic_folder",
    "explain_write_errors",
    "read_json",
    "write_bytes",
    "write_json",
    "write_text",
]
