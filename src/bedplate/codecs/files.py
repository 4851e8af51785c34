"""Files as payloads: image files, folders, tar and zip archives and IDX files, walked without unpacking anything.

Members of an archive are read in memory and never written to disk, so a name such as `../../etc/passwd` can do nothing;
it is reported as what it is.
"""

from __future__ import annotations

import gzip
import os
import re
import tarfile
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from lzma import LZMAError
from pathlib import Path

import numpy as np

from bedplate.core.errors import InputError, PayloadError

MEMBER_CAP = 256 * 2**20
"""Bytes beyond which one member of an archive is refused, before it is unpacked whole."""

ARCHIVES = (".tar", ".tar.gz", ".tgz", ".tar.xz", ".txz", ".tar.bz2", ".tbz2", ".zip")
_JUNK = {"thumbs.db", "desktop.ini", "ehthumbs.db", "icon\r", "__macosx"}
_IDX_TYPES = {8: "u1", 9: "i1", 11: ">i2", 12: ">i4", 13: ">f4", 14: ">f8"}
_IDX_NAME = re.compile(r"idx\d-[a-z]+(\.gz)?$|\.idx\d?(\.gz)?$")


@dataclass(frozen=True)
class Member:
    """One file met on a walk: `name` (relative, with `/`), and its bytes or why they can't be had."""

    name: str
    data: bytes = b""
    fault: str | None = None

    @property
    def parts(self) -> tuple[str, ...]:
        """The name's folders and file."""
        return tuple(part for part in self.name.split("/") if part not in {"", "."})


