"""Read labelled images from wherever they are (embedded, named, folders and archives) into one pool of decoded rows."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from bedplate.codecs.files import natural
from bedplate.codecs.image import IMAGE, ImageCodec
from bedplate.codecs.pixels import ImageFacts
from bedplate.core.errors import DataError, did_you_mean, listing
from bedplate.data.download import Announce
from bedplate.data.embedded import EMBEDDED_IMAGES, digits
from bedplate.data.image_files import (
    Source,
    choose_size,
    decode_images,
    find_images,
    hollow_folders,
    read_layouts,
    refuse_or_note,
)
from bedplate.data.named import NAMED, load_idx, locate
from bedplate.recipe.schema import DataSpec, ImageSpec

_MAY_BE_COLOUR = 3


@dataclass
class ImagePool:
    """Decoded images before they are split, a row each.

    `pixels` is uint8 [N,H,W,C]; `labels`, `ids` and `facts` have an entry a row; `splits` too ("train", "validation" or
    "test"), or is None where the source has no official ones. `order` holds the classes in natural order, `reasons` say
    how size and channels were chosen, `bad` maps a skipped file to its fault.
    """

    name: str
    pixels: np.ndarray
    labels: np.ndarray
    ids: list[str]
    splits: np.ndarray | None
    facts: list[ImageFacts]
    order: tuple[str, ...]
    reasons: list[str]
    notes: list[str] = field(default_factory=list)
    bad: dict[str, str] = field(default_factory=dict)


def read_pool(spec: DataSpec, base: Path, announce: Announce) -> ImagePool:
    """Return the images that `spec` names, decoded; relative paths start from `base`.

    Raises:
        DataError: no such source, or bad files (all are listed) unless `on_bad_row` is "skip".
    """
    if spec.files is not None:
        given = {"train": spec.files.train, "validation": spec.files.validation, "test": spec.files.test}
        files: list[Source] = [(_path(base, text), split) for split, text in given.items() if text is not None]
        return _from_files(files[0][0].name.partition(".")[0], files, spec, announce)
    source = spec.source
    if source is None:
        raise DataError("no data", where="data", expected="source, or files with a path for each split")
    if source in EMBEDDED_IMAGES:
        pixels, labels, ids = digits()
        return _from_arrays(source, pixels, labels, ids, None, tuple("0123456789"), spec.image)
    if source in NAMED:
        return _from_named(source, spec, announce)
    path = _path(base, source)
    if not path.exists():
        known = [*EMBEDDED_IMAGES, *NAMED]
        raise DataError(
            "no such folder or archive, and no embedded or named image set",
            where="data.source",
            expected=f"a path, or one of {listing(known)}",
            received=source,
            hint=did_you_mean(source, known),
        )
    return _from_files(path.resolve().name.partition(".")[0], [(path, None)], spec, announce)


def _from_named(name: str, spec: DataSpec, announce: Announce) -> ImagePool:
    named = NAMED[name]
    if named.kind == "idx":
        found = load_idx(named, announce)
        sizes = {"train": len(found.train_images), "test": len(found.test_images)}
        codes = np.concatenate([found.train_targets, found.test_targets])
        return _from_arrays(
            name,
            np.concatenate([found.train_images, found.test_images])[..., None],
            np.asarray(found.labels, dtype=object)[codes].tolist(),
            [f"{split}:{i}" for split, size in sizes.items() for i in range(size)],
            np.repeat(list(sizes), list(sizes.values())),
            found.labels,
            spec.image,
        )
    files: list[Source] = [(path, file.partition(".")[0]) for file, path in locate(named, announce).items()]
    pool = _from_files(name, files, spec, announce)
    return replace(pool, notes=[*pool.notes, *([named.note] if named.note else [])])


def _path(base: Path, text: str) -> Path:
    return base / Path(os.path.expandvars(text)).expanduser()


def _from_arrays(
    name: str, pixels: np.ndarray, labels: Sequence[str], ids: list[str], splits: np.ndarray | None,
    order: tuple[str, ...], image: ImageSpec,
) -> ImagePool:  # fmt: skip
    """Images that are arrays already; they pass through the codec only where the recipe asks for another size."""
    height, width, channels = pixels.shape[1:]
    fact = ImageFacts(width, height, "L" if channels == 1 else "RGB", "array", 1)
    wanted_height, wanted_width, wanted_channels, reasons = choose_size([fact], image)
    if (wanted_height, wanted_width, wanted_channels) != (height, width, channels):
        codec = ImageCodec(wanted_height, wanted_width, wanted_channels, image.resize)
        pixels = codec.decode(list(pixels))[IMAGE]
    return ImagePool(name, pixels, np.asarray(labels, dtype=object), ids, splits, [fact] * len(pixels), order, reasons)


def _from_files(name: str, sources: list[Source], spec: DataSpec, announce: Announce) -> ImagePool:
    where = str(sources[0][0]) if len(sources) == 1 else "data.files"
    found = find_images(sources, announce)
    layout = read_layouts(found)
    names = [one for one in layout.places if one in found.facts]
    notes = list(layout.notes)
    if layout.stray:
        notes.append(f"{len(layout.stray)} files outside the class folders were left out: {listing(layout.stray, 5)}")
    faults = {one: fault for one, fault in found.faults.items() if one in layout.places or one in layout.misplaced}
    faults |= {one: "an image outside any class folder" for one in layout.misplaced if one not in faults}
    if hollow := hollow_folders(sources):
        notes.append(f"folders without any file: {listing(hollow)}")
    pixels = np.zeros((0, 1, 1, 1), np.uint8)
    reasons: list[str] = []
    if names:
        seen = [found.facts[one] for one in names if layout.places[one][0] in {None, "train"}]
        height, width, channels, reasons = choose_size(seen or [found.facts[one] for one in names], spec.image)
        codec = ImageCodec(height, width, channels, spec.image.resize)
        pixels, good, more = decode_images(found, names, codec, announce)
        faults |= more
        pixels = pixels if good.all() else pixels[good]
        names = [one for one, kept in zip(names, good.tolist(), strict=True) if kept]
    found.kept = None  # the files' bytes are not needed any more
    notes += refuse_or_note(faults, spec.on_bad_row == "skip", where)
    if not names:
        raise DataError("no images", where=where, expected="a folder for each class with its images in it")
    labels = [layout.places[one][1] for one in names]
    splits = np.asarray([layout.places[one][0] for one in names]) if layout.official else None
    facts = [found.facts[one] for one in names]
    moving = [one for one, fact in zip(names, facts, strict=True) if fact.frames > 1]
    if moving:
        notes.append(f"{len(moving)} files have several frames; the first was taken: {listing(moving, 5)}")
    order = tuple(sorted(set(labels), key=natural))
    gone = sorted(set(layout.labels) - set(order), key=natural)
    if gone:
        notes.append(f"classes left without a usable image: {listing(gone)}")
    return ImagePool(
        name, pixels, np.asarray(labels, dtype=object), names, splits, facts, order, reasons, notes, faults
    )


def one_channel_if_grey(pool: ImagePool, spec: ImageSpec) -> ImagePool:
    """Drop to one channel when every training image turned out grey although its file could hold colour."""
    pixels = pool.pixels
    if spec.channels is not None or pixels.shape[-1] != _MAY_BE_COLOUR or len(pixels) == 0:
        return pool
    for start in range(0, len(pixels), 4096):
        part = pixels[start : start + 4096]
        part = part if pool.splits is None else part[pool.splits[start : start + 4096] == "train"]
        if (part[..., 0] != part[..., 1]).any() or (part[..., 1] != part[..., 2]).any():
            return replace(pool, reasons=[*pool.reasons, "some images have colour: three channels"])
    if pool.splits is None or (pool.splits == "train").all():
        grey = np.ascontiguousarray(pixels[..., :1])
    else:  # images of other splits may still have colour, and become grey as the codec would make them
        height, width = pixels.shape[1:3]
        grey = ImageCodec(height, width, 1).decode(list(pixels))[IMAGE]
    reasons = [*pool.reasons, "every pixel is grey, though stored as colour: one channel"]
    return replace(pool, pixels=grey, reasons=reasons)
