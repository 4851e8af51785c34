"""Read a folder layout: from a file's path alone, its class and (where the folders say so) its official split."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from bedplate.codecs.files import natural
from bedplate.core.errors import DataError, listing

SPLIT_NAMES: Mapping[str, str] = {
    "train": "train", "training": "train",
    "val": "validation", "valid": "validation", "validation": "validation",
    "test": "test", "testing": "test",
}  # fmt: skip
"""First-level folder names that are splits (in any case), and the split that each means."""

IMAGE_SUFFIXES = {
    ".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".bmp", ".dib", ".gif", ".tif", ".tiff", ".webp",
    ".pgm", ".ppm", ".pbm", ".pnm", ".pfm",
}  # fmt: skip

_EXPECTED = "a folder for each class with its images in it, as in cats/1.png and dogs/2.png"
_NO_CLASSES = "put the images into one folder a class; train/, val/ and test/ above those are read as splits"


@dataclass(frozen=True)
class Layout:
    """What the paths said. `places` maps a file's name to (split or None, class), in the order of `labels`.

    `official` is whether the first level named splits; `stray` are files that belong to no class and are no images;
    `misplaced` are images outside any class folder.
    """

    labels: tuple[str, ...]
    places: Mapping[str, tuple[str | None, str]]
    official: bool
    stray: tuple[str, ...]
    misplaced: tuple[str, ...]
    notes: tuple[str, ...]


def _unwrap(paths: Mapping[str, tuple[str, ...]], keep_splits: bool) -> dict[str, tuple[str, ...]]:
    """Cut top-level folders that wrap everything and so can't be classes."""
    current = dict(paths)
    while True:
        tops = {parts[0] for parts in current.values() if len(parts) > 1}
        if len(tops) != 1:
            return current
        top = next(iter(tops))
        inner = [parts for parts in current.values() if len(parts) > 2]
        if not inner or (keep_splits and top.lower() in SPLIT_NAMES):
            return current
        current = {name: parts[1:] if len(parts) > 1 else parts for name, parts in current.items()}


def _names_splits(paths: Mapping[str, tuple[str, ...]]) -> bool:
    """Whether the first level names splits: there is a train folder, and it holds folders rather than images.

    A folder "train" that holds images itself is a class (of vehicles, say).
    """
    training = [parts for parts in paths.values() if len(parts) > 1 and SPLIT_NAMES.get(parts[0].lower()) == "train"]
    return any(len(parts) > 2 for parts in training)


def read_layout(names: Sequence[str], where: str, *, within_split: bool = False) -> Layout:
    """Return the layout of files by their names (relative, with `/`), classes in natural order ("2" before "10").

    `within_split` says that the files are one split already, so that a folder called train is no more than a wrapper.

    Raises:
        DataError: no files, or no class folders.
    """
    if not names:
        raise DataError("there are no files", where=where, expected=_EXPECTED)
    paths = _unwrap({name: tuple(name.split("/")) for name in names}, keep_splits=not within_split)
    official = not within_split and _names_splits(paths)
    places: dict[str, tuple[str | None, str]] = {}
    stray, misplaced, beside = [], [], set()
    for name, parts in paths.items():
        split = None
        rest = parts
        if official and len(parts) > 1:
            split = SPLIT_NAMES.get(parts[0].lower())
            if split is None:
                beside.add(parts[0])
                stray.append(name)
                continue
            rest = parts[1:]
        if len(rest) > 1:
            places[name] = (split, rest[0])
        elif PurePosixPath(name).suffix.lower() in IMAGE_SUFFIXES:
            misplaced.append(name)
        else:
            stray.append(name)
    if not places:
        raise DataError(
            "no class folders",
            where=where,
            expected=_EXPECTED,
            received=f"{len(names)} files: {listing(names, 3)}",
            hint=_NO_CLASSES,
        )
    notes = [f"beside the split folders, these were left out: {listing(sorted(beside))}"] if beside else []
    labels = tuple(sorted({label for _, label in places.values()}, key=natural))
    return Layout(labels, places, official, tuple(stray), tuple(misplaced), tuple(notes))