def _spelt(name: str) -> str:
    """Return a file's name as text that can be printed and stored: bytes that are no UTF-8 are written in hex."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def natural(text: str) -> tuple[tuple[int, int, str], ...]:
    """Return a sort key by which "2" comes before "10" and "a2" before "a10"."""
    pieces = [piece for piece in re.split(r"(\d+)", text) if piece]
    return tuple((0, int(piece), piece) if piece.isdecimal() else (1, 0, piece.lower()) for piece in pieces)


def is_archive(path: Path) -> bool:
    """Whether a path is named like a tar or zip archive."""
    return path.name.lower().endswith(ARCHIVES)


def inside_archive(path: Path) -> tuple[Path, str] | None:
    """Return the archive, and the name in it, that a path such as `set.zip/folder/file` means; None for others."""
    for above in path.parents:
        if is_archive(above):
            return (above, path.relative_to(above).as_posix()) if above.is_file() else None
    return None


def is_idx(path: Path) -> bool:
    """Whether a path is named like an IDX file (`t10k-images-idx3-ubyte.gz`)."""
    return bool(_IDX_NAME.search(path.name.lower()))


def is_junk(parts: Iterable[str]) -> bool:
    """Whether a path has a hidden part, or one that a desktop left behind (`.DS_Store`, `__MACOSX`, `Thumbs.db`)."""
    return any((part.startswith(".") and part != "..") or part.lower() in _JUNK for part in parts)


def read_idx(path: Path) -> np.ndarray:
    """Return the array in an IDX file (plain or gzip), the format of the MNIST files.

    Raises:
        InputError: no such file, not IDX, or its size is not what its header says.
    """
    try:
        data = path.read_bytes()
        data = gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data
    except FileNotFoundError as error:
        raise InputError("no such file", where=str(path)) from error
    except (OSError, EOFError, zlib.error) as error:
        raise InputError("truncated or damaged gzip data", where=str(path), received=str(error)) from error
    if len(data) < 4 or data[:2] != b"\0\0" or data[2] not in _IDX_TYPES or len(data) < 4 + 4 * data[3]:
        raise InputError("not an IDX file", where=str(path), received=f"bytes that begin with {data[:4]!r}")
    kind, axes = np.dtype(_IDX_TYPES[data[2]]), data[3]
    shape = tuple(int(size) for size in np.frombuffer(data, ">u4", axes, 4))
    wanted = 4 + 4 * axes + kind.itemsize * int(np.prod(shape, dtype=object))
    if len(data) != wanted:
        raise InputError(
            "an IDX file of the wrong size",
            where=str(path),
            expected=f"{wanted} bytes for {list(shape)}",
            received=f"{len(data)} bytes",
        )
    array = np.frombuffer(data, kind, offset=4 + 4 * axes).reshape(shape)
    return array.astype(kind.newbyteorder("="))


def _walk_folder(folder: Path, prefix: str = "", seen: frozenset[str] = frozenset()) -> Iterator[Member]:
    here = os.path.realpath(folder)
    if here in seen:  # a link that leads back up
        return
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: natural(entry.name))
    except OSError as error:
        yield Member(prefix or folder.name, fault=f"the folder can't be read: {error.strerror}")
        return
    for entry in entries:
        if is_junk([entry.name]):
            continue
        name = f"{prefix}{_spelt(entry.name)}"
        if entry.is_dir():
            yield from _walk_folder(Path(entry.path), f"{name}/", seen | {here})
        else:
            try:
                if not entry.is_file():
                    yield Member(name, fault="not a regular file")
                else:
                    yield Member(name, Path(entry.path).read_bytes())
            except OSError as error:
                yield Member(name, fault=f"can't be read: {error.strerror}")


def _unsafe(name: str) -> str | None:
    parts = name.replace("\\", "/").split("/")
    if name.startswith(("/", "\\")) or ".." in parts or re.match(r"^[A-Za-z]:", name):
        return "an unsafe path inside an archive (nothing was written)"
    return None


def _walk_tar(path: Path) -> Iterator[Member]:
    try:
        with tarfile.open(path, "r:*") as archive:
            for entry in archive:
                parts = [part for part in _spelt(entry.name).split("/") if part not in {"", "."}]
                if entry.isdir() or is_junk(parts):
                    continue
                fault = _unsafe(entry.name)
                if fault is None and not (entry.isreg() or entry.islnk()):
                    fault = "a link or a special file inside an archive"
                if fault is None and entry.size > MEMBER_CAP:
                    fault = f"too large to read: {entry.size:,} bytes"
                if fault is not None:
                    yield Member("/".join(parts), fault=fault)
                    continue
                try:
                    file = archive.extractfile(entry)
                    data = b"" if file is None else file.read(MEMBER_CAP)
                except KeyError:
                    yield Member("/".join(parts), fault="a link to a file that the archive lacks")
                    continue
                yield Member("/".join(parts), data)
    except (tarfile.TarError, EOFError, LZMAError, zlib.error, OSError) as error:
        raise InputError("a truncated or damaged tar archive", where=str(path), received=str(error)) from error


def _walk_zip(path: Path) -> Iterator[Member]:
    try:
        with zipfile.ZipFile(path) as archive:
            for entry in archive.infolist():
                parts = [part for part in entry.filename.replace("\\", "/").split("/") if part not in {"", "."}]
                if entry.is_dir() or is_junk(parts):
                    continue
                name = "/".join(parts)
                fault = _unsafe(entry.filename)
                if fault is None and entry.file_size > MEMBER_CAP:
                    fault = f"too large to read: {entry.file_size:,} bytes"
                if fault is None and entry.flag_bits & 1:
                    fault = "encrypted"
                if fault is not None:
                    yield Member(name, fault=fault)
                    continue
                try:
                    with archive.open(entry) as file:
                        yield Member(name, file.read(MEMBER_CAP))
                except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError) as error:
                    yield Member(name, fault=f"damaged inside the archive: {error}")
    except (zipfile.BadZipFile, OSError) as error:
        raise InputError("a truncated or damaged zip archive", where=str(path), received=str(error)) from error


def walk(path: Path) -> Iterator[Member]:
    """Yield every file below a folder (in natural order) or inside an archive (in its own order).

    Hidden files and what desktops leave behind are passed over. A file that can't be read comes with its `fault`.

    Raises:
        InputError: no such path, or an archive that is truncated or damaged as a whole.
    """
    if not path.exists():
        raise InputError("no such file or folder", where=str(path))
    if path.is_dir():
        yield from _walk_folder(path)
    elif path.name.lower().endswith(".zip"):
        yield from _walk_zip(path)
    else:
        yield from _walk_tar(path)


def image_payloads(paths: Iterable[Path | str]) -> Iterator[tuple[str, bytes | np.ndarray]]:
    """Yield (id, payload) for image files, folders (with all below), archives and IDX files of images.

    A payload is the file's bytes, or a uint8 array [H,W] from an IDX file; whether it is an image shows when it is
    decoded. An id is the path as given, with `/member` or `:row` after it.

    Raises:
        InputError: no such path, a damaged archive, an IDX file without images.
        PayloadError: a file in a folder or archive that can't be read at all.
    """
    for given in paths:
        path = Path(given)
        if path.is_dir() or (is_archive(path) and path.exists()):
            for member in walk(path):
                if member.fault is not None:
                    raise PayloadError(member.fault, where=f"{given}/{member.name}")
                yield f"{given}/{member.name}", member.data
        elif is_idx(path):
            images = read_idx(path)
            if images.dtype != np.uint8 or images.ndim not in {3, 4}:
                raise InputError(
                    "an IDX file without images",
                    where=str(path),
                    expected="uint8 with 3 or 4 axes",
                    received=f"{images.dtype} {list(images.shape)}",
                )
            for i, image in enumerate(images):
                yield f"{given}:{i}", image
        else:
            try:
                yield str(given), path.read_bytes()
            except FileNotFoundError as error:
                raise InputError("no such file", where=str(path)) from error
            except OSError as error:
                raise InputError("can't be read", where=str(path), received=error.strerror) from error
