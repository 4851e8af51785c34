"""Images by class from folders and archives: read the headers, choose a size, decode in threads, report what is bad."""

from __future__ import annotations

import itertools
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from bedplate.codecs.files import Member, is_archive, is_junk, natural, walk
from bedplate.codecs.image import ImageCodec
from bedplate.codecs.pixels import ImageFacts, inspect
from bedplate.core.errors import DataError, InputError, PayloadError, listing
from bedplate.core.machine import threads_granted
from bedplate.data.download import Announce
from bedplate.data.layout import Layout, read_layout
from bedplate.recipe.schema import ImageSpec

Source = tuple[Path, str | None]
"""A folder or archive, and the official split that it is, or None where its folders say."""

LARGEST_KEPT = 128
"""Images that all have one size are taken as they are up to this many pixels a side."""

_SIDE = 64
_KEEP_BYTES = 512 * 2**20
_BATCH_BYTES = 64 * 2**20
_CHUNK = 32


@dataclass
class Found:
    """Images found in files: what the headers say, by name, in the order met; `kept` holds bytes, if they fit."""

    sources: Sequence[Source]
    facts: dict[str, ImageFacts] = field(default_factory=dict)
    faults: dict[str, str] = field(default_factory=dict)
    kept: dict[str, bytes] | None = field(default_factory=dict)

    def members(self) -> Iterator[Member]:
        """Yield all files again, from memory where they were kept."""
        if self.kept is not None:
            for name, data in self.kept.items():
                yield Member(name, data)
            return
        for path, split in self.sources:
            yield from _named(path, split)


def _named(path: Path, split: str | None) -> Iterator[Member]:
    """Walk a folder or archive; the files of an official split of their own get its name in front."""
    for member in walk(path):
        yield Member(f"{split}/{member.name}", member.data, member.fault) if split else member


def _reason(error: PayloadError) -> str:
    return f"{error.what} ({error.received})" if error.received else error.what


def find_images(sources: Sequence[Source], announce: Announce) -> Found:
    """Read the header of every file in folders or archives; each source may be one official split.

    Raises:
        DataError: no such path, neither a folder nor an archive, or an archive that is damaged as a whole.
    """
    found = Found(sources)
    size = 0
    for path, split in sources:
        if path.exists() and not path.is_dir() and not is_archive(path):
            raise DataError(
                "not a source of images",
                where=str(path),
                expected="a folder, a .tar (.gz, .xz, .bz2) or a .zip",
                received="a file",
            )
        announce(f"reading images from {path}")
        try:
            for member in _named(path, split):
                if member.fault is not None:
                    found.faults[member.name] = member.fault
                    continue
                try:
                    found.facts[member.name] = inspect(member.data)
                except PayloadError as error:
                    found.faults[member.name] = _reason(error)
                size += len(member.data)
                if found.kept is not None:
                    found.kept[member.name] = member.data
                    if size > _KEEP_BYTES:
                        found.kept = None
        except InputError as error:
            raise DataError(error.what, where=error.where, received=error.received, hint=error.hint) from error
    return found


def hollow_folders(sources: Sequence[Source]) -> list[str]:
    """Return the folders that hold nothing, as a class that lost its pictures does, below sources that are folders."""
    found: list[str] = []
    for root, _ in sources:
        if root.is_dir():
            for folder, folders, files in os.walk(root):
                if (
                    not folders
                    and not files
                    and Path(folder) != root
                    and not is_junk(Path(folder).relative_to(root).parts)
                ):
                    found.append(Path(folder).relative_to(root).as_posix())
    return sorted(found, key=natural)


def read_layouts(found: Found) -> Layout:
    """Return the layout of found files: of one source as its folders say, of several with a split each as given.

    Raises:
        DataError: no files, or no class folders.
    """
    names = [*found.facts, *found.faults]
    if len(found.sources) == 1 and found.sources[0][1] is None:
        return read_layout(names, str(found.sources[0][0]))
    parts = []
    for path, split in found.sources:
        prefix = f"{split}/"
        inner = read_layout(
            [name.removeprefix(prefix) for name in names if name.startswith(prefix)], str(path), within_split=True
        )
        parts.append(
            Layout(
                labels=inner.labels,
                places={prefix + name: (split, label) for name, (_, label) in inner.places.items()},
                official=True,
                stray=tuple(prefix + name for name in inner.stray),
                misplaced=tuple(prefix + name for name in inner.misplaced),
                notes=inner.notes,
            )
        )
    return Layout(
        tuple(sorted({label for part in parts for label in part.labels}, key=natural)),
        {name: place for part in parts for name, place in part.places.items()},
        True,
        tuple(itertools.chain.from_iterable(part.stray for part in parts)),
        tuple(itertools.chain.from_iterable(part.misplaced for part in parts)),
        tuple(itertools.chain.from_iterable(part.notes for part in parts)),
    )


