"""Golden rows for a graph that came without data: given as a file, or made up within plausible ranges."""

from __future__ import annotations

import itertools
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from bedplate.bundle.golden import MOST_ROWS
from bedplate.codecs.codec import TensorSpec
from bedplate.codecs.tensor import TensorCodec
from bedplate.core.arrays import Arrays, take
from bedplate.core.errors import BundleError, InputError, PayloadError, listing

ROWS = 8
_SIZES = (32, 16, 64, 48, 128, 224, 256, 512, 8, 4, 2, 1)
_MOST_TRIES = 60

Run = Callable[[Arrays], Mapping[str, np.ndarray]]


def read_rows_of(path: Path, specs: Sequence[TensorSpec], *, whole: bool = False) -> Arrays:
    """Return the rows in an `.npz` file: an array an input, rows on the first axis.

    With `whole`, the graph has no row axis: an array without one is one row.

    Raises:
        InputError: the file can't be read, or its arrays don't fit the inputs.
    """
    try:
        with path.open("rb") as file:
            loaded = np.load(file, allow_pickle=False)
            if isinstance(loaded, np.ndarray):  # .npy: the array of the only input
                found = {specs[0].name: loaded}
            else:
                found = {name: loaded[name] for name in loaded.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, KeyError) as error:
        raise InputError(
            "the golden rows can't be read", where=str(path), expected="an .npz file", received=str(error)[:200]
        ) from error
    if set(found) != {spec.name for spec in specs}:
        raise InputError(
            "the golden rows are of other inputs", where=str(path), expected=listing(spec.name for spec in specs),
            received=listing(sorted(found)),
        )  # fmt: skip
    rows: dict[str, np.ndarray] = {}
    for spec in specs:
        array = found[spec.name]
        array = array[None] if whole and array.ndim == len(spec.shape) else array
        if array.ndim and not len(array):
            raise InputError("one golden row at least is needed", where=str(path), received=f"none of '{spec.name}'")
        try:
            rows |= TensorCodec((spec,)).decode([{spec.name: row} for row in array[:MOST_ROWS]])
        except (PayloadError, TypeError, IndexError, ValueError) as error:
            raise InputError("the golden rows don't fit", where=str(path), received=str(error)[:300]) from error
    sizes = {name: len(array) for name, array in rows.items()}
    if len(set(sizes.values())) != 1:
        raise InputError("the inputs need equally many golden rows", where=str(path), received=str(sizes))
    return rows


def made_up(specs: Sequence[TensorSpec], run: Run, *, rows: int = ROWS, seed: int = 0) -> tuple[Arrays, Arrays]:
    """Return (inputs, outputs) of made-up rows that the graph takes and answers with finite numbers.

    Free sizes are tried from a list, small whole numbers stand for codes; seeded, so that they are always the same.

    Raises:
        InputError: no try got finite answers.
    """
    last = "no answer"
    for sizes, top in _tries(specs):
        inputs = _rows(specs, sizes, top, rows, seed)
        try:
            outputs = run(inputs)
        except Exception as error:  # noqa: BLE001 - what a graph does with a size that it can't take has no one type
            last = str(error).strip().splitlines()[-1][:200] if str(error).strip() else type(error).__name__
            continue
        if all(is_finite(array) for array in outputs.values()):
            return inputs, outputs
        last = "NaN or infinity among the answers"
    raise InputError(
        "no made-up rows get finite answers from this graph", received=last,
        hint="give rows of your own with --golden rows.npz (an array an input, rows on the first axis)",
    )  # fmt: skip


def _tries(specs: Sequence[TensorSpec]) -> Iterator[tuple[int, int]]:
    free = any(-1 in spec.shape for spec in specs)
    whole = any(spec.dtype.startswith(("int", "uint")) and spec.dtype != "uint8" for spec in specs)
    yield from itertools.islice(itertools.product(_SIZES if free else (1,), (10, 2, 1) if whole else (2,)), _MOST_TRIES)


def _rows(specs: Sequence[TensorSpec], size: int, top: int, rows: int, seed: int) -> Arrays:
    rng = np.random.default_rng(seed)
    inputs = {}
    for spec in specs:
        shape = (rows, *(size if one == -1 else one for one in spec.shape))
        if spec.dtype == "string":
            array = np.array([f"text {k}" for k in range(int(np.prod(shape)))], dtype=object).reshape(shape)
        elif spec.dtype == "bool":
            array = rng.random(shape) < 0.5
        elif spec.dtype.startswith("float"):
            array = rng.normal(size=shape).astype(spec.dtype)
        else:
            array = rng.integers(0, 256 if spec.dtype == "uint8" else top, shape).astype(spec.dtype)
        inputs[spec.name] = array
    return inputs


def is_finite(array: np.ndarray) -> bool:
    """Return whether an output holds numbers only, or text."""
    return array.dtype.kind != "f" or bool(np.isfinite(array).all())


def check_steady(run: Run, inputs: Arrays, outputs: Mapping[str, np.ndarray]) -> None:
    """Raise an InputError where the same rows get other answers the second time."""
    again = run(inputs)
    for name, array in outputs.items():
        near = array.dtype == object or array.dtype.kind not in "fiub"
        same = np.array_equal(again[name], array) if near else np.allclose(again[name], array, rtol=1e-3, atol=1e-4)
        if again[name].shape != array.shape or not same:
            raise InputError(
                f"the output '{name}' is random: the same rows get other answers each time",
                hint="export the model in evaluation mode (no dropout, no sampling)",
            )


def keeps_rows(run: Run, inputs: Arrays) -> bool:
    """Return whether each output has a row for each row of the inputs, for one row and for two."""
    try:
        return all(
            all(array.ndim and len(array) == rows for array in run(take(inputs, np.zeros(rows, int))).values())
            for rows in (1, 2)
        )
    except Exception:  # noqa: BLE001 - a graph that can't take two rows fails in ways of its own
        return False


def run_checked(run: Run, inputs: Arrays, where: str) -> Arrays:
    """Return a graph's answers to given rows, or raise an InputError where it can't take them or they aren't finite."""
    try:
        outputs = run(inputs)
    except BundleError:
        raise
    except Exception as error:
        said = str(error).strip().splitlines() or [type(error).__name__]
        raise InputError("the graph can't take the golden rows", where=where, received=said[-1][:300]) from error
    broken = [name for name, array in outputs.items() if not is_finite(array)]
    if broken:
        raise InputError("the golden rows get NaN or infinity", where=where, received=f"in {listing(broken)}")
    return outputs
