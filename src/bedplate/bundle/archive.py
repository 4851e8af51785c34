"""A bundle as one file: an uncompressed tar whose bytes depend on nothing but the bundle's content."""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import tarfile
import tempfile
from pathlib import Path
from typing import IO, Any

from bedplate.bundle.layout import BUNDLE_ID, MANIFEST, MOST_FILES, check_path, list_files
from bedplate.core.errors import BundleError, InputError
from bedplate.core.files import atomic_folder, explain_write_errors
from bedplate.core.hashing import sha256_file

SUFFIX = ".bundle"
MOST_BYTES = 8 << 30


def pack_archive(folder: Path, target: Path) -> Path:
    """Write the bundle in `folder` as one deterministic archive (`.bundle`) and return its path.

    Names are sorted, times zero, owners root, modes 0644: the same bundle gives the same bytes anywhere. The folder is
    not verified here; open it first.

    Raises:
        InputError: `target` exists, or can't be written.
    """
    with explain_write_errors(target):
        if target.exists():
            raise InputError("already exists", where=str(target), hint="remove it or choose another name")
        target.parent.mkdir(parents=True, exist_ok=True)
        handle, work = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
        try:
            with os.fdopen(handle, "wb") as file:
                _write_tar(folder, file)
                file.flush()
                os.fsync(file.fileno())
            Path(work).chmod(0o644)
            Path(work).replace(target)
        except BaseException:
            Path(work).unlink(missing_ok=True)
            raise
    return target


def unpack(archive: Path, target: Path) -> Path:
    """Unpack a bundle's archive to the new folder `target`, which appears only when all of it was right.

    Refused: links and other special members, absolute paths and `..`, a name twice, more than 10,000 files or 8 GiB,
    and any byte that `pack_archive` wouldn't have written (a cut or changed archive is noticed even in its padding).
    """
    where = str(archive)
    try:
        with atomic_folder(target) as work:
            with tarfile.open(archive, mode="r:") as tar:
                _extract(tar, work, where)
            digest = hashlib.sha256()
            _write_tar(work, _Hashing(digest))
            if digest.hexdigest() != sha256_file(archive):
                raise BundleError(
                    "the archive isn't as it was packed", where=where, expected=f"SHA-256 {digest.hexdigest()}",
                    hint="it was cut short, changed, or packed by another program; take a fresh copy",
                )  # fmt: skip
    except (tarfile.TarError, EOFError, ValueError) as error:
        raise BundleError("not a bundle's archive, or cut short", where=where, received=str(error)) from error
    return target


def _write_tar(folder: Path, file: IO[bytes] | Any) -> None:
    names = sorted(list_files(folder))
    # The identity comes first, so that the head of the file says which bundle this is.
    names.sort(key=lambda name: (name not in (BUNDLE_ID, MANIFEST), name))
    with tarfile.open(fileobj=file, mode="w|", format=tarfile.USTAR_FORMAT) as tar:
        for name in names:
            info = tarfile.TarInfo(name)
            info.size = (folder / name).stat().st_size
            info.mode, info.mtime, info.uid, info.gid, info.uname, info.gname = 0o644, 0, 0, 0, "root", "root"
            with (folder / name).open("rb") as content:
                tar.addfile(info, content)


def _extract(tar: tarfile.TarFile, work: Path, where: str) -> None:
    seen: set[str] = set()
    total = 0
    for member in tar:
        if member.type != tarfile.REGTYPE or member.sparse is not None:
            raise BundleError("an archive of a bundle holds plain files only", where=where, received=repr(member.name))
        check_path(member.name, where)
        if member.name.lower() in seen:
            raise BundleError("a name stands twice in the archive", where=where, received=repr(member.name))
        seen.add(member.name.lower())
        total += member.size
        if len(seen) > MOST_FILES or total > MOST_BYTES:
            raise BundleError(
                "the archive is too large", where=where, expected=f"at most {MOST_FILES} files and {MOST_BYTES} bytes"
            )
        content = tar.extractfile(member)
        if content is None:
            raise BundleError("an archive of a bundle holds plain files only", where=where, received=repr(member.name))
        file = work / member.name
        if any(parent.exists() and not parent.is_dir() for parent in file.parents):
            raise BundleError("a name is both a file and a folder", where=where, received=repr(member.name))
        file.parent.mkdir(parents=True, exist_ok=True)
        with file.open("xb") as out:
            shutil.copyfileobj(content, out)
        if file.stat().st_size != member.size:
            raise BundleError("the archive is cut short", where=where, received=repr(member.name))


class _Hashing(io.RawIOBase):
    """A file that only hashes what is written to it."""

    def __init__(self, digest: Any) -> None:
        self._digest = digest

    def write(self, data: Any) -> int:
        self._digest.update(data)
        return len(data)