def choose_size(facts: Sequence[ImageFacts], spec: ImageSpec) -> tuple[int, int, int, list[str]]:
    """Return (height, width, channels, reasons): what the recipe says, and for the rest what the headers suggest.

    Images that all have one size of at most 128 pixels a side are taken as they are. Others get about 64 x 64 pixels in
    their median aspect (within 1:2), in multiples of 8. One channel only where every header says grey.
    """
    sizes = Counter((one.height, one.width) for one in facts)
    reasons = []
    height, width = spec.height, spec.width
    if height is None or width is None:
        (first_height, first_width), _ = sizes.most_common(1)[0]
        if len(sizes) == 1 and max(first_height, first_width) <= LARGEST_KEPT:
            own = (first_height, first_width)
            why = f"all images are {first_width}x{first_height} pixels, and are taken as they are"
        else:
            aspect = float(np.median([one.width / one.height for one in facts]))
            root = float(np.sqrt(min(max(aspect, 0.5), 2.0)))
            own = (8 * round(_SIDE / root / 8), 8 * round(_SIDE * root / 8))
            smallest, largest = min(sizes), max(sizes)
            spread = (
                f"all images are {first_width}x{first_height} pixels"
                if len(sizes) == 1
                else f"{len(sizes)} sizes, from {smallest[1]}x{smallest[0]} to {largest[1]}x{largest[0]} pixels"
            )
            why = f"{spread}: resized to {own[1]}x{own[0]}, the median aspect at the detail of 64x64"
        height, width = height or own[0], width or own[1]
        reasons.append(f"{why}; set data.image.height and width for another size")
    channels: int | None = spec.channels
    if channels is None:
        channels = 1 if all(one.grey for one in facts) else 3
        if channels == 1:
            reasons.append("every image is grey: one channel")
    return height, width, channels, reasons


def _decode_chunk(codec: ImageCodec, chunk: Sequence[Member]) -> list[tuple[str, np.ndarray | str]]:
    done: list[tuple[str, np.ndarray | str]] = []
    for member in chunk:
        try:
            done.append((member.name, codec.decode_one(member.data)))
        except PayloadError as error:
            done.append((member.name, _reason(error)))
    return done


def _batches(members: Iterator[Member]) -> Iterator[list[Member]]:
    batch: list[Member] = []
    size = 0
    for member in members:
        batch.append(member)
        size += len(member.data)
        if size >= _BATCH_BYTES:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def decode_images(
    found: Found, names: Sequence[str], codec: ImageCodec, announce: Announce
) -> tuple[np.ndarray, np.ndarray, dict[str, str]]:
    """Decode the named files in threads.

    Returns:
        Images uint8 [len(names),H,W,C], whether each is good (bool), and the fault of each that isn't, by name.
    """
    places = {name: i for i, name in enumerate(names)}
    pixels = np.zeros((len(names), codec.height, codec.width, codec.channels), np.uint8)
    good = np.zeros(len(names), bool)
    faults: dict[str, str] = {}
    told = 0
    with ThreadPoolExecutor(threads_granted()) as pool:
        wanted = (member for member in found.members() if member.name in places and member.fault is None)
        for batch in _batches(wanted):
            chunks = [batch[i : i + _CHUNK] for i in range(0, len(batch), _CHUNK)]
            decoded = pool.map(_decode_chunk, itertools.repeat(codec), chunks)
            for name, result in itertools.chain.from_iterable(decoded):
                if isinstance(result, str):
                    faults[name] = result
                else:
                    pixels[places[name]], good[places[name]] = result, True
            told += len(batch)
            if len(names) > told >= 10_000:
                announce(f"decoded {told:,} of {len(names):,} images")
    return pixels, good, faults


def refuse_or_note(faults: dict[str, str], skip: bool, where: str) -> list[str]:
    """Return notes about bad files that are skipped.

    Raises:
        DataError: there are bad files and `skip` is False; it lists the first ten with their reasons.
    """
    if not faults:
        return []
    count = f"{len(faults)} file{'' if len(faults) == 1 else 's'}"
    shown = listing([f"{name}: {why}" for name, why in faults.items()], 10)
    if not skip:
        raise DataError(
            f"{count} can't be used: {shown}",
            where=where,
            hint="mend or remove what is bad, or set data.on_bad_row: skip to leave it out",
        )
    return [f"{count} left out as bad: {shown}"]
