"""Named public sets of images and texts: in `$BEDPLATE_DATA`, in the cache, or downloaded from the official address."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from bedplate.codecs.files import read_idx
from bedplate.core.errors import DataError, InputError
from bedplate.core.hashing import sha256_file
from bedplate.data.download import Announce, cache_folder, download

IDX_FILES = (
    "train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz", "t10k-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte.gz"
)  # fmt: skip


@dataclass(frozen=True)
class NamedSet:
    """A public set: its files with their SHA-256, where they are published, and its labels in order.

    `kind` is "idx" (four IDX files), "archives" (`train.tar.xz` and `test.tar.xz`, folders of images by class) or
    "texts" (likewise, of texts). `address` ends with a slash, or is None where nobody publishes these files.
    """

    name: str
    kind: str
    files: Mapping[str, str] = field(repr=False)
    address: str | None = None
    labels: tuple[str, ...] = ()
    note: str | None = None


_MNIST = (
    "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
    "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
    "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
    "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
)
_FASHION = (
    "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
    "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
    "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
    "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
)

NAMED: Mapping[str, NamedSet] = {
    named.name: named
    for named in (
        NamedSet(
            "mnist",
            "idx",
            dict(zip(IDX_FILES, _MNIST, strict=True)),
            "https://ossci-datasets.s3.amazonaws.com/mnist/",
            tuple("0123456789"),
        ),
        NamedSet(
            "fashion-mnist",
            "idx",
            dict(zip(IDX_FILES, _FASHION, strict=True)),
            "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
            ("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"),
        ),
        NamedSet(
            "cifar10-jpeg",
            "archives",
            {
                "train.tar.xz": "ca2880616a18c2faf0522d3396bba8ebb9e8131b84de110c3710f43b70a7df09",
                "test.tar.xz": "2a3717f26fd8c2d282ebc9dec9397e3cc1879abcc0def2cdfb89fc6ee99ea581",
            },
            note="JPEG copies of CIFAR-10, not the published pixels: scores are not comparable with CIFAR-10's",
        ),
        NamedSet(
            "imdb",
            "texts",
            {
                "train.tar.xz": "49551d002f366272479fa20b4ad9799badbb5b320b37d10cd416b2f156b0d4d0",
                "test.tar.xz": "52439350bc96fac78e4c0448c2d780eae31ffdacdd001d5ec3ac92a6ba7717f4",
            },
        ),
    )
}


@dataclass(frozen=True)
class IdxImages:
    """An IDX set in memory: images uint8 [N,H,W], class indices int64 [N], for both official splits."""

    train_images: np.ndarray
    train_targets: np.ndarray
    test_images: np.ndarray
    test_targets: np.ndarray
    labels: tuple[str, ...]


def locate(named: NamedSet, announce: Announce) -> dict[str, Path]:
    """Return the path of each file of a named set, downloading what neither `$BEDPLATE_DATA` nor the cache holds.

    Raises:
        DataError: a file in `$BEDPLATE_DATA` is not the published one, or a missing one can't be downloaded.
    """
    found = {}
    root = os.environ.get("BEDPLATE_DATA")
    cache = cache_folder() / named.name
    for name, sha256 in named.files.items():
        own = Path(root) / named.name / name if root else None
        if own is not None and own.is_file():
            if sha256_file(own) != sha256:
                raise DataError(
                    f"not the published file of '{named.name}'",
                    where=str(own),
                    expected=f"SHA-256 {sha256}",
                    hint="remove it to have it fetched anew, or give your own copy as a path in data.source",
                )
            found[name] = own
            continue
        kept = cache / name
        if kept.is_file() and sha256_file(kept) == sha256:
            found[name] = kept
            continue
        by_hand = f"put {name} into $BEDPLATE_DATA/{named.name}/ (BEDPLATE_DATA is {root or 'not set'})"
        if named.address is None:
            raise DataError(f"'{named.name}' has no official address to download it from", hint=by_hand)
        hint = f"without a network, {by_hand}"
        found[name] = download(named.address + name, kept, sha256=sha256, announce=announce, hint=hint)
    return found


def load_idx(named: NamedSet, announce: Announce) -> IdxImages:
    """Return a named IDX set, checked: as many labels as images, and no label beyond the known ones.

    Raises:
        DataError: a file is missing, damaged, or its fellow disagrees with it.
    """
    paths = locate(named, announce)
    try:
        arrays = [read_idx(paths[name]) for name in IDX_FILES]
    except InputError as error:
        raise DataError(error.what, where=error.where, expected=error.expected, received=error.received) from error
    train_images, train_targets, test_images, test_targets = arrays
    for images, targets in ((train_images, train_targets), (test_images, test_targets)):
        if images.ndim != 3 or targets.shape != images.shape[:1] or int(targets.max(initial=0)) >= len(named.labels):
            raise DataError(
                f"the files of '{named.name}' don't belong together",
                expected="a label for each image",
                received=f"images {list(images.shape)}, labels {list(targets.shape)}",
            )
    return IdxImages(
        train_images, train_targets.astype(np.int64), test_images, test_targets.astype(np.int64), named.labels
    )
