"""The in-memory waist: everything that predicts is a `Predict`.

`Arrays` maps a tensor's name to an array whose first axis is the row (batch) axis. A torch model, a scikit-learn
baseline, an ONNX Runtime session and a remote server are all a `Predict`, so one `evaluate()` judges them all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np

Arrays = Mapping[str, np.ndarray]
Predict = Callable[[Arrays], Arrays]


def count(arrays: Arrays) -> int:
    """Return the number of rows, checking that all arrays agree on it."""
    sizes = {name: len(array) for name, array in arrays.items()}
    if len(set(sizes.values())) > 1:
        raise ValueError(f"arrays disagree on the number of rows: {sizes}")
    return next(iter(sizes.values()), 0)


def take(arrays: Arrays, index: np.ndarray | slice) -> dict[str, np.ndarray]:
    """Return the rows at `index` of every array."""
    return {name: array[index] for name, array in arrays.items()}


def concatenate(parts: Sequence[Arrays]) -> dict[str, np.ndarray]:
    """Join batches along the row axis; the names of the first part decide.

    Rows of several lengths (a tagger's answers) are filled up with 0 to the longest.
    """
    return {name: _joined([part[name] for part in parts]) for name in parts[0]} if parts else {}


def _joined(arrays: Sequence[np.ndarray]) -> np.ndarray:
    shapes = {array.shape[1:] for array in arrays}
    if len(shapes) > 1 and len({len(shape) for shape in shapes}) == 1:
        sizes = np.max(list(shapes), axis=0)
        arrays = [np.pad(one, [(0, 0), *((0, most - size) for size, most in zip(one.shape[1:], sizes, strict=True))])
                  for one in arrays]  # fmt: skip
    return np.concatenate(arrays)


FEWEST_OF_LIKE_LENGTH, MOST_OF_LIKE_LENGTH, LIKE = 8, 64, 1.25
"""Rows of a part, and how much longer than its shortest row its longest may be once it has the fewest."""


def by_length(run: Predict, inputs: Arrays, name: str) -> Arrays:
    """Run rows that are filled up with zeros in parts of like length, each cut to its longest; the order stays.

    A text in a batch costs what the longest one does, so sorting saves most of the work where lengths differ.

    Args:
        run: answers rows of any length, whatever zeros follow them.
        inputs: `name` is [rows, length], the others go with its rows.
        name: what the lengths are of.
    """
    table = inputs[name]
    if len(table) <= FEWEST_OF_LIKE_LENGTH:
        return run(inputs)
    # Up to the last number that isn't 0: zeros in between are the row's own.
    lengths = np.where((table != 0).any(axis=1), table.shape[1] - (table[:, ::-1] != 0).argmax(axis=1), 1)
    order = np.argsort(lengths, kind="stable")
    parts = []
    for start, stop in _like(lengths[order]):
        part = take(inputs, order[start:stop])
        parts.append(run({**part, name: np.ascontiguousarray(part[name][:, : int(lengths[order[stop - 1]])])}))
    back = np.empty_like(order)
    back[order] = np.arange(len(order))
    return take(concatenate(parts), back)


def _like(rising: np.ndarray) -> Iterator[tuple[int, int]]:
    """Yield (start, stop) of the parts of rows whose lengths rise."""
    start = 0
    while start < len(rising):
        stop = min(start + MOST_OF_LIKE_LENGTH, len(rising))
        alike = int(np.searchsorted(rising, LIKE * rising[start], side="right"))
        stop = min(stop, max(alike, start + FEWEST_OF_LIKE_LENGTH))
        yield start, stop
        start = stop


def predict_in_batches(predict: Predict, inputs: Arrays, batch_size: int = 512) -> dict[str, np.ndarray]:
    """Run `predict` over all rows of `inputs`, `batch_size` rows at a time, and join the answers.

    Texts of like length run together, since a batch is as long as its longest; the answers come in the rows' order.
    """
    total = count(inputs)
    if total == 0:
        raise ValueError("nothing to predict: the inputs have no rows")
    order = _by_length(inputs) if total > batch_size else None
    given = inputs if order is None else take(inputs, order)
    found = concatenate([predict(take(given, slice(i, i + batch_size))) for i in range(0, total, batch_size)])
    return found if order is None else take(found, np.argsort(order))


def _by_length(inputs: Arrays) -> np.ndarray | None:
    """Return the rows' order by the length of their texts, where they are nothing but texts."""
    (first, *others) = inputs.values()
    if others or first.ndim != 1 or first.dtype != object:
        return None
    return np.argsort([len(str(text)) for text in first.tolist()], kind="stable")
