"""Load labelled images (embedded, named, or folders and archives by class) as a `Dataset` with leak-free splits."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from bedplate.codecs.answers import Answers
from bedplate.codecs.image import IMAGE, ImageCodec, png_base64
from bedplate.codecs.pixels import ImageFacts
from bedplate.core.errors import DataError
from bedplate.core.hashing import fingerprint, row_digests, sha256_bytes
from bedplate.data.dataset import Dataset, Rows
from bedplate.data.download import Announce
from bedplate.data.image_pool import ImagePool, one_channel_if_grey, read_pool
from bedplate.data.official import balance, check_labels, divide, positive, told_overlaps, torn_labels
from bedplate.data.profile import image_profile
from bedplate.data.splits import duplicates, limit_rows, overlaps, split_fingerprint
from bedplate.recipe.schema import DataSpec

TARGET = "class"
_EXAMPLES = 24


def load_images(spec: DataSpec, seed: int, *, base: Path, announce: Announce, pool: ImagePool | None = None) -> Dataset:
    """Return the images that `spec` names, decoded to uint8 at the model's size.

    Official splits stay as published (a missing validation or test split is carved from training rows); otherwise rows
    are divided so that equal images never lie on both sides of a border.

    Args:
        spec: the recipe's `data`; `source`, or `files` with a folder or archive for each split.
        seed: the recipe's seed, for the division and for `limit`.
        base: the folder that relative paths start from.
        announce: told what is being read or downloaded.
        pool: the images, where they have been read already.

    Raises:
        DataError: nothing to learn from, or bad files (all are listed) unless `on_bad_row` is "skip".
    """
    if spec.split.by != "random":
        raise DataError(
            f"images have no column to split by {spec.split.by}",
            where="data.split.by",
            expected="random",
            hint="or give folders named train, val and test",
        )
    pool = read_pool(spec, base, announce) if pool is None else pool
    pool = one_channel_if_grey(pool, spec.image)
    check_labels(pool.labels, pool.splits, pool.name, "images")
    keys = np.asarray(row_digests({IMAGE: pool.pixels}), dtype=object)
    parts, split_notes = divide(keys, pool.labels, pool.splits, spec.split, seed, "images")
    parts["train"] = parts["train"][limit_rows(pool.labels[parts["train"]], spec.limit, seed)]
    codes = {label: k for k, label in enumerate(pool.order)}
    targets = np.asarray([codes[label] for label in pool.labels.tolist()], np.int64)
    codec = _codec(pool.pixels[parts["train"]], spec)
    slices = _slices(pool, codec)
    every = Rows({IMAGE: pool.pixels}, targets, pool.ids, slices)
    rows = {name: every.take(index) for name, index in parts.items()}
    shared = overlaps(*(keys[parts[name]].tolist() for name in ("train", "validation", "test")))
    notes = [*pool.reasons, *pool.notes, *split_notes, *_leak_notes(pool, keys, shared)]
    schema = {
        "kind": "image",
        "height": codec.height,
        "width": codec.width,
        "channels": codec.channels,
        "resize": codec.resize,
        "target": TARGET,
        "labels": list(pool.order),
        "reasons": list(pool.reasons),
        "official_splits": pool.splits is not None,
    }
    profile = image_profile(
        rows={name: len(part) for name, part in rows.items()},
        sizes=Counter((fact.width, fact.height) for fact in pool.facts),
        modes=Counter(fact.mode for fact in pool.facts),
        labels=balance(rows["train"].targets, pool.order),
        duplicates=duplicates(keys.tolist()),
        overlap=shared,
        skipped=list(pool.bad.items()),
    )
    profile["examples"] = _examples(rows["train"], pool.order)
    return Dataset(
        pool.name,
        codec,
        Answers(TARGET, pool.order, positive(pool.order, rows["train"].targets, spec.positive)),
        rows["train"],
        rows["validation"],
        rows["test"],
        schema,
        profile,
        _fingerprint(pool, keys),
        split_fingerprint(*(keys[parts[name]].tolist() for name in ("train", "validation", "test"))),
        tuple(notes),
    )


def _examples(train: Rows, labels: tuple[str, ...]) -> list[dict[str, str]]:
    """Return the first training images of each class as the model sees them, as base64 PNGs, at most 24 in all."""
    each = max(1, _EXAMPLES // len(labels))
    shown = []
    for k, label in enumerate(labels[:_EXAMPLES]):
        for row in np.flatnonzero(train.targets == k)[:each].tolist():
            shown.append({"label": label, "png": png_base64(train.inputs[IMAGE][row])})
    return shown


def _slices(pool: ImagePool, codec: ImageCodec) -> Mapping[str, np.ndarray]:
    """Return what images can be sliced by, where they differ: their stored mode, and how they were resized."""
    modes = np.asarray([fact.mode for fact in pool.facts], dtype=object)
    pixels = codec.height * codec.width

    def resized(fact: ImageFacts) -> str:
        if (fact.width, fact.height) == (codec.width, codec.height):
            return "as it was"
        return "enlarged" if fact.width * fact.height < pixels else "reduced"

    sizes = np.asarray([resized(fact) for fact in pool.facts], dtype=object)
    return {name: values for name, values in (("mode", modes), ("size", sizes)) if len(set(values.tolist())) > 1}


def _leak_notes(pool: ImagePool, keys: np.ndarray, shared: Mapping[str, int]) -> list[str]:
    notes = [f"{note}; official splits stay as they are" for note in told_overlaps(shared, "image")]
    return [*notes, *torn_labels(keys, pool.labels, pool.ids, "images")]


def _fingerprint(pool: ImagePool, keys: np.ndarray) -> str:
    counts: dict[str, Any] = dict(sorted(Counter(pool.labels.tolist()).items()))
    return fingerprint(
        {
            "kind": "images",
            "shape": list(pool.pixels.shape[1:]),
            "classes": counts,
            "keys": sha256_bytes("\n".join(keys.tolist()).encode()),
            "labels": sha256_bytes("\n".join(pool.labels.tolist()).encode()),
        }
    )


def _codec(pixels: np.ndarray, spec: DataSpec) -> ImageCodec:
    """Return the codec fitted to the training pixels, with the recipe's own mean and std where it gives them."""
    codec = ImageCodec.fit(pixels, spec.image.resize)
    for key in ("mean", "std"):
        given = getattr(spec.image, key)
        if given is not None and len(given) != codec.channels:
            raise DataError(
                f"not one {key} a channel",
                where=f"data.image.{key}",
                expected=f"{codec.channels} figures",
                received=str(len(given)),
            )
    mean, std = spec.image.mean or codec.mean, spec.image.std or codec.std
    return replace(codec, mean=tuple(mean), std=tuple(std))
