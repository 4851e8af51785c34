"""The data a run works on: rows decoded to the graph's boundary, in three splits, with what was found in them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from bedplate.codecs.answers import Answers
from bedplate.codecs.codec import Codec
from bedplate.core.arrays import Arrays, take
from bedplate.data.stream import RowStream


@dataclass(frozen=True)
class Rows:
    """Rows of one split.

    `inputs` are the codec's tensors (row axis first); `targets` are int64 class indices or float64 values; `ids` say
    where each row came from ("file:row", a path); `slices` are text columns by which an evaluation may be sliced.
    `texts` are texts with the answers that are expected, as they were read, object `str` [N, 2], where rows are such.
    """

    inputs: Arrays
    targets: np.ndarray
    ids: Sequence[str]
    slices: Mapping[str, np.ndarray] = field(default_factory=dict)
    texts: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.targets)

    def take(self, index: np.ndarray | slice) -> Rows:
        """Return the rows at `index`."""
        ids = np.asarray(self.ids, dtype=object)[index].tolist()
        texts = None if self.texts is None else self.texts[index]
        return Rows(take(self.inputs, index), self.targets[index], ids, take(self.slices, index), texts)


@dataclass(frozen=True)
class Dataset:
    """A dataset ready to train on. `profile` and `schema` are JSON for the report; `notes` are for people.

    Where the training rows are a `stream`, `train` is a sample of them.
    """

    name: str
    codec: Codec
    answers: Answers
    train: Rows
    validation: Rows
    test: Rows
    schema: Mapping[str, Any]
    profile: Mapping[str, Any]
    fingerprint: str
    split_fingerprint: str
    notes: Sequence[str] = ()
    stream: RowStream | None = None

    @property
    def training_rows(self) -> int:
        """How many rows an epoch of training has."""
        return len(self.train) if self.stream is None else len(self.stream)
